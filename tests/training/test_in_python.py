import json
import logging
import os
import re
import signal
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig

import noisereg
from noisereg.callbacks.run_checkpoint import Stopped
from noisereg.config.composing import conf_dir
from noisereg.errors import ConfigError
from noisereg.training import in_python
from noisereg.training import run as story

SMALL = ["dataset.d=6", "dataset.train_size=40", "dataset.test_size=50", "trainer.max_epochs=2", "logger=csv"]
GRID = [*SMALL, "engine=blocked", "model.hidden=8", "noise.p=[0,0.5]", "seeds=2"]
ALONE = [*SMALL, "engine=single", "model=mlp", "model.hidden=[12]", "dataset.batch_size=8"]
GUIDE = Path(noisereg.__file__).parents[1] / "docs" / "guide.md"
LOGGERS = ("", "lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero", "hydra")


@pytest.fixture(autouse=True)
def _without_pictures(monkeypatch):
    monkeypatch.setattr(story, "draw_replicas", lambda training, rows: [])


def shared():
    """What a training may not change: all that the process shares."""
    return {
        "handlers": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)],
        "threads": torch.get_num_threads(),
        "torch": torch.get_rng_state().tolist(),
        "numpy": repr(np.random.get_state()),  # noqa: NPY002 - what libraries share
        "logging": [(logging.getLogger(name).level, list(logging.getLogger(name).handlers)) for name in LOGGERS],
        "warnings": (warnings.filters[:], warnings.formatwarning, warnings.showwarning),
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "hydra": (GlobalHydra.instance().is_initialized(), HydraConfig.instance().cfg),
        "precision": (torch.get_default_dtype(), torch.get_float32_matmul_precision(), torch.is_grad_enabled()),
    }


@pytest.mark.parametrize("overrides", [pytest.param(GRID, id="blocked"), pytest.param(ALONE, id="single")])
def test_a_training_returns_its_run_and_leaves_nothing_behind(overrides, tmp_path):
    before = shared()
    run = noisereg.train([*overrides, "threads=1"], folder=tmp_path / "run", quiet=True)
    assert shared() == before
    assert isinstance(run, noisereg.TrainedRun) and run.run.folder == tmp_path / "run"
    assert {0, 2} <= set(run.curves["epoch"]) <= {0, 1, 2}
    which = {"seed": 0, "p": float(run.replicas["p"].iloc[0])}
    network, wrong = run.network(**which), []
    for batch in run.batches("test", **which):
        with torch.no_grad():
            wrong.append(((network(batch["input"]).flatten() > 0).long() != batch["label"]).float())
    error = run.replicas.query("seed == 0 and p == @which['p']")["test/error"].iloc[0]
    assert torch.cat(wrong).mean().item() == pytest.approx(error)


def test_two_trainings_in_a_row_come_to_the_same_and_the_second_of_a_folder_is_read(tmp_path, capsys):
    first, second = (noisereg.train(GRID, folder=tmp_path / name, quiet=True) for name in "ab")
    metrics = [name for name in first.replicas if "/" in name]
    assert first.replicas[metrics].equals(second.replicas[metrics])
    written = (tmp_path / "a" / "result.json").read_bytes()
    assert capsys.readouterr().out == ""
    again = noisereg.train(GRID, folder=tmp_path / "a")
    assert "nothing to do" in capsys.readouterr().out
    assert (tmp_path / "a" / "result.json").read_bytes() == written
    assert again.replicas[metrics].equals(first.replicas[metrics])


def test_options_of_a_folder_of_ones_own_are_those_of_the_command(tmp_path, capsys):
    mine = tmp_path / "mine"
    (mine / "noise").mkdir(parents=True)
    (mine / "noise" / "often.yaml").write_text("defaults: [flip]\np: 0.4\n")
    overrides = [*(line for line in GRID if not line.startswith("noise.")), "noise=often"]
    run = noisereg.train(overrides, folder=tmp_path / "run", config_dir=mine, quiet=True)
    assert run.settings["noise"]["_target_"] == "noisereg.noise.Flip" and set(run.replicas["p"]) == {0.4}
    assert f"--config-dir {mine}" in json.loads((tmp_path / "run" / "result.json").read_text())["command"]
    noisereg.train([f"resume={tmp_path / 'run'}"], config_dir=mine)
    assert "nothing to do" in capsys.readouterr().out
    with pytest.raises(ConfigError, match=r"^config_dir=.*/other: there is no such folder$"):
        noisereg.train(overrides, config_dir=tmp_path / "other", quiet=True)
    (mine / "noise" / "often.yaml").write_text("_target_: evil.Rule\np: 0.4\n")
    with pytest.raises(ConfigError, match=r"^noise._target_=evil.Rule: only"):
        noisereg.train(overrides, folder=tmp_path / "third", config_dir=mine, quiet=True)
    assert not (tmp_path / "third").exists()


def test_a_caller_that_has_initialised_hydra_keeps_what_it_has(tmp_path):
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        noisereg.train(GRID, folder=tmp_path / "run", quiet=True)
        assert compose("train", overrides=["seed=7"]).seed == 7


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["noise.p=2"], r"^noise\.p must be a number in \[0, 1\]"),
        (
            ["noise.q=1"],
            r"^noise\.q=1: there is no key or group noise\.q; if it is an argument of Resample, add it with a",
        ),
        (["model=resnt"], r"did you mean resnet20"),
        (["noise.p=0,1"], r"a list is written 'noise\.p=\[1,2\]'"),
        (["-m", "noise.p=0,1"], r"^-m is an option of the command"),
        ("noise.p=1", r"^overrides must be a list of texts"),
        (["experiment=fig4_bias"], r"^the experiment has several arms, each a run of its own: give arm="),
        (["trainer.devices=2", "trainer.accelerator=cpu"], r"^trainer\.devices=2: a network that several processes"),
        (["model=resnet20", "dataset=hypercube"], r"^model: input_shape must be"),
        (["resume=nowhere"], r"^resume=nowhere: no run can be found there"),
    ],
)
def test_what_is_wrong_is_a_config_error_that_leaves_nothing(overrides, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    before = shared()
    with pytest.raises(ConfigError, match=message):
        noisereg.train(overrides, quiet=True)
    assert shared() == before
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr() == ("", "")


def test_a_failure_comes_as_the_error_that_it_is_and_is_recorded(tmp_path):
    with pytest.raises(FloatingPointError):
        noisereg.train([*ALONE, "optimizer.lr=1e30"], folder=tmp_path / "run", quiet=True)
    assert '"status": "failed"' in (tmp_path / "run" / "result.json").read_text()


def test_an_interrupt_is_a_keyboard_interrupt(tmp_path, monkeypatch):
    def stop(config, *, folder, arm, console):
        raise Stopped(signal.SIGINT)

    monkeypatch.setattr(in_python, "run_once", stop)
    with pytest.raises(KeyboardInterrupt):
        noisereg.train(GRID, folder=tmp_path / "run", quiet=True)


def test_the_script_of_the_guide_trains(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    exec(re.search(r"^`notebook.py`\n\n```python\n(.*?)^```", GUIDE.read_text(), re.DOTALL | re.MULTILINE)[1], {})
    assert "0.2" in capsys.readouterr().out
    assert (tmp_path / "outputs" / "notebook" / "result.json").exists()


CELL = f"""
import signal
import noisereg
handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)]
run = noisereg.train({GRID!r})
assert handlers == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)]
print(len(run.replicas), type(run.network(p=0.5, seed=1)).__name__)
"""


@pytest.mark.slow
def test_cells_of_a_live_notebook_train_twice_and_a_wrong_one_says_what_is_wrong(tmp_path):
    """Needs pip install 'noisereg[docs]'."""
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    cells = [CELL, CELL, "noisereg.train(['noise.p=2'])", "print('alive')"]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbclient.NotebookClient(
        notebook, timeout=300, allow_errors=True, resources={"metadata": {"path": tmp_path}}
    ).execute()
    printed = [
        "".join(part.get("text", "") for part in cell.outputs if part.output_type == "stream")
        for cell in notebook.cells
    ]
    assert all(text.endswith("4 TwoLayer\n") for text in printed[:2]), printed
    assert len(list(tmp_path.glob("outputs/*/*/result.json"))) == 2
    (fault,) = (part for part in notebook.cells[2].outputs if part.output_type == "error")
    assert (fault.ename, fault.evalue[:30]) == ("ConfigError", "noise.p must be a number in [0")
    assert printed[3] == "alive\n"


def test_what_a_project_trusts_is_not_trusted_in_python(tmp_path, monkeypatch):
    (tmp_path / "noisereg.toml").write_text('trust = ["subprocess"]')
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        ConfigError, match=r"^loss\._target_=subprocess\.getoutput: only noisereg\.losses\.\* can be built"
    ):
        noisereg.train([*GRID, "loss._target_=subprocess.getoutput", "+loss.cmd=touch here"], folder=tmp_path / "run")
    assert [path.name for path in tmp_path.iterdir()] == ["noisereg.toml"]
