import io
import json

import numpy as np
import pandas as pd
import pytest
import torch
from rich.console import Console

from noisereg.config.composing import compose_settings
from noisereg.engine.measurement import Measurement
from noisereg.errors import ConfigError
from noisereg.training.one_by_one import OneByOne, OneNetwork
from noisereg.training.prepare import prepare

pytestmark = pytest.mark.filterwarnings("ignore:.*smaller than the logging interval")
QUIET = Console(quiet=True)
SMALL = ["dataset.train_size=12", "dataset.test_size=8", "dataset.d=8", "model.hidden=6", "logger=csv", "engine=single"]
SHORT = ["dataset.batch_size=6", "trainer.max_epochs=2"]
NAMES = ["p=0.1,seed=0", "p=0.1,seed=1", "p=0.1,seed=2"]


def make(folder, *overrides):
    training = prepare(compose_settings(*SMALL, *SHORT, "noise.p=0.1", *overrides), folder=folder, console=QUIET)
    assert isinstance(training, OneByOne)
    return training


class Count:
    """Keeps the numbers of the replicas that are measured."""

    def __init__(self):
        self.seen = []

    def observe(self, measurement: Measurement) -> None:
        self.seen += [number for number in measurement.replicas if number not in self.seen]


def run(training):
    """Train and finish, and return the rows and the numbers of the replicas that were trained."""
    count = Count()
    training.observers.append(count)
    training.train()
    return training.finish(), count.seen


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("one_by_one")
    training = make(folder, "seeds=3")
    return training, *run(training)


def test_each_replica_leaves_a_folder_and_a_row_in_the_order_of_the_grid(trained):
    training, rows, seen = trained
    assert sorted(path.name for path in (training.folder / "replicas").iterdir()) == NAMES
    assert [(row["p"], row["seed"]) for row in rows] == [(0.1, 0), (0.1, 1), (0.1, 2)]
    assert seen == [0, 1, 2]
    for name, row in zip(NAMES, rows, strict=True):
        record = json.loads((training.folder / "replicas" / name / "result.json").read_text())
        assert (record["status"], record["replicas"], record["steps"]) == ("finished", [row], 4)
        assert (record["config"]["seed"], record["config"]["seeds"]) == (row["seed"], 1)
    assert training.steps == 4


def test_curves_and_arrays_of_the_run_hold_what_the_parts_hold(trained):
    training, rows, _ = trained
    curves = training.curves.frame()
    fires = np.load(training.folder / "fires.npz")["train"]
    analysis = dict(np.load(training.folder / "analysis.npz"))
    assert fires.shape == (3, 2, 6)
    for number, name in enumerate(NAMES):
        part = training.folder / "replicas" / name
        np.testing.assert_array_equal(fires[number], np.load(part / "fires.npz")["train"][0])
        own = {key.partition("/")[2]: array for key, array in np.load(part / "analysis.npz").items()}
        found = {key.partition("/")[2]: array for key, array in analysis.items() if key.startswith(f"{number}/")}
        assert found.keys() == own.keys() and own
        for key, array in own.items():
            np.testing.assert_array_equal(found[key], array)
        mine = curves[curves["seed"] == number]
        assert mine["step"].tolist() == [0, 2, 4]
        assert mine["test/error"].iloc[-1] == rows[number]["test/error"]
    assert len(curves) == 9


def test_a_replica_is_trained_as_a_run_of_its_own(trained, tmp_path):
    _, rows, _ = trained
    alone = prepare(
        compose_settings(*SMALL, *SHORT, "noise.p=0.1", "seed=1", "seeds=1"), folder=tmp_path / "alone", console=QUIET
    )
    assert isinstance(alone, OneNetwork)
    alone.train()
    assert alone.finish() == [rows[1]]


def test_finished_replicas_are_not_trained_again(trained):
    training, rows, _ = trained
    again = make(training.folder, "seeds=3")
    assert run(again) == (rows, [])
    assert again.curves.frame().equals(training.curves.frame())


def test_only_what_is_not_finished_is_trained(tmp_path, trained):
    _, rows, _ = trained
    run(make(tmp_path, "seeds=2"))
    found, seen = run(make(tmp_path, "seeds=3"))
    assert (found, seen) == (rows, [2])


def test_two_workers_leave_what_one_process_leaves_bit_by_bit(tmp_path):
    console = Console(record=True, file=io.StringIO(), width=200)
    grid = ["noise.p=[0.1,0.3]", "seeds=2", "threads=1", "callbacks.sparsity.every_n_epochs=1"]
    found = {}
    for workers in (1, 2):
        settings = compose_settings(*SMALL, *SHORT, *grid, f"workers={workers}")
        training = prepare(settings, folder=tmp_path / str(workers), console=console)
        found[workers] = (*run(training), training.curves.frame())
    assert training.engine == "single: 4 replicas, 2 at a time, each in a process with 1 thread"
    (rows, seen, curves), (their_rows, seen_by_workers, their_curves) = found.values()
    assert their_rows == rows and their_curves.equals(curves)
    assert seen == sorted(seen_by_workers) == [0, 1, 2, 3]
    for name in (path.name for path in (tmp_path / "1" / "replicas").iterdir()):
        one, two = (
            torch.load(tmp_path / str(workers) / "replicas" / name / "checkpoints" / "last.ckpt", weights_only=True)
            for workers in (1, 2)
        )
        assert all(torch.equal(weight, two["state_dict"][key]) for key, weight in one["state_dict"].items())
    printed = console.export_text()
    assert all(f"replica {number} of 4 (p=" in printed for number in (1, 2, 3, 4))


def test_a_part_of_which_every_replica_diverges_ends_alone_as_these_do_in_one_process(tmp_path):
    grid = ["noise.p=[0.1,0.3]", "optimizer.lr=[0.1,1e30]", "seeds=1", "threads=1", "model=mlp", "model.hidden=[6]"]
    found = {}
    for workers in (1, 2):
        settings = compose_settings(*SMALL[:3], *SHORT, *grid, "engine=stacked", f"workers={workers}")
        training = prepare(settings, folder=tmp_path / str(workers), console=QUIET)
        found[workers] = (*run(training), training.curves.frame(), training.steps)
    (rows, seen, curves, steps), (their_rows, seen_by_workers, their_curves, their_steps) = found.values()
    assert [row["ended_by"] for row in rows] == ["budget"] * 2 + ["non-finite weights"] * 2
    assert (their_rows, sorted(seen_by_workers), their_steps) == (rows, seen, steps) and their_curves.equals(curves)
    record = json.loads((tmp_path / "2" / "replicas" / "2-of-2" / "result.json").read_text())
    assert record["replicas"] == rows[2:]


def test_a_replica_whose_worker_is_killed_goes_on_from_its_checkpoint_to_the_same_bits(trained, tmp_path):
    grid = ["noise.p=0.1", "seeds=3", "workers=2", "threads=1", "callbacks.checkpoint.every_n_epochs=1"]
    settings = compose_settings(*SMALL, *SHORT, *grid)
    settings["callbacks"]["interruption"] = {"_target_": "interruptions.KilledOnce"}
    console = Console(record=True, file=io.StringIO(), width=500)
    rows, _ = run(prepare(settings, folder=tmp_path, console=console))
    assert rows == trained[1]
    printed = console.export_text().splitlines()
    for name in NAMES:
        (told,) = (line for line in printed if line.startswith("warning") and f"({name.replace(',', ' ')})" in line)
        assert told.endswith("goes on from its last checkpoint after the others") and "killed by SIGKILL" in told
    assert sum(line.startswith("goes on replica ") and line.endswith("at epoch 1 of 2") for line in printed) == 3


@pytest.mark.parametrize("workers", [1, 2])
def test_a_replica_whose_loss_becomes_nan_is_kept_as_that_and_the_others_go_on(workers, tmp_path):
    overrides = ["optimizer.lr=[1e30,0.1]", "seeds=1", "loss=squared_error", f"workers={workers}"]
    rows, seen = run(make(tmp_path, *overrides))
    assert [row["ended_by"] for row in rows] == ["non-finite loss", "budget"]
    assert sorted(seen) == [0, 1]
    assert "test/ece" not in rows[0] and "test/ece" in rows[1]
    assert rows[1]["epochs"] == 2
    records = [json.loads(path.read_text())["status"] for path in sorted(tmp_path.glob("replicas/*/result.json"))]
    assert records == ["finished", "finished"]


def test_a_run_fails_if_every_loss_becomes_nan(tmp_path):
    training = make(tmp_path, "optimizer.lr=[1e30,1e31]", "seeds=1", "loss=squared_error")
    with pytest.raises(FloatingPointError, match=r"^the loss of every replica became infinite or nan: try a smaller"):
        training.train()


@pytest.mark.parametrize("engine", ["single", "stacked", "fused"])
def test_an_epoch_that_the_last_step_cuts_off_is_not_counted(engine, tmp_path):
    overrides = [*SMALL, *SHORT, "seeds=2", "noise.p=0.1", f"engine={engine}", "callbacks.sparsity.every_n_epochs=1"]
    settings = compose_settings(*overrides, "trainer.max_steps=3")  # of two steps each
    training = prepare(settings, folder=tmp_path, console=QUIET)
    rows, _ = run(training)
    curves = pd.read_csv(tmp_path / "metrics.csv").query("seed == 1")
    assert curves[["step", "epoch"]].to_numpy().tolist() == [[0, 0], [2, 1], [3, 1]]
    assert [row["epochs"] for row in rows] == [1, 1] and rows[1]["best/test/error/epoch"] <= 1


@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize("engine", ["single", "stacked"])
def test_a_replica_that_a_callback_of_the_users_ends_early_names_it(engine, every, tmp_path):
    stopping = "{_target_: lightning.pytorch.callbacks.EarlyStopping, monitor: test/error, stopping_threshold: 1.1}"
    overrides = [*SMALL, *SHORT, "seeds=2", "noise.p=0.1", f"engine={engine}", f"+callbacks.own={stopping}"]
    settings = compose_settings(*overrides, "trainer.max_epochs=4", f"callbacks.sparsity.every_n_epochs={every}")
    rows, _ = run(prepare(settings, folder=tmp_path, console=QUIET))
    assert [(row["epochs"], row["ended_by"]) for row in rows] == [(every, "EarlyStopping")] * 2


@pytest.mark.parametrize("engine", ["single", "stacked", "fused"])
def test_a_callback_that_watches_what_is_not_measured_is_refused_before_the_first_step(engine, tmp_path):
    stopping = "{_target_: lightning.pytorch.callbacks.EarlyStopping, monitor: test/eror}"
    overrides = [*SMALL, *SHORT, "seeds=2", "noise.p=0.1", f"engine={engine}", f"+callbacks.own={stopping}"]
    training = prepare(compose_settings(*overrides), folder=tmp_path, console=QUIET)
    words = r"^callbacks.own.monitor=test/eror: there is no such metric; near it are test/error, "
    with pytest.raises(ConfigError, match=words):
        training.train()
    assert training.steps == 0


@pytest.mark.parametrize("engine", ["stacked", "fused", "blocked"])
def test_a_callback_that_waits_for_validations_is_refused_where_there_are_none(engine, tmp_path):
    class_of = {"EarlyStopping": "check_on_train_epoch_end", "ModelCheckpoint": "save_on_train_epoch_end"}
    for name, key in class_of.items():
        own = f"+callbacks.own={{_target_: lightning.pytorch.callbacks.{name}, monitor: test/error, {key}: false}}"
        settings = compose_settings(*SMALL, *SHORT, "seeds=2", "noise.p=0.1", f"engine={engine}", own)
        with pytest.raises(
            ConfigError, match=rf"cannot run: callbacks.own.{key}=false waits for validations, which eng"
        ):
            prepare(settings, folder=tmp_path, console=QUIET)


@pytest.mark.parametrize("engine", ["single", "stacked"])
def test_a_callback_may_watch_what_is_measured_from_the_first_epoch_on(engine, tmp_path):
    stopping = "{_target_: lightning.pytorch.callbacks.EarlyStopping, monitor: train/loss, stopping_threshold: 9}"
    overrides = [*SMALL, *SHORT, "seeds=2", "noise.p=0.1", f"engine={engine}", f"+callbacks.own={stopping}"]
    settings = compose_settings(*overrides, "callbacks.sparsity.every_n_epochs=1")
    rows, _ = run(prepare(settings, folder=tmp_path, console=QUIET))
    assert [(row["epochs"], row["ended_by"]) for row in rows] == [(1, "EarlyStopping")] * 2
