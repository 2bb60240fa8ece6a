"""A run from its configuration to its record, in this process; tests/test_train.py runs the whole program."""

import json
import logging
import os
import shutil
import signal
import sys
import warnings
from contextlib import nullcontext

import pytest
from run_here import start

from noisereg.callbacks import Stopped
from noisereg.errors import ConfigError, DiskError
from noisereg.training import data_fingerprint, training
from noisereg.training import prepare as preparation
from noisereg.training import run as story

SMALL = ["dataset.d=6", "dataset.train_size=8", "dataset.test_size=4", "model.hidden=4", "trainer.max_epochs=1"]
ALONE = [*SMALL, "noise.p=0.1", "seeds=1", "logger=csv", "engine=blocked"]
ARMS = [
    "+experiment.arms={slow: ['optimizer.lr=0.1'], quick: ['optimizer.lr=0.2']}",
    "+experiment.id=A1",
    "+experiment.title=two rates",
]
CHECKS = "+experiment.checks={perceptron: {_target_: noisereg.theory.verify_perceptron, seeds: 1, n: 10, d: 3}}"
pytestmark = pytest.mark.filterwarnings("ignore:.*smaller than the logging interval")


@pytest.fixture(autouse=True)
def pictures(monkeypatch):
    """The folders that pictures are drawn in, which takes seconds; loggers and warnings are as before after a test."""
    drawn = []
    monkeypatch.setattr(story, "draw_replicas", lambda training, rows: drawn.append(training.folder) or [])
    monkeypatch.setattr(story, "draw_experiment", lambda folder, console: drawn.append(folder))
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    loggers = [logging.getLogger(f"lightning.{name}") for name in ("pytorch.utilities.rank_zero", "pytorch", "fabric")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        yield drawn
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


def read(folder):
    return json.loads((folder / "result.json").read_text())


def test_a_run_leaves_its_record_with_the_command_the_environment_and_a_row(tmp_path, pictures, capsys):
    record = start(tmp_path, *ALONE)
    assert record == read(tmp_path)
    assert (record["status"], record["steps"], record["data"]) == ("finished", 8, "hypercube")
    assert record["command"].startswith("python train.py dataset.d=6 ")
    assert record["environment"]["device"].startswith("cpu")
    assert [(row["p"], row["seed"], row["epochs"]) for row in record["replicas"]] == [(0.1, 0, 1)]
    assert pictures == [tmp_path]
    out = capsys.readouterr().out
    assert f"folder  {tmp_path}" in out and "engine  blocked: 1 replicas at once (1 seeds for each p)" in out
    assert f"8 steps in {record['seconds']:,.1f} s; all numbers in {tmp_path / 'result.json'}" in out


@pytest.mark.parametrize("arguments", [ALONE, [*ALONE, *ARMS]], ids=["one", "arms"])
def test_the_record_is_finished_before_a_picture_is_drawn(arguments, tmp_path, monkeypatch):
    found = []

    def draw(training, rows):
        found.append((read(training.folder)["status"], len(read(training.folder)["replicas"])))
        return []

    monkeypatch.setattr(story, "draw_replicas", draw)
    monkeypatch.setattr(story, "draw_experiment", lambda folder, console: found.append((read(folder)["status"],)))
    start(tmp_path, *arguments)
    assert found == ([("finished", 1)] if arguments is ALONE else [("finished",)])


def requeue(number, frame):
    """End the process as submitit does once SLURM has its job back."""
    sys.exit(-1)


@pytest.mark.parametrize(
    ("part", "status"),
    [("prepare", "stopped"), ("_open_loggers", "stopped"), ("run_checks", "stopped"), ("draw_replicas", "finished")],
)
def test_a_signal_that_the_time_is_up_stops_a_run_that_is_not_finished_wherever_it_is(
    part, status, tmp_path, monkeypatch, capsys
):
    before, real = signal.signal(signal.SIGUSR2, requeue), getattr(story, part)

    def signalled(*arguments, **keywords):
        os.kill(os.getpid(), signal.SIGUSR2)
        return real(*arguments, **keywords)

    experiment = ["+experiment.id=A1", "+experiment.title=one", CHECKS] if part == "run_checks" else []
    try:
        monkeypatch.setattr(story, part, signalled)
        with pytest.raises(Stopped) if status == "stopped" else nullcontext() as end:
            start(tmp_path, *ALONE, *experiment)
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert read(tmp_path)["status"] == status
    if status == "stopped":
        assert (end.value.code, read(tmp_path)["reason"]) == (-1, "SIGUSR2")
        assert "stopped by SIGUSR2; to go on: " in capsys.readouterr().out
        monkeypatch.setattr(story, part, real)
        assert start(tmp_path, *ALONE, *experiment)["status"] == "finished"


def test_a_finished_run_is_left_as_it_is(tmp_path, capsys):
    record = start(tmp_path, *ALONE)
    before = (tmp_path / "checkpoints" / "last.ckpt").stat().st_mtime_ns
    capsys.readouterr()
    assert start(tmp_path, *ALONE) == record
    assert capsys.readouterr().out == f"{tmp_path} holds the finished run of this configuration; nothing to do\n"
    assert (tmp_path / "checkpoints" / "last.ckpt").stat().st_mtime_ns == before


def test_bad_input_leaves_no_folder(tmp_path):
    with pytest.raises(ConfigError, match=r"^dataset.d must be a whole number, at least 1, got 0"):
        start(tmp_path / "run", *ALONE, "dataset.d=0")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("model._target_=nowhere.Net", "model._target_=nowhere.Net"),
        ("+callbacks.own={_target_: nowhere.Own}", "callbacks.own._target_=nowhere.Own"),
        ("+experiment.arms={fine: [], wrong: ['loss._target_=nowhere.Own']}", "loss._target_=nowhere.Own"),
    ],
)
def test_a_module_that_python_does_not_find_is_named_before_any_data_are_read(override, key, tmp_path, monkeypatch):
    def read_data(*arguments):
        raise AssertionError("data are read")

    monkeypatch.setattr(preparation, "build_data", read_data)
    with pytest.raises(ConfigError, match=rf"^{key}: Python finds no module nowhere; if it is one of your own"):
        start(tmp_path / "run", *ALONE, "trust=[nowhere]", override)
    assert list(tmp_path.iterdir()) == []


def test_another_configuration_in_the_same_folder_is_refused_and_changes_nothing(tmp_path):
    start(tmp_path, *ALONE)
    before = (tmp_path / "result.json").read_bytes()
    with pytest.raises(ConfigError, match=r"another configuration \(optimizer.lr was [\d.]+ and is 0.3\)"):
        start(tmp_path, *ALONE, "optimizer.lr=0.3")
    assert (tmp_path / "result.json").read_bytes() == before


def test_a_run_that_fails_says_why_in_its_record(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        start(tmp_path, *ALONE, "optimizer.lr=1e30", "loss=squared_error")
    assert ended.value.code == 1
    record = read(tmp_path)
    assert record["status"] == "failed" and record["reason"].startswith("FloatingPointError: infinite or nan weights")
    assert record["environment"]["device"].startswith("cpu")
    assert "failed: infinite or nan weights" in capsys.readouterr().err


@pytest.fixture
def read_data(monkeypatch):
    """What data have by now for a fingerprint; a test changes it."""
    found = {"images": 4}

    def read(data, settings):
        if not found:
            raise ConfigError("dataset: the images cannot be read")
        return dict(found)

    monkeypatch.setattr(data_fingerprint, "fingerprint_of", read)
    monkeypatch.setattr(training, "fingerprint_of", read)
    return found


def test_a_run_on_other_data_is_refused_whether_it_is_finished_or_not_and_its_record_stays(tmp_path, read_data, capsys):
    assert start(tmp_path, *ALONE)["fingerprint"] == {"images": 4}
    stopped = json.dumps({**read(tmp_path), "status": "stopped"})
    for text in ((tmp_path / "result.json").read_text(), stopped):
        (tmp_path / "result.json").write_text(text)
        read_data["images"] = 5
        with pytest.raises(ConfigError, match=r"holds a run on other data \(images was 4 and is 5\); name another"):
            start(tmp_path, *ALONE)
        assert (tmp_path / "result.json").read_text() == text
    read_data["images"] = 4
    assert start(tmp_path, *ALONE)["status"] == "finished"
    read_data.clear()
    capsys.readouterr()
    start(tmp_path, *ALONE)
    assert "nothing to do (its data were not compared: dataset: the images cannot be read)" in capsys.readouterr().out


def test_an_arm_that_is_finished_alone_is_compared_with_its_data_too(tmp_path, read_data):
    start(tmp_path, *ALONE, *ARMS, "arm=quick")
    read_data["images"] = 5
    with pytest.raises(ConfigError, match=r"quick holds a run on other data \(images was 4 and is 5\)"):
        start(tmp_path, *ALONE, *ARMS, "arm=quick")


def test_arms_are_not_trained_on_data_that_changed_after_another_arm(tmp_path, read_data):
    start(tmp_path, *ALONE, *ARMS)
    record = read(tmp_path)
    assert record["fingerprint"] == {"slow": {"images": 4}, "quick": {"images": 4}}
    (tmp_path / "result.json").unlink()
    shutil.rmtree(tmp_path / "quick")
    read_data["images"] = 5
    with pytest.raises(ConfigError, match=r"slow holds a run on other data \(images was 4 and is 5\)"):
        start(tmp_path, *ALONE, *ARMS)
    (tmp_path / "slow" / "result.json").unlink()
    (tmp_path / "result.json").write_text(json.dumps({**record, "status": "stopped"}))
    with pytest.raises(ConfigError, match=r"holds a run on other data \(images was 4 and is 5\)"):
        start(tmp_path, *ALONE, *ARMS)


def test_arms_are_trained_in_folders_of_their_own_and_joined(tmp_path, pictures):
    record = start(tmp_path, *ALONE, *ARMS)
    assert [row["arm"] for row in record["replicas"]] == ["slow", "quick"]
    for arm, lr, row in zip(("slow", "quick"), (0.1, 0.2), record["replicas"], strict=True):
        own = read(tmp_path / arm)
        assert (own["status"], own["config"]["optimizer"]["lr"]) == ("finished", lr)
        assert row == {**own["replicas"][0], "arm": arm}
    assert record["steps"] == 16
    assert record["experiment"]["title"] == "two rates"
    assert pictures == [tmp_path]  # of the experiment, not of each arm


def test_arms_have_the_options_of_a_search_path(tmp_path, pictures):
    (tmp_path / "mine" / "optimizer").mkdir(parents=True)
    section = "_target_: torch.optim.SGD\n_partial_: true\nlr: 0.05\n"
    (tmp_path / "mine" / "optimizer" / "mine.yaml").write_text(section)
    found = [f"hydra.searchpath=[file://{tmp_path}/mine]", "optimizer=mine"]
    record = start(tmp_path / "run", *ALONE, *ARMS, *found)
    assert [row["arm"] for row in record["replicas"]] == ["slow", "quick"]


def test_an_arm_that_is_finished_is_not_trained_again(tmp_path):
    start(tmp_path, *ALONE, *ARMS)
    before = (tmp_path / "slow" / "checkpoints" / "last.ckpt").stat().st_mtime_ns
    (tmp_path / "result.json").unlink()
    (tmp_path / "quick" / "result.json").unlink()
    record = start(tmp_path, *ALONE, *ARMS)
    assert [row["arm"] for row in record["replicas"]] == ["slow", "quick"]
    assert (tmp_path / "slow" / "checkpoints" / "last.ckpt").stat().st_mtime_ns == before


def test_one_arm_can_be_trained_alone(tmp_path):
    record = start(tmp_path, *ALONE, *ARMS, "arm=quick")
    assert record == read(tmp_path / "quick")
    assert "arm" not in record["replicas"][0]
    assert not (tmp_path / "slow").exists() and not (tmp_path / "result.json").exists()


def test_an_experiment_without_a_training_is_judged_by_its_checks(tmp_path, pictures):
    record = start(tmp_path, *ALONE, "+experiment.train=false", "+experiment.id=S1", CHECKS)
    assert (record["replicas"], record["steps"]) == ([], 0)
    assert [check["id"] for check in record["checks"]] == ["S1", "S2", "S9"]
    assert pictures == [tmp_path]


@pytest.mark.parametrize("begun", ["bf16-mixed", "32-true"])
def test_a_run_keeps_the_precision_of_its_record_when_it_goes_on(begun, tmp_path, capsys):
    """The record is that of a run that was killed on a machine that chose otherwise."""
    several = ["model=mlp", "dataset.d=6", "dataset.train_size=8", "dataset.test_size=4", "trainer.max_epochs=1"]
    several += ["noise.p=0.1", "seeds=2", "engine=single", "logger=csv", "trainer.precision=auto"]
    start(tmp_path, *several)
    record = read(tmp_path)
    assert record["environment"]["precision"] in ("bf16-mixed", "32-true")
    assert record["config"]["trainer"]["precision"] == "auto"
    shutil.rmtree(tmp_path / "replicas")
    record["environment"]["precision"] = begun
    (tmp_path / "result.json").write_text(json.dumps({**record, "status": "running"}))
    capsys.readouterr()
    start(tmp_path, *several)
    assert f"numbers precision {begun}: as the run began" in capsys.readouterr().out
    assert read(tmp_path)["environment"]["precision"] == begun
    assert {read(folder)["config"]["trainer"]["precision"] for folder in (tmp_path / "replicas").iterdir()} == {begun}


LONG = [*SMALL[:-1], "noise.p=[0,0.3]", "seeds=2", "logger=csv", "callbacks.sparsity.every_n_epochs=2"]
BATCHES = ["dataset.batch_size=3", "optimizer.momentum=0.9", "scheduler=step", "scheduler.step_size=3"]


@pytest.mark.parametrize(
    "overrides",
    [
        pytest.param(["engine=fused"], marks=pytest.mark.slow),
        ["engine=blocked", "stopping.extra_epochs=2", "optimizer.lr=0.5"],
        pytest.param(["engine=stacked", *BATCHES, "noise/schedule=square_wave"], marks=pytest.mark.slow),
        pytest.param(["engine=single", *BATCHES], marks=pytest.mark.slow),
        ["engine=single", "seeds=1", "noise.p=0.3", "optimizer=adam"],
    ],
)
def test_a_finished_run_goes_on_for_longer_to_what_a_run_of_that_length_comes_to(overrides, tmp_path, capsys):
    line = [*LONG, *overrides]
    start(tmp_path / "parts", *line, "trainer.max_epochs=4")
    capsys.readouterr()
    parts = start(tmp_path / "parts", *line, "trainer.max_epochs=8")
    assert "at epoch 4 of 8" in capsys.readouterr().out
    whole = start(tmp_path / "whole", *line, "trainer.max_epochs=8")
    assert parts["replicas"] == whole["replicas"] and parts["steps"] == whole["steps"]
    assert parts["config"]["trainer"]["max_epochs"] == 8
    files = [(tmp_path / name / "metrics.csv").read_bytes() for name in ("parts", "whole")]
    assert files[0] == files[1]


@pytest.mark.parametrize(
    ("overrides", "obstacle"),
    [
        (["noise/schedule=linear"], "noise.schedule Linear follows the length"),
        (["scheduler=cosine"], "scheduler.T_max follows the length"),
        (["callbacks.sparsity.every_n_epochs=2"], r"epoch 1 is between two evaluations of the longer one \(callbacks"),
        (["trainer.max_steps=3"], "trainer.max_steps=3 ends it"),
        ([*ARMS], "the arms of an experiment have lengths of their own"),
    ],
)
def test_a_run_that_cannot_go_on_for_longer_says_why_and_stays_as_it_is(overrides, obstacle, tmp_path):
    start(tmp_path, *ALONE, *overrides)
    before = (tmp_path / "result.json").read_bytes()
    with pytest.raises(ConfigError, match=f"holds a run of 1 epochs, which cannot go on to 3 .*: {obstacle}"):
        start(tmp_path, *ALONE, *overrides, "trainer.max_epochs=3")
    with pytest.raises(ConfigError, match=r"\(.*seed was 0 and is 1, trainer.max_epochs was 1 and is 3\)"):
        start(tmp_path, *ALONE, *overrides, "trainer.max_epochs=3", "seed=1")
    assert (tmp_path / "result.json").read_bytes() == before


def test_a_shorter_run_that_is_refused_as_it_begins_stays_as_it_is(tmp_path, monkeypatch):
    line = [*ALONE, "callbacks.sparsity.every_n_epochs=1"]
    start(tmp_path, *line)
    before = (tmp_path / "result.json").read_bytes()

    def refuse(folder, need):
        raise DiskError("no room")

    monkeypatch.setattr(preparation, "check_space", refuse)
    with pytest.raises(ConfigError, match="no room"):
        start(tmp_path, *line, "trainer.max_epochs=3")
    assert (tmp_path / "result.json").read_bytes() == before


def test_a_run_is_not_made_shorter(tmp_path):
    start(tmp_path, *ALONE, "trainer.max_epochs=2")
    with pytest.raises(ConfigError, match=r"another configuration \(trainer.max_epochs was 2 and is 1\)"):
        start(tmp_path, *ALONE)


def test_a_checkpoint_of_another_run_is_refused_before_a_logger_is_opened(tmp_path, monkeypatch):
    for seed in (0, 1):
        start(tmp_path / str(seed), *ALONE, f"seed={seed}")
    before = {**read(tmp_path / "0"), "status": "stopped"}
    (tmp_path / "0" / "result.json").write_text(json.dumps(before))
    for path in (tmp_path / "1" / "checkpoints").iterdir():
        shutil.copy(path, tmp_path / "0" / "checkpoints" / path.name)
    opened = []
    monkeypatch.setattr(story, "_open_loggers", lambda *arguments: opened.append(arguments))
    with pytest.raises(ConfigError, match=r"last\.ckpt is of a run of another configuration \(seed was 1 and is 0\)"):
        start(tmp_path / "0", *ALONE, "seed=0")
    after = read(tmp_path / "0")
    assert (after["status"], after["environment"], opened) == ("failed", before["environment"], [])
    assert "of another configuration (seed was 1 and is 0)" in after["reason"]


def test_a_run_whose_checkpoints_were_deleted_says_that_it_starts_again(tmp_path, capsys):
    start(tmp_path, *ALONE)
    (tmp_path / "result.json").write_text(json.dumps({**read(tmp_path), "status": "stopped"}))
    shutil.rmtree(tmp_path / "checkpoints")
    capsys.readouterr()
    start(tmp_path, *ALONE)
    told = "starts  again at epoch 0, as the run that ended early here has left no checkpoint"
    assert told in capsys.readouterr().out
    assert read(tmp_path)["status"] == "finished"
