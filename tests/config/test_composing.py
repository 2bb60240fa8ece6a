import shutil
import sys
from contextlib import suppress

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig

from noisereg.__main__ import train
from noisereg.config.command_line import check_command_line, compose_with_hydra
from noisereg.config.composing import check_keys, compose_help, compose_run, conf_dir
from noisereg.errors import ConfigError


def arms(*overrides):
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return compose_run(compose("train", overrides=list(overrides)), overrides).arms


def test_each_arm_of_an_experiment_is_a_run_without_an_experiment():
    parts = arms("experiment=fig2_neuron", "seeds=3")
    assert {name: part["loss"]["_target_"].rpartition(".")[2] for name, part in parts.items()} == {
        "hinge": "Hinge",
        "logistic": "Logistic",
    }
    assert all(part["seeds"] == 3 and part["experiment"] == {} for part in parts.values())
    assert {part["logger"]["group"] for part in parts.values()} == {"F2"}


def test_the_short_form_goes_over_the_experiment_and_the_user_goes_over_both():
    assert arms("experiment=fig2_neuron")["hinge"]["trainer"]["max_epochs"] == 60
    assert arms("experiment=fig2_neuron", "fast=true")["hinge"]["trainer"]["max_epochs"] == 10
    assert arms("experiment=fig2_neuron", "fast=true", "trainer.max_epochs=7")["hinge"]["trainer"]["max_epochs"] == 7


def test_without_arms_there_is_the_run_itself():
    (part,) = arms("experiment=fig1_hypercube", "fast=true").values()
    assert (part["experiment"]["id"], part["seeds"]) == ("F1", 3)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ('+experiment.arms={one: ["loss=hingel"]}', "experiment: .*hingel"),
        (
            "+experiment.arms={../one: []}",
            "experiment.arms must be lists of overrides by names of letters, digits and hyphens, got",
        ),
    ],
)
def test_an_arm_that_cannot_be_composed_is_told(override, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=message):
        check_command_line([override])


def test_a_data_set_that_suggests_nothing_goes_with_a_model_that_asks_for_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf" / "dataset").mkdir(parents=True)
    text = "# @package _global_\ndataset:\n  _target_: mine.Data\n  batch_size: 8\n"
    text += "trainer:\n  max_epochs: 2\noptimizer:\n  lr: 0.1\n"
    (tmp_path / "conf" / "dataset" / "mine.yaml").write_text(text)
    own = ["--config-dir", str(tmp_path / "conf"), "dataset=mine", "trust=[mine]"]
    found = check_command_line([*own, "model=mlp", "model.hidden=[32]"])
    assert found.composed.settings["model"]["hidden"] == [32]
    with pytest.raises(ConfigError, match=r"^model.hidden must be a whole number, .*, got None$"):
        check_command_line([*own, "model=two_layer"])
    (tmp_path / "conf" / "dataset" / "mine.yaml").write_text(text.replace("  batch_size: 8\n", ""))
    with pytest.raises(ConfigError, match=r"^dataset.batch_size is missing: it must be a whole number, at least 1$"):
        check_command_line([*own, "model=mlp"])


@pytest.mark.parametrize("key", ["optimiser.lr", "scheduler.foo", "noise.p.x", "dataset.root"])
def test_a_key_that_no_file_has_is_refused_before_a_job_of_a_sweep_is_composed(key, tmp_path, monkeypatch):
    composed = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "noisereg.config.command_line.compose_with_hydra",
        lambda name, overrides, **how: composed.append(overrides) or compose_with_hydra(name, overrides, **how),
    )
    with pytest.raises(ConfigError, match=f"^{key}=1: "):
        check_command_line(["-m", f"{key}=1,2", "seed=1"])
    assert composed == [["seed=1"]]


def test_keys_that_hydra_takes_are_not_refused():
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config = compose("train", return_hydra_config=True)
        check_keys(["optimizer.lr=0.1", "seeds=[1,2]", "logger.group=a", "hydra.job.name=mine"], config)
        check_keys(["+optimiser.lr=0.1", "optimiser.lr=0.2"], config)
        assert config.optimizer.lr != 0.1


def test_the_help_is_word_for_word_that_which_hydra_composes_itself(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["train.py", "--help"])
    monkeypatch.setattr(HydraConfig.instance(), "cfg", None)  # other tests are not to find what is left there
    with suppress(SystemExit):
        train()
    assert capsys.readouterr().out == compose_help() + "\n"


def test_arms_are_composed_from_the_primary_configuration_that_the_command_names(tmp_path):
    folder = shutil.copytree(conf_dir(), tmp_path / "conf")
    (folder / "mine.yaml").write_text("defaults: [train, _self_]\nseeds: 3\n")
    found = check_command_line(["--config-path", str(folder), "--config-name", "mine", "experiment=fig2_neuron"])
    assert [part["seeds"] for part in found.composed.arms.values()] == [3, 3]


def test_the_primary_configuration_may_lie_in_a_folder_beside_ours(tmp_path):
    (tmp_path / "mine.yaml").write_text("defaults: [train, _self_]\nseeds: 3\n")
    options = ["--config-dir", str(tmp_path), "--config-name", "mine"]
    assert check_command_line(options).composed.settings["seeds"] == 3
    arms = check_command_line([*options, "experiment=fig2_neuron"]).composed.arms
    assert [part["seeds"] for part in arms.values()] == [3, 3]
    jobs = check_command_line(["-m", *options, "noise.p=0,0.1"]).jobs
    assert [job.composed.settings["seeds"] for job in jobs] == [3, 3]
