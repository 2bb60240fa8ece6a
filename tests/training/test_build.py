import random
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from noisereg import rng
from noisereg.config.composing import compose_settings
from noisereg.config.plan import Plan
from noisereg.datasets import Hypercube, Split
from noisereg.errors import ConfigError
from noisereg.losses import Logistic
from noisereg.models import TwoLayer
from noisereg.noise import Linear, Resample
from noisereg.training.build import (
    as_config_error,
    as_data_config_error,
    build,
    build_data,
    build_loss,
    build_model,
    build_models,
    build_rule,
    build_schedule,
    build_trial,
    check_loss,
    check_training_mode,
    convert_weights,
)


def test_two_classes_have_one_output_and_more_have_one_each():
    for num_classes, outputs in [(2, 1), (3, 3), (10, 10)]:
        model = build_model(compose_settings(), 0, input_shape=(5,), num_classes=num_classes)
        assert isinstance(model, TwoLayer)
        assert model(torch.zeros(1, 5)).shape == (1, outputs)
    two = build_model(compose_settings("model.num_outputs=2"), 0, input_shape=(5,), num_classes=2)
    assert two(torch.zeros(1, 5)).shape == (1, 2)


@pytest.mark.parametrize(("outputs", "num_classes"), [(5, 10), (1, 10), (12, 10), (3, 2)])
def test_a_number_of_outputs_that_does_not_fit_the_classes_is_refused(outputs, num_classes):
    with pytest.raises(ConfigError, match=f"model.num_outputs={outputs} does not fit the {num_classes} classes"):
        build_model(compose_settings(f"model.num_outputs={outputs}"), 0, input_shape=(5,), num_classes=num_classes)


@pytest.mark.parametrize("bad_seed", [0, 2])
def test_a_network_that_begins_with_weights_that_are_not_finite_is_refused(monkeypatch, bad_seed):
    def spoil(model, *, seed, **_):
        torch.nn.init.constant_(model.output.weight, torch.nan if seed == bad_seed else 1.0)

    monkeypatch.setattr("noisereg.models.two_layer.initialize", spoil)
    words = r"^model: TwoLayer must begin with finite weights, output.weight has infinite or nan ones$"
    with pytest.raises(ConfigError, match=words):
        build_models(compose_settings(), [0, 1, 2], input_shape=(5,), num_classes=2)


def test_a_neuron_has_one_output_and_so_two_classes():
    with pytest.raises(ConfigError, match=r"model: .*two classes"):
        build_model(compose_settings("model=neuron"), 0, input_shape=(5,), num_classes=10)


def test_the_seed_reaches_the_data_and_the_weights():
    data = {seed: build_data(compose_settings(), seed) for seed in (0, 1)}
    assert not torch.equal(data[0].splits["train"].inputs, data[1].splits["train"].inputs)
    models = {seed: build_model(compose_settings(), seed, input_shape=(60,), num_classes=2) for seed in (0, 1)}
    assert not torch.equal(models[0].hidden.weight, models[1].hidden.weight)


def test_many_networks_are_built_as_each_alone():
    settings = compose_settings("model.hidden=5")
    how = {"input_shape": (4,), "num_classes": 2}
    together = build_models(settings, [3, 1, 3], **how)
    assert list(together) == [3, 1]
    for seed, model in together.items():
        alone = build_model(settings, seed, **how).state_dict()
        assert all(torch.equal(alone[name], tensor) for name, tensor in model.state_dict().items())


def test_the_rule_is_built_for_a_strength_and_without_its_schedule():
    chosen = compose_settings("noise.p=[0,0.3]", "noise/schedule=linear")
    assert build_rule(chosen, 0.3, num_classes=2) == Resample(p=0.3)
    assert build_schedule(chosen) == Linear()


def test_a_rule_for_other_classes_is_refused():
    with pytest.raises(ConfigError, match=r"^noise.moves must stay within classes 0 to 1, got 9 -> 1"):
        build_rule(compose_settings("noise=asymmetric"), 0.2, num_classes=2)


def test_an_argument_that_a_class_does_not_have_is_told_with_the_nearest_one():
    with pytest.raises(ConfigError, match=r"^noise.frozn=True: Resample has no such argument; did you mean frozen\?$"):
        build_rule(compose_settings("+noise.frozn=true"), 0.2, num_classes=2)
    with pytest.raises(
        ConfigError, match=r"^optimizer.nesterof=True: SGD has no such argument; did you mean nesterov\?$"
    ):
        build("optimizer", compose_settings("+optimizer.nesterof=true")["optimizer"])
    with pytest.raises(
        ConfigError, match=r"^trainer.max_epoch=3: Trainer has no such argument; did you mean max_epochs"
    ):
        build("trainer", compose_settings("+trainer.max_epoch=3")["trainer"])
    with pytest.raises(
        ConfigError, match=r"^dataset.trainsize=3: Hypercube has no such argument; did you mean train_size"
    ):
        build_data(compose_settings("+dataset.trainsize=3"), 0)


def test_what_a_class_refuses_is_told_with_the_part_of_the_configuration():
    with pytest.raises(ConfigError, match=r"^model.init must be one of .* got 'normal'$"):
        build_model(compose_settings("model.init=normal"), 0, input_shape=(5,), num_classes=2)
    with pytest.raises(ConfigError, match=r"^noise: each row of matrix .* sum to 1, row 1 is \[0.5, 0.4\]$"):
        build_rule(compose_settings("noise=transition", "noise.matrix=[[1,0],[0.5,0.4]]"), 0.2, num_classes=2)
    with pytest.raises(ConfigError, match=r"^noise.frozen must be false when expected is true"):
        build_rule(compose_settings("noise.expected=true", "noise.frozen=true"), 0.2, num_classes=2)
    with pytest.raises(ConfigError, match=r"^loss.kink must be 'right' or 'left', got 'up'$"):
        build_loss(compose_settings("loss=hinge", "loss.kink=up"))


@pytest.mark.parametrize("key", ["noise", "noise.schedule", "model", "dataset", "loss", "callbacks.own"])
def test_a_part_of_another_kind_is_refused_by_its_key(key, monkeypatch):
    monkeypatch.setattr("noisereg.config.allowed._ALLOWED", {})
    other = (
        {"_target_": "noisereg.noise.Resample", "p": 0.1} if key == "loss" else {"_target_": "noisereg.losses.Hinge"}
    )
    with pytest.raises(ConfigError, match=f"^{key}: .* must be derived from "):
        build(key, other)


def test_a_schedule_that_leaves_its_range_is_refused_by_its_key(monkeypatch):
    monkeypatch.setattr(Linear, "factor", lambda schedule, epoch, max_epochs: 2.0)
    with pytest.raises(
        ConfigError, match=r"^noise\.schedule: Linear must give factors in \[0, 1\], got 2\.0 in epoch 0"
    ):
        build_schedule(compose_settings("noise/schedule=linear"))


def test_a_module_that_python_does_not_find_is_told_with_the_way_to_it():
    line = r"^model._target_=my_nets.Net: Python finds no module my_nets; .* put PYTHONPATH=FOLDER_THAT_HOLDS_IT before"
    with pytest.raises(ConfigError, match=line):
        build("model", {"_target_": "my_nets.Net"})


def test_a_size_beyond_the_data_is_refused_by_its_key(tmp_path):
    with pytest.raises(ConfigError, match=r"^dataset.val_size must be at least 0 and below dataset.train_size=10"):
        build_data(compose_settings("dataset.train_size=10", "dataset.val_size=10"), 0)


class OldWords(Hypercube):
    """A data set whose errors name keys of the configuration, as a user's may."""

    def __init__(self, *, train_size: int, **more):
        raise ValueError(f"dataset.train_size must be below 3, got {train_size}")


class NewWords(Hypercube):
    """A data set whose errors name its arguments."""

    def __init__(self, *, train_size: int, **more):
        raise ValueError(f"train_size must be below 3, got {train_size}")


@pytest.mark.parametrize("cls", [OldWords, NewWords])
def test_an_argument_in_an_error_is_told_by_its_key(cls):
    with (
        pytest.raises(ConfigError, match=r"^dataset.train_size must be below 3, got 4$"),
        as_config_error("dataset", cls),
    ):
        cls(train_size=4)


@pytest.mark.parametrize(
    "words", ["dataset.val_size must be below dataset.train_size=3", "val_size must be below train_size=3"]
)
def test_an_argument_that_does_not_fit_the_data_is_told_by_its_key(words):
    data = Hypercube(train_size=3, test_size=3)
    line = r"^dataset.val_size must be below dataset.train_size=3$"
    with pytest.raises(ConfigError, match=line), as_data_config_error(data):
        raise ValueError(words)


def test_an_error_without_an_argument_is_told_by_its_part():
    with pytest.raises(ConfigError, match=r"^model: two classes are needed$"), as_config_error("model", TwoLayer):
        raise ValueError("two classes\nare needed")


class Plain(torch.nn.Module):
    """A network of a user's that takes a seed and does not use it."""

    def __init__(self, input_shape, num_outputs, seed, returns=None, draw=None):
        super().__init__()
        self.linear, self.relu, self.returns = torch.nn.Linear(input_shape[0], num_outputs), torch.nn.ReLU(), returns
        if draw:
            torch.nn.init.constant_(self.linear.weight, draw())
        self.norm = torch.nn.BatchNorm1d(num_outputs) if returns == "normed" else torch.nn.Identity()

    def forward(self, inputs):
        logits = self.norm(self.linear(inputs))
        if self.returns == "both" or (self.returns == "both in training" and self.training):
            return logits, inputs
        others = {
            "detached": logits.detach(),
            "one": logits[:, :1],
            "squeezed": logits.squeeze(),
            "output": SimpleNamespace(logits=logits),
        }
        return others.get(self.returns, logits)


@pytest.fixture
def _plain(monkeypatch):
    monkeypatch.setattr("noisereg.models.Plain", Plain, raising=False)
    monkeypatch.setattr(Plain, "__module__", "noisereg.models")


@pytest.mark.usefixtures("_plain")
@pytest.mark.parametrize("draw", [None, np.random.random, random.random])
def test_a_network_that_knows_nothing_of_its_seed_starts_from_it_all_the_same(draw):
    settings = {"model": {"_target_": "noisereg.models.Plain", "draw": draw}}
    weights = []
    for seed in (0, 1, 0):
        torch.rand(3), np.random.random(), random.random()  # noqa: NPY002 - whatever was drawn before
        weights.append(build_model(settings, seed, input_shape=(5,), num_classes=3).linear.weight)
    assert torch.equal(weights[0], weights[2]) and not torch.equal(weights[0], weights[1])


@pytest.mark.usefixtures("_plain")
@pytest.mark.parametrize(("returns", "found"), [("both", "tuple; return the logits alone"), ("one", r"\(2, 1\)")])
def test_a_network_that_returns_no_logits_is_refused_in_one_line(returns, found):
    settings = {"model": {"_target_": "noisereg.models.Plain", "returns": returns}}
    with pytest.raises(ConfigError, match=rf"^model: Plain must return logits of shape \(batch, 3\), got {found}$"):
        build_model(settings, 0, input_shape=(5,), num_classes=3)


@pytest.mark.usefixtures("_plain")
def test_a_network_that_returns_the_output_of_another_library_is_told_to_return_its_logits():
    settings = {"model": {"_target_": "noisereg.models.Plain", "returns": "output"}}
    with pytest.raises(ConfigError, match=r"must return logits of .*, got SimpleNamespace; return its \.logits$"):
        build_model(settings, 0, input_shape=(5,), num_classes=3)


@pytest.mark.usefixtures("_plain")
def test_a_network_whose_logits_have_no_gradient_is_refused_in_one_line():
    settings = {"model": {"_target_": "noisereg.models.Plain", "returns": "detached"}}
    with pytest.raises(ConfigError, match=r"^model: Plain must return logits that have a gradient in its weights"):
        build_model(settings, 0, input_shape=(5,), num_classes=3)


@pytest.mark.usefixtures("_plain")
def test_a_network_that_squeezes_a_batch_of_one_is_refused_in_one_line():
    settings = {"model": {"_target_": "noisereg.models.Plain", "returns": "squeezed"}}
    line = r"^model: Plain must return logits of shape \(1, 3\) for a batch of one, got \(3,\)$"
    with pytest.raises(ConfigError, match=line):
        build_model(settings, 0, input_shape=(5,), num_classes=3)


def _check_plain(returns, *, num_samples, batch_size, **trainer):
    data = Hypercube(d=5, train_size=num_samples, test_size=4, batch_size=batch_size)
    data.setup()
    settings = {"model": {"_target_": "noisereg.models.Plain", "returns": returns}, "trainer": {"devices": 1} | trainer}
    check_training_mode(Plan(settings), data, build_trial(settings, data))


@pytest.mark.usefixtures("_plain")
def test_a_network_that_returns_something_else_in_training_mode_is_refused_in_one_line():
    shape = r"shape \(batch, 1\) in training mode, got tuple"
    line = rf"^model: Plain must return logits of {shape}; return the logits alone$"
    with pytest.raises(ConfigError, match=line):
        _check_plain("both in training", num_samples=8, batch_size=4)


@pytest.mark.usefixtures("_plain")
@pytest.mark.parametrize(
    ("num_samples", "batch_size", "devices", "batch"),
    [
        (9, 4, 1, "the last training batch of an epoch"),
        (1, 4, 1, "the last training batch of an epoch"),
        (8, 1, 1, "each training batch"),
        (8, 2, 2, "each training batch"),
        (10, 4, 2, "the last training batch of an epoch"),
    ],
)
def test_a_batch_of_one_sample_that_batch_norm_cannot_be_trained_on_is_refused(num_samples, batch_size, devices, batch):
    line = f"^dataset.batch_size={batch_size} leaves one sample for {batch}, on which Plain cannot be trained"
    with pytest.raises(ConfigError, match=line):
        _check_plain("normed", num_samples=num_samples, batch_size=batch_size, devices=devices)


@pytest.mark.usefixtures("_plain")
@pytest.mark.parametrize(
    ("returns", "num_samples", "batch_size", "trainer"),
    [
        ("normed", 8, 4, {}),
        ("normed", 10, 4, {}),
        ("normed", 3, 4, {}),
        (None, 9, 4, {}),
        (None, 9, 1, {}),
        ("normed", 10, 4, {"devices": 2, "sync_batchnorm": True}),
    ],
)
def test_batches_that_a_network_can_be_trained_on_pass(returns, num_samples, batch_size, trainer):
    _check_plain(returns, num_samples=num_samples, batch_size=batch_size, **trainer)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (
            lambda inputs: inputs[:, 1:],
            r"must have the shape \(60,\) of its input_shape, got \(59,\) in the test split",
        ),
        (torch.Tensor.double, r"must be float32, got float64 in the test split; return inputs.float\(\)"),
        (torch.Tensor.half, r"must be float32, got float16 in the test split; return inputs.float\(\)"),
        (torch.Tensor.byte, r"must be float32, got uint8 in the test split; return inputs.float\(\)"),
    ],
)
def test_inputs_that_no_network_of_the_run_takes_are_refused(monkeypatch, change, fault):
    train, test = Hypercube().load()
    monkeypatch.setattr(Hypercube, "load", lambda self: (train, Split(change(test.inputs), test.labels)))
    with pytest.raises(ConfigError, match=f"^the inputs of Hypercube {fault}$"):
        build_data(compose_settings(), 0)


def test_a_transform_that_makes_another_shape_is_refused(monkeypatch):
    monkeypatch.setattr(Hypercube, "eval_transform", lambda self, inputs, **_: inputs[:, 1:])
    words = r"^the inputs of Hypercube must have the shape \(60,\) of its input_shape, got \(59,\) in the train split$"
    with pytest.raises(ConfigError, match=words):
        build_data(compose_settings(), 0)


def _normalise_batch(inputs, **_):
    return inputs - inputs.mean(dim=0)


def _mirror_some(inputs, **_):
    return -inputs if torch.rand(()) < 0.5 else inputs


def _add_noise(inputs, **_):
    return inputs + torch.from_numpy(np.random.normal(size=inputs.shape)).float()  # noqa: NPY002 - as users do


@pytest.mark.parametrize("key", ["train_transform", "eval_transform"])
@pytest.mark.parametrize("transform", [_normalise_batch, _mirror_some, _add_noise])
def test_a_transform_that_makes_something_else_of_a_sample_in_another_batch_is_refused(monkeypatch, key, transform):
    monkeypatch.setattr(Hypercube, key, staticmethod(transform))
    words = rf"^the {key} of Hypercube must be a function of each sample, its draw and its index alone: draw by"
    with pytest.raises(ConfigError, match=words):
        build_data(compose_settings(), 0)


def test_a_transform_that_is_a_function_of_the_draw_is_taken(monkeypatch):
    def mirror(inputs, *, draw, index):
        return torch.where(rng.uniform(0, rng.Stream.AUGMENT, 0, draw)[:, None] < 0.5, -inputs, inputs)

    monkeypatch.setattr(Hypercube, "train_transform", staticmethod(mirror))
    build_data(compose_settings(), 0)


def test_inputs_in_the_precision_of_the_run_and_transformed_ones_are_taken(monkeypatch):
    train, test = (Split(split.inputs.double(), split.labels) for split in Hypercube().load())
    monkeypatch.setattr(Hypercube, "load", lambda self: (train, test))
    assert build_data(compose_settings("trainer.precision=64-true"), 0).splits["test"].inputs.dtype == torch.float64
    monkeypatch.setattr(Hypercube, "eval_transform", lambda self, inputs, **_: inputs.float())
    build_data(compose_settings(), 0)


@pytest.mark.parametrize(("num_classes", "shape"), [(2, "(2, 1)"), (3, "(2, 3, 1)")])
def test_a_loss_without_a_value_for_each_class_is_refused(monkeypatch, num_classes, shape):
    kinds = {2: lambda loss, logits: logits.softmax(1), 3: lambda loss, logits: logits[..., None]}
    monkeypatch.setattr(Logistic, "per_class", kinds[num_classes])
    settings = compose_settings("dataset.train_size=4", "dataset.test_size=4")
    data = build_data(settings, 0)
    data.num_classes = num_classes
    words = rf"^loss: Logistic.per_class must return the shape \(2, {num_classes}\) for .* got {re.escape(shape)}$"
    with pytest.raises(ConfigError, match=words):
        check_loss(settings, data)


@pytest.mark.usefixtures("_plain")
def test_complex_numbers_that_a_network_keeps_stay_complex():
    model = Plain((5,), 3, seed=0)
    model.register_buffer("turn", torch.tensor([1j]))
    for precision, weights, turn in (("32-true", torch.float32, torch.complex64), ("64-true", torch.float64, None)):
        converted = convert_weights(model, compose_settings(f"trainer.precision={precision}"))
        assert converted.linear.weight.dtype == weights and torch.equal(converted.turn, torch.tensor([1j]))
        assert turn in (None, converted.turn.dtype)


@pytest.mark.parametrize("num_classes", [2, 3])
def test_a_formula_that_is_not_the_derivative_of_the_loss_is_refused(monkeypatch, num_classes):
    settings = compose_settings("dataset.train_size=4", "dataset.test_size=4")
    data = build_data(settings, 0)
    data.num_classes = num_classes
    check_loss(settings, data)
    monkeypatch.setattr(Logistic, "slope", lambda self, logits, target: logits.sigmoid() - 0.9 * target[:, -1:])
    with pytest.raises(ConfigError, match=r"^loss: Logistic.slope must be the derivative of its per_sample, got"):
        check_loss(settings, data)


def test_a_file_that_a_data_set_of_the_users_own_does_not_find_is_named(monkeypatch):
    monkeypatch.setattr(Hypercube, "load", lambda self: Path("nowhere/x.npy").read_bytes())
    with pytest.raises(ConfigError, match=r"^nowhere/x.npy cannot be read \(No such file or directory\)$"):
        build_data(compose_settings(), 0)
