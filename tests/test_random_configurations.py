"""Random configurations of hostile texts, built as a run builds them, run nothing, write nowhere and fetch nothing."""

import copy
import gc
import json
import random
import sys
import tempfile
import warnings
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from lightning.pytorch import Trainer
from lightning.pytorch.demos.boring_classes import BoringModel
from omegaconf import OmegaConf
from random_configurations import HOSTILE, PARTS, Watch, random_section

from noisereg.config.composing import check_safe, conf_dir
from noisereg.errors import ConfigError
from noisereg.training.build import (
    build,
    build_loss,
    build_model,
    build_optimizer,
    build_rule,
    build_schedule,
    build_scheduler,
)

CANARY = "canary-4711-value"


@pytest.fixture(scope="module")
def plain():
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return OmegaConf.to_container(compose("train"))


@pytest.fixture(scope="module")
def watch():
    return Watch()


def build_part(part, settings):
    """Build a part as a run does."""
    makers = {
        "noise": lambda: build_rule(settings, 0.1, num_classes=2),
        "noise.schedule": lambda: build_schedule(settings),
        "model": lambda: build_model(settings, 0, input_shape=(3,), num_classes=10),
        "dataset": lambda: build("dataset", settings["dataset"], seed=0),
        "loss": lambda: build_loss(settings),
        "optimizer": lambda: build_optimizer(settings, 0.1, weights=[torch.nn.Parameter(torch.zeros(1))]),
        "scheduler": lambda: build_scheduler(settings),
        "trainer": lambda: build("trainer", settings["trainer"], logger=[], callbacks=[]),
        "callbacks": lambda: build("callbacks.x", settings["callbacks"]["x"]),
        "experiment": lambda: build("experiment.checks.x", settings["experiment"]["checks"]["x"]),
    }
    return makers[part]()


def place(part, section):
    """Return where a section stands in the configuration, and what stands there."""
    wrapped = {"_target_": "random_configurations.Wrapped", "part": section}
    return {
        "model": ("model", wrapped),
        "optimizer": ("optimizer", {**section, "_partial_": True, "lr": 0.1}),
        "scheduler": ("scheduler", {**section, "_partial_": True}),
        "trainer": ("trainer.profiler" if "profilers" in section["_target_"] else "trainer.strategy", section),
        "callbacks": ("callbacks.x", section),
        "noise": ("noise", {**section, "schedule": {"_target_": "noisereg.noise.Constant"}}),
        "experiment": ("experiment.checks", {"x": section}),
    }.get(part, (part, section))


def use(part, built):
    """Use a part as a training does, as far as texts of it may take effect there."""
    if part == "model":
        torch.fx.symbolic_trace(torch.fx.symbolic_trace(built))
    if part == "trainer":
        built.profiler.setup("fit")
        with built.profiler.profile("step"):
            pass
        built.profiler.describe()
        built.profiler.teardown("fit")
    if part == "callbacks":
        Trainer(max_steps=1, callbacks=[built], logger=False, accelerator="cpu").fit(BoringModel())


def try_part(part, section, plain):
    """Check and build a configuration with a random part, and use it; return how it ended, and what it would write."""
    changed = OmegaConf.create({**copy.deepcopy(plain), "trust": ["random_configurations"]})
    key, value = place(part, section)
    OmegaConf.update(changed, key, value, merge=False, force_add=True)
    try:
        settings = check_safe(changed, ["trust=[random_configurations]"])
    except ConfigError as refusal:
        return "refused", str(refusal)
    try:
        built = build_part(part, settings)
    except ConfigError as refusal:
        return "not built", f"{settings} {refusal}"
    with warnings.catch_warnings(), suppress(Exception):
        warnings.simplefilter("ignore")
        use(part, built)
    return "built", str(settings)


def try_many(number, plain, watch, home, monkeypatch):
    """Try so many random configurations from a fixed seed, and return how many ended how."""
    marker, draw, ends = home.parent / "ran", random.Random(0), Counter()
    monkeypatch.chdir(home)
    monkeypatch.setattr(tempfile, "tempdir", str(home))
    monkeypatch.setenv("CANARY", CANARY)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # Python's own files of what is imported here are no fault
    for count in range(number):
        part = PARTS[count % len(PARTS)]
        section = random_section(part, draw)
        filled = json.loads(json.dumps(section).replace("RAN", str(marker)))
        with watch.over(home):
            end, outcome = try_part(part, filled, plain)
        assert not watch.found, (filled, watch.found)
        assert not marker.exists(), filled
        assert "\n" not in outcome and CANARY not in outcome, filled
        ends[end] += 1
    gc.collect()
    assert CANARY not in "".join(str(path) for path in home.rglob("*"))
    return ends


# a profiler that was not started complains when it is collected
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_40_random_configurations_do_nothing_but_build(plain, watch, tmp_path, monkeypatch):
    (tmp_path / "run").mkdir()
    ends = try_many(40, plain, watch, tmp_path / "run", monkeypatch)
    assert ends["built"] >= 4


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_1000_random_configurations_do_nothing_but_build(plain, watch, tmp_path, monkeypatch):
    (tmp_path / "run").mkdir()
    ends = try_many(1000, plain, watch, tmp_path / "run", monkeypatch)
    assert ends["built"] >= 100


@pytest.mark.parametrize(
    "deed",
    [
        lambda home: (home.parent / "ran").write_text("x"),
        lambda home: (home.parent / "folder").mkdir(),
        lambda home: compile("'touch RAN'", "x", "eval"),
        lambda home: __import__("os").system("true"),
        lambda home: __import__("subprocess").run(["true"], check=True),
        lambda home: __import__("socket").create_connection(("127.0.0.1", 9), timeout=1),
        lambda home: __import__("os").environ.__setitem__("MARKED", "1"),
    ],
    ids=["file", "folder", "code", "shell", "program", "connection", "variable"],
)
def test_the_watch_sees_what_an_attack_does(deed, watch, tmp_path, monkeypatch):
    monkeypatch.delenv("MARKED", raising=False)
    home = Path(tmp_path / "run")
    home.mkdir()
    with watch.over(home), suppress(Exception):
        (home / "own").write_text("may be written")
        deed(home)
    assert len(watch.found) >= 1


def test_a_name_of_a_layer_runs_a_shell_where_the_checks_are_taken_away(plain, watch, tmp_path, monkeypatch):
    layer = HOSTILE[0].replace("RAN", str(tmp_path / "ran"))
    section = {"_target_": "torch.nn.ModuleDict", "_args_": [{layer: {"_target_": "torch.nn.ReLU"}}]}
    with watch.over(tmp_path):
        assert try_part("model", section, plain)[0] == "refused"
    assert not watch.found
    monkeypatch.setattr("noisereg.config.allowed._check_arguments", lambda *given: None)
    assert try_part("model", section, plain)[0] == "not built"
    monkeypatch.setattr("noisereg.training.build.check_names", lambda model: None)
    with watch.over(tmp_path):
        assert try_part("model", section, plain)[0] == "built"
    assert any(line.startswith("os.system") for line in watch.found) and (tmp_path / "ran").exists()


def test_there_are_30_hostile_texts():
    assert len(set(HOSTILE)) == 30
