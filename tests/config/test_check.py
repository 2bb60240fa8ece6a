import copy

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from noisereg.config.check import check, suggest_name
from noisereg.config.composing import conf_dir
from noisereg.errors import ConfigError


@pytest.fixture(scope="module")
def plain():
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return OmegaConf.to_container(compose("train"))


def _with(plain, key, value):
    changed = OmegaConf.create(copy.deepcopy(plain))
    OmegaConf.update(changed, key, value, force_add=True)
    return changed


def test_the_default_configuration_is_accepted_and_resolved(plain):
    settings = check(OmegaConf.create(plain))
    assert settings["model"]["hidden"] == 240
    assert settings["trainer"]["check_val_every_n_epoch"] == settings["callbacks"]["sparsity"]["every_n_epochs"]


@pytest.mark.parametrize("value", [1.5, -0.1, float("nan"), float("inf"), "abc", "0.1", None, True])
def test_a_strength_that_is_no_number_between_0_and_1_is_refused(plain, value):
    with pytest.raises(ConfigError, match=r"^noise.p must be a number in \[0, 1\], or a list of different ones, got "):
        check(_with(plain, "noise.p", value))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("seed", -1, r"seed must be a whole number in \[0, 2\*\*63\), got -1"),
        ("seed", 0.5, r"seed must be a whole number"),
        ("optimizer.lr", -1, "optimizer.lr must be a number above 0, or a list of different ones, got -1"),
        ("optimizer.lr", float("nan"), "optimizer.lr must be a number above 0, or a list of different ones, got nan"),
        ("optimizer.momentum", 1.0, r"optimizer.momentum must be a number in \[0, 1\), got 1.0"),
        ("optimizer.weight_decay", -1e-4, "optimizer.weight_decay must be a number, at least 0, got -0.0001"),
        ("dataset.batch_size", 0, "dataset.batch_size must be a whole number, at least 1, got 0"),
        ("dataset.batch_size", 1.5, "dataset.batch_size must be a whole number, at least 1, got 1.5"),
        ("dataset.train_size", -3, "dataset.train_size must be a whole number, at least 1, or null, got -3"),
        ("dataset.val_size", -1, "dataset.val_size must be a whole number, at least 0, got -1"),
        ("dataset.order", "sorted", "dataset.order must be shuffle or replacement, got 'sorted'"),
        ("dataset._target_", "os", "dataset._target_ must be the dotted name of what is to be built, got 'os'"),
        ("model.hidden", 0, "model.hidden must be a whole number, at least 1, or a list of them, got 0"),
        ("model.hidden", [8, -1], r"model.hidden must be a whole number, at least 1, or a list of them, got"),
        ("loss.beta", -1, "loss.beta must be a number, at least 0, got -1"),
        ("noise.expected", "maybe", "noise.expected must be true or false, got 'maybe'"),
        ("trainer.max_epochs", 0, "trainer.max_epochs must be a whole number, at least 1, got 0"),
        ("trainer.max_steps", -2, "trainer.max_steps must be a whole number of steps, or -1 for no limit, got -2"),
        ("trainer.accelerator", "tpuu", "trainer.accelerator must be auto, cpu, gpu, cuda or mps, got 'tpuu'"),
        ("trainer.devices", 0, "trainer.devices must be a whole number, at least 1, got 0"),
        (
            "callbacks.sparsity.every_n_epochs",
            0,
            "callbacks.sparsity.every_n_epochs must be a whole number, at least 1",
        ),
        ("callbacks.norms", 3, "callbacks.norms must be a section of keys, got 3"),
        ("logger.tags", "x", "logger.tags must be a list of words of 1 to 64 characters, got 'x'"),
        ("logger.project", "", "logger.project must be a text that is not empty, got ''"),
    ],
)
def test_a_value_out_of_range_is_refused_with_its_key_and_the_range(plain, key, value, message):
    with pytest.raises(ConfigError, match=f"^{message}"):
        check(_with(plain, key, value))


@pytest.mark.parametrize(
    ("key", "values"), [("noise.p", [0, 0.1, 1]), ("optimizer.lr", [0.1, 1]), ("seeds", 20), ("seeds", [0, 7, 3])]
)
def test_what_spans_replicas_may_be_a_list(plain, key, values):
    found = check(_with(plain, key, values))
    for part in key.split("."):
        found = found[part]
    assert found == values


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("noise.p", [0.1, 0.1]),
        ("noise.p", []),
        ("noise.p", [0, 1.5]),
        ("optimizer.lr", [0.1, 0]),
        ("optimizer.lr", []),
        ("seeds", 0),
        ("seeds", [1, 1]),
        ("seeds", [-1]),
        ("seeds", 1.5),
        ("seeds", "many"),
    ],
)
def test_a_list_that_names_no_grid_is_refused_by_its_key(plain, key, values):
    with pytest.raises(ConfigError, match=f"^{key} must be a .*, or a list of different .*, got ") as refusal:
        check(_with(plain, key, values))
    assert str(refusal.value).endswith(repr(values)) or str(values[-1]) in str(refusal.value)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("nois", "nois=1: there is no such key; did you mean noise?"),
        ("logger.cvs", "logger.cvs=1: .* did you mean csv?"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_one(plain, key, message):
    with pytest.raises(ConfigError, match=message):
        check(_with(plain, key, 1))


def test_a_value_that_is_missing_is_named(plain):
    with pytest.raises(ConfigError, match=r"^optimizer.lr has no value, as no file gives one: add optimizer.lr=VALUE$"):
        check(_with(plain, "optimizer.lr", "???"))
    without = copy.deepcopy(plain)
    del without["noise"]["schedule"]
    with pytest.raises(ConfigError, match=r"noise.schedule is missing: it must be a section of keys"):
        check(OmegaConf.create(without))


def test_a_reference_to_nowhere_is_refused(plain):
    with pytest.raises(ConfigError, match="nowhere"):
        check(_with(plain, "model.hidden", "${nowhere}"))


def test_the_nearest_name_is_offered_only_if_it_is_near():
    assert suggest_name("resnet21", ["mlp", "resnet20", "resnet32"]) == "; did you mean resnet20?"
    assert suggest_name("resnet21", ["mlp", "neuron"]) == ""
    assert suggest_name("x", []) == ""
