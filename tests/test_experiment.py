import pytest
import torch
from hydra import compose, initialize_config_dir

from noisereg import experiment
from noisereg.config import ConfigError, check, conf_dir
from noisereg.models import TwoLayer
from noisereg.noise import Resample


def _settings(*overrides):
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return check(compose("train", overrides=list(overrides)))


def test_two_classes_have_one_output_and_more_have_one_each():
    for num_classes, outputs in [(2, 1), (3, 3), (10, 10)]:
        model = experiment.build_model(_settings(), input_shape=(5,), num_classes=num_classes)
        assert isinstance(model, TwoLayer)
        assert model(torch.zeros(1, 5)).shape == (1, outputs)
    two = experiment.build_model(_settings("model.num_outputs=2"), input_shape=(5,), num_classes=2)
    assert two(torch.zeros(1, 5)).shape == (1, 2)


@pytest.mark.parametrize(("outputs", "num_classes"), [(5, 10), (1, 10), (12, 10), (3, 2)])
def test_a_number_of_outputs_that_does_not_fit_the_classes_is_refused(outputs, num_classes):
    with pytest.raises(ConfigError, match=f"model.num_outputs={outputs} does not fit the {num_classes} classes"):
        experiment.build_model(_settings(f"model.num_outputs={outputs}"), input_shape=(5,), num_classes=num_classes)


def test_a_neuron_has_one_output_and_so_two_classes():
    with pytest.raises(ConfigError, match=r"model: .*two classes"):
        experiment.build_model(_settings("model=neuron"), input_shape=(5,), num_classes=10)


def test_the_seed_reaches_the_data_and_the_weights():
    data = {seed: experiment.build_data(_settings(f"seed={seed}")) for seed in (0, 1)}
    assert not torch.equal(data[0].splits["train"].inputs, data[1].splits["train"].inputs)
    weights = {
        seed: experiment.build_model(_settings(f"seed={seed}"), input_shape=(60,), num_classes=2).hidden.weight
        for seed in (0, 1)
    }
    assert not torch.equal(weights[0], weights[1])


def test_the_rule_is_built_without_its_schedule():
    assert experiment.build_rule(_settings("noise.p=0.3", "noise/schedule=linear")) == Resample(p=0.3)


def test_an_argument_that_a_class_does_not_have_is_told_with_the_nearest_one():
    with pytest.raises(ConfigError, match=r"^noise.frozn=True: Resample has no such argument; did you mean frozen\?$"):
        experiment.build_rule(_settings("+noise.frozn=true"))
    with pytest.raises(
        ConfigError, match=r"^optimizer.nesterof=True: SGD has no such argument; did you mean nesterov\?$"
    ):
        experiment._build("optimizer", _settings("+optimizer.nesterof=true")["optimizer"])
    with pytest.raises(
        ConfigError, match=r"^trainer.max_epoch=3: Trainer has no such argument; did you mean max_epochs"
    ):
        experiment._build("trainer", _settings("+trainer.max_epoch=3")["trainer"])
    with pytest.raises(
        ConfigError, match=r"^dataset.trainsize=3: Hypercube has no such argument; did you mean train_size"
    ):
        experiment.build_data(_settings("+dataset.trainsize=3"))


def test_what_a_class_refuses_is_told_with_the_part_of_the_configuration():
    with pytest.raises(ConfigError, match=r"^model: init must be one of .* got 'normal'$"):
        experiment.build_model(_settings("model.init=normal"), input_shape=(5,), num_classes=2)
    with pytest.raises(ConfigError, match=r"^noise: each row of matrix .* sum to 1, row 1 is \[0.5, 0.4\]$"):
        experiment.build_rule(_settings("noise=transition", "noise.matrix=[[1,0],[0.5,0.4]]"))
    with pytest.raises(ConfigError, match=r"^noise: frozen must be false when expected is true"):
        experiment.build_rule(_settings("noise.expected=true", "noise.frozen=true"))
    with pytest.raises(ConfigError, match=r"^loss: kink must be 'right' or 'left', got 'up'$"):
        experiment.build_loss(_settings("loss=hinge", "loss.kink=up"))


def test_a_size_beyond_the_data_is_refused_by_its_key(tmp_path):
    with pytest.raises(ConfigError, match=r"^dataset.val_size must be at least 0 and below dataset.train_size=10"):
        experiment.build_data(_settings("dataset.train_size=10", "dataset.val_size=10"))


def test_one_sample_a_step_runs_on_one_thread_unless_told_otherwise(monkeypatch):
    asked = []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    for overrides in (["dataset.batch_size=1"], ["dataset.batch_size=1", "threads=4"], ["dataset.batch_size=8"]):
        experiment._set_threads(_settings(*overrides))
    assert asked == [1, 4, experiment._DEFAULT_THREADS]
