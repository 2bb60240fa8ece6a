import csv
import io
import os

import numpy as np
import pytest
import torch

from noisereg.runs import replica_curves
from noisereg.runs.replica_curves import ReplicaCurves

GRID = [{"p": 0.0, "seed": 0}, {"p": 0.2, "seed": 0}, {"p": 0.2, "seed": 2**62 + 1}]
ALL = torch.ones(3, dtype=torch.bool)


def log(table, step, *, running=ALL, **values):
    named = {name.replace("_", "/"): torch.tensor(value) for name, value in values.items()}
    table.log_replicas(named, step=step, epoch=step // 10, running=running)


def file_rows(path):
    return list(csv.reader(path.read_text().splitlines()))


def rounded(value):
    """A value as the table keeps it."""
    table = ReplicaCurves(None, GRID[:1])
    log(table, 0, running=ALL[:1], a=[value])
    return table.frame()["a"].item()


def test_a_row_a_replica_and_measurement_and_a_column_a_metric(tmp_path):
    table = ReplicaCurves(tmp_path / "run" / "metrics.csv", GRID)
    log(table, 0, a=[1.0, 2.0, 3.0])
    log(table, 20, a=[4.0, 5.0, 6.0], b=[0.5, 0.25, 0.125])
    table.finalize("success")
    assert file_rows(tmp_path / "run" / "metrics.csv") == [
        ["step", "epoch", "p", "seed", "a", "b"],
        ["0", "0", "0.0", "0", "1.0", ""],
        ["0", "0", "0.2", "0", "2.0", ""],
        ["0", "0", "0.2", str(2**62 + 1), "3.0", ""],
        ["20", "2", "0.0", "0", "4.0", "0.5"],
        ["20", "2", "0.2", "0", "5.0", "0.25"],
        ["20", "2", "0.2", str(2**62 + 1), "6.0", "0.125"],
    ]


def test_a_replica_that_has_stopped_has_no_more_rows():
    table = ReplicaCurves(None, GRID)
    log(table, 0, a=[1.0, 2.0, 3.0])
    log(table, 10, a=[4.0, float("nan"), 6.0], running=torch.tensor([True, False, True]))
    log(table, 20, a=[7.0, float("nan"), float("nan")], running=torch.tensor([True, False, False]))
    assert table.frame()[["step", "p", "a"]].values.tolist() == [
        [0, 0.0, 1.0],
        [0, 0.2, 2.0],
        [0, 0.2, 3.0],
        [10, 0.0, 4.0],
        [10, 0.2, 6.0],
        [20, 0.0, 7.0],
    ]


def test_what_names_a_replica_may_be_its_learning_rate_too():
    table = ReplicaCurves(None, [{"p": 0.1, "seed": 0, "lr": lr} for lr in (0.5, 0.25)])
    log(table, 0, running=ALL[:2], test_error=[0.5, 0.75])
    assert list(table.frame()) == ["step", "epoch", "p", "seed", "lr", "test/error"]
    assert [row["lr"] for row in table.results("test/error")] == [0.5, 0.25]


def test_results_hold_the_newest_and_the_best_value_of_each_replica():
    table = ReplicaCurves(None, GRID)
    log(table, 0, test_error=[0.5, 0.5, 0.5])
    log(table, 10, test_error=[0.25, 0.125, 0.75], noise_rate=[0.0, 0.1, 0.2])
    log(table, 20, test_error=[0.25, 0.375, 0.0], noise_rate=[0.0, 0.3, 9.0], running=torch.tensor([True, True, False]))
    assert table.results("test/error") == [
        {**GRID[0], "test/error": 0.25, "noise/rate": 0.0, "best/test/error": 0.25, "best/test/error/epoch": 1},
        {**GRID[1], "test/error": 0.375, "noise/rate": 0.3, "best/test/error": 0.125, "best/test/error/epoch": 1},
        {**GRID[2], "test/error": 0.75, "noise/rate": 0.2, "best/test/error": 0.5, "best/test/error/epoch": 0},
    ]


def test_results_leave_out_what_was_never_measured():
    table = ReplicaCurves(None, GRID)
    log(table, 0, test_error=[0.5, 0.5, 0.5], noise_rate=[float("nan"), 0.1, float("nan")])
    assert ["noise/rate" in row for row in table.results("test/error")] == [False, True, False]


def test_a_resumed_table_goes_on_where_the_checkpoint_ends(tmp_path):
    def measure(table, steps):
        for step in steps:
            generator = np.random.default_rng(step)
            later = {"b": generator.random(3)} if step else {}
            log(table, step, running=torch.tensor([True, True, step < 30]), a=generator.random(3), **later)

    whole, first, second = (ReplicaCurves(tmp_path / name, GRID) for name in ("whole.csv", "same.csv", "same.csv"))
    measure(whole, [0, 10, 20, 30, 40])
    measure(first, [0, 10])
    checkpoint = io.BytesIO()
    torch.save(first.state_dict(), checkpoint)
    measure(first, [20, 30])  # of the run that was cut off
    first.write()
    checkpoint.seek(0)
    second.load_state_dict(torch.load(checkpoint, weights_only=True))
    measure(second, [20, 30, 40])
    for table in (whole, second):
        table.write()
    assert (tmp_path / "same.csv").read_text() == (tmp_path / "whole.csv").read_text()
    assert second.results("a") == whole.results("a")


def test_values_have_the_seven_digits_of_float32():
    generator = np.random.default_rng(0)
    values = np.concatenate(
        [generator.normal(size=5000), 10 ** generator.uniform(-30, 30, 5000), [1e-20, 1e20, -1e-20]]
    )
    table = ReplicaCurves(None, [{"p": 0.0, "seed": seed} for seed in range(len(values))])
    log(table, 0, running=torch.ones(len(values), dtype=torch.bool), a=values)
    expected = np.array([float(f"{value:.7g}") for value in values])
    assert (np.abs(table.frame()["a"] - expected) <= np.spacing(np.abs(expected))).all()


@pytest.mark.parametrize("value", [0.0, 0.1, 1.0, -1.0, 1e-20, 1e20, 123456700.0, float("inf"), float("-inf")])
def test_values_that_have_seven_digits_stay_as_they_are(value):
    assert rounded(value) == pytest.approx(value, rel=2**-52, abs=0)
    assert rounded(float(torch.tensor(value))) == pytest.approx(value, rel=2**-52, abs=0)


def test_nan_stays_nan():
    assert np.isnan(rounded(float("nan")))


def test_what_is_one_number_for_all_replicas_is_in_no_row():
    table = ReplicaCurves(None, GRID)
    table.log_metrics({"loss": 1.0}, step=3)
    table.log_hyperparams({"p": 0.5})
    assert table.frame().empty


def test_a_table_without_a_path_writes_no_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = ReplicaCurves(None, GRID)
    log(table, 0, a=[1.0, 2.0, 3.0])
    table.finalize("success")
    assert not list(tmp_path.iterdir())


def test_a_write_that_fails_leaves_the_file_before_it(tmp_path, monkeypatch):
    table = ReplicaCurves(tmp_path / "metrics.csv", GRID)
    log(table, 0, a=[1.0, 2.0, 3.0])
    table.write()
    before = (tmp_path / "metrics.csv").read_text()
    log(table, 10, a=[1.0, 2.0, 3.0])

    def full(handle):
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="no space left"):
            table.write()
    assert (tmp_path / "metrics.csv").read_text() == before
    assert list(tmp_path.iterdir()) == [tmp_path / "metrics.csv"]


def test_the_file_is_written_now_and_then_while_training_goes_on(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(replica_curves, "time", type("Clock", (), {"monotonic": lambda: now[0]}))
    table = ReplicaCurves(tmp_path / "metrics.csv", GRID)
    log(table, 0, a=[1.0, 2.0, 3.0])
    assert not (tmp_path / "metrics.csv").exists()
    now[0] = 60.0
    log(table, 10, a=[1.0, 2.0, 3.0])
    assert len(file_rows(tmp_path / "metrics.csv")) == 7
    log(table, 20, a=[1.0, 2.0, 3.0])
    assert len(file_rows(tmp_path / "metrics.csv")) == 7
