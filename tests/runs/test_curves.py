import csv
import io
import os
import tracemalloc

import numpy as np
import pytest
import torch

from noisereg.engine.measurement import Measurement
from noisereg.runs.curves import Curves
from noisereg.runs.journal import COPIES, Journal

GRID = [{"p": 0.0, "seed": 0}, {"p": 0.2, "seed": 0}, {"p": 0.2, "seed": 2**62 + 1}]
ALL = [0, 1, 2]


def observe(curves, step, *, replicas=ALL, **values):
    named = {name.replace("_", "/"): np.array(column) for name, column in values.items()}
    curves.observe(Measurement(step, step // 10, replicas, named))


def file_rows(path):
    return list(csv.reader(path.read_text().splitlines()))


def rounded(value):
    """A value as the curves keep it."""
    curves = Curves(None, GRID[:1])
    observe(curves, 0, replicas=[0], a=[value])
    return curves.frame()["a"].item()


def test_a_row_a_replica_and_measurement_and_a_column_a_metric(tmp_path):
    curves = Curves(tmp_path / "run" / "metrics.csv", GRID)
    observe(curves, 0, a=[1.0, 2.0, 3.0])
    observe(curves, 20, a=[4.0, 5.0, 6.0], b=[0.5, 0.25, 0.125])
    curves.write()
    assert file_rows(tmp_path / "run" / "metrics.csv") == [
        ["step", "epoch", "p", "seed", "a", "b"],
        ["0", "0", "0.0", "0", "1.0", ""],
        ["0", "0", "0.2", "0", "2.0", ""],
        ["0", "0", "0.2", str(2**62 + 1), "3.0", ""],
        ["20", "2", "0.0", "0", "4.0", "0.5"],
        ["20", "2", "0.2", "0", "5.0", "0.25"],
        ["20", "2", "0.2", str(2**62 + 1), "6.0", "0.125"],
    ]


def test_parts_of_one_evaluation_share_a_row():
    curves = Curves(None, GRID[:1])
    observe(curves, 0, replicas=[0], a=[1.0])
    observe(curves, 10, replicas=[0], a=[0.5])
    observe(curves, 10, replicas=[0], b=[2.0])
    assert curves.frame()[["step", "a"]].values.tolist() == [[0, 1.0], [10, 0.5]]
    assert curves.frame()["b"].tolist()[1:] == [2.0]
    assert curves.has_last("b") and not curves.has_last("c")


def test_rows_lie_in_the_order_of_the_steps_although_replicas_come_one_after_the_other():
    curves = Curves(None, GRID[:2])
    for replica, step in ((0, 0), (0, 10), (1, 0), (1, 10)):
        observe(curves, step, replicas=[replica], a=[10.0 * replica + step])
    assert curves.frame()[["step", "p", "a"]].values.tolist() == [
        [0, 0.0, 0],
        [0, 0.2, 10],
        [10, 0.0, 10],
        [10, 0.2, 20],
    ]


def test_a_replica_that_has_stopped_has_no_more_rows():
    curves = Curves(None, GRID)
    observe(curves, 0, a=[1.0, 2.0, 3.0])
    observe(curves, 10, a=[4.0, 6.0], replicas=[0, 2])
    observe(curves, 20, a=[7.0], replicas=[0])
    assert curves.frame()["a"].tolist() == [1.0, 2.0, 3.0, 4.0, 6.0, 7.0]


def test_what_names_a_replica_may_be_its_learning_rate_too():
    curves = Curves(None, [{"p": 0.1, "seed": 0, "lr": lr} for lr in (0.5, 0.25)])
    observe(curves, 0, replicas=[0, 1], test_error=[0.5, 0.75])
    assert list(curves.frame()) == ["step", "epoch", "p", "seed", "lr", "test/error"]


def test_the_newest_and_the_best_value_of_each_replica():
    curves = Curves(None, GRID)
    observe(curves, 0, test_error=[0.5, 0.5, 0.5])
    observe(curves, 10, test_error=[0.25, 0.125, 0.75], noise_rate=[0.0, 0.1, 0.2])
    observe(curves, 20, test_error=[0.25, 0.375], noise_rate=[0.0, 0.3], replicas=[0, 1])
    assert curves.last() == [
        {"test/error": 0.25, "noise/rate": 0.0},
        {"test/error": 0.375, "noise/rate": 0.3},
        {"test/error": 0.75, "noise/rate": 0.2},
    ]
    assert curves.best("test/error") == [
        {"best/test/error": value, "best/test/error/epoch": epoch} for value, epoch in ((0.25, 1), (0.125, 1), (0.5, 0))
    ]
    assert curves.best("val/error") == [{}, {}, {}]


def test_the_selected_value_is_that_of_the_first_least_validation_error():
    curves = Curves(None, GRID[:1])
    for epoch, (val, test) in enumerate([(0.5, 0.1), (0.2, 0.4), (0.3, 0.2), (0.2, 0.3)]):
        observe(curves, 10 * epoch, replicas=[0], val_error=[val], test_error=[test])
    observe(curves, 40, replicas=[0], val_error=[0.0])
    assert curves.best("test/error", by="val/error", name="selected") == [
        {"selected/test/error": 0.4, "selected/test/error/epoch": 1}
    ]
    assert curves.best("test/error", by="train/error", name="selected") == [{}]
    (beside,) = curves.best("test/error", by="val/error", beside=["val/error", "train/active_neurons"], name="selected")
    assert beside["selected/val/error"] == 0.2
    assert "selected/train/active_neurons" not in beside


@pytest.mark.parametrize("has_journal", [True, False])
def test_resumed_curves_go_on_where_the_checkpoint_ends(has_journal, tmp_path):
    def measure(curves, steps):
        for step in steps:
            generator = np.random.default_rng(step)
            left = ALL if step < 30 else [0, 1]
            later = {"b": generator.random(len(left))} if step else {}
            observe(curves, step, replicas=left, a=generator.random(len(left)), **later)

    whole, first, second = (
        Curves(tmp_path / f"{name}.csv", GRID, journal=Journal(tmp_path / name) if has_journal else None)
        for name in ("whole", "same", "same")
    )
    measure(whole, [0, 10, 20, 30, 40])
    measure(first, [0, 10])
    checkpoint = io.BytesIO()
    torch.save(first.state(), checkpoint)
    measure(first, [20, 30])  # of the run that was cut off
    first.state()
    first.write()
    checkpoint.seek(0)
    second.load_state(torch.load(checkpoint, weights_only=True))
    measure(second, [20, 30, 40])
    for curves in (whole, second):
        curves.write()
    assert (tmp_path / "same.csv").read_text() == (tmp_path / "whole.csv").read_text()
    assert second.last() == whole.last() and second.best("a") == whole.best("a")
    assert second.state() == whole.state()


def test_a_save_writes_what_is_new_and_no_more_however_long_the_run_is(tmp_path):
    curves = Curves(None, GRID, journal=Journal(tmp_path))
    sizes = []
    for step in range(200):
        observe(curves, 1000 + step, a=[0.5, 0.25, 0.125])
        state = io.BytesIO()
        torch.save(curves.state(), state)
        sizes.append((len(state.getvalue()), (tmp_path / COPIES[0]).stat().st_size))
    checkpoints, journal = zip(*sizes, strict=True)
    assert max(checkpoints) - checkpoints[0] <= 64  # a number in it has more digits
    growth = np.diff(journal)
    assert (growth == growth[0]).all() and growth[0] > 0


def test_a_measurement_takes_little_more_room_than_its_numbers():
    curves = Curves(None, GRID[:1])
    tracemalloc.start()
    try:
        for step in range(300):
            metrics = {f"test/active_fraction/layer{number}": np.array([0.5]) for number in range(100)}
            curves.observe(Measurement(step, step, [0], metrics))
            if step == 99:
                before, _ = tracemalloc.get_traced_memory()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (after - before) / 200 < 2 * 100 * 8  # bytes; it was 22,000


def test_a_checkpoint_whose_rows_are_in_a_journal_is_not_read_without_one(tmp_path):
    curves = Curves(None, GRID, journal=Journal(tmp_path))
    observe(curves, 0, a=[1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="the rows are in a journal, and none was given"):
        Curves(None, GRID).load_state(curves.state())


@pytest.mark.parametrize("step", [0, 10])
def test_the_state_may_hold_a_measurement_that_is_about_to_come(step, tmp_path):
    curves, resumed = (Curves(None, GRID[:1], journal=Journal(tmp_path / name)) for name in ("one", "one"))
    observe(curves, 0, replicas=[0], b=[1.0])
    state = curves.state(Measurement(step, 1, [0], {"a": np.array([2.0])}))
    assert list(curves.frame()) == ["step", "epoch", "p", "seed", "b"]
    observe(curves, step, replicas=[0], a=[2.0])
    resumed.load_state(state)
    assert resumed.frame().equals(curves.frame())
    assert resumed.frame()["a"].tolist()[-1] == 2.0


def test_the_file_of_one_replica_is_read_to_the_bit_in_place_of_what_there_was(tmp_path):
    one, all_of_them = Curves(tmp_path / "one.csv", GRID[1:2]), Curves(None, GRID)
    for step in (0, 10, 20):
        more = {"b": [step / 3]} if step else {}
        observe(one, step, replicas=[0], a=[1 / (step + 7)], **more)
    one.write()
    for _ in range(2):
        all_of_them.read_part(tmp_path / "one.csv", [1])
    frame = all_of_them.frame()
    assert frame["p"].tolist() == [0.2] * 3 and frame["step"].tolist() == [0, 10, 20]
    for key in ("a", "b"):
        np.testing.assert_array_equal(frame[key], one.frame()[key])


def test_the_files_of_parts_are_read_to_the_file_of_all_of_them(tmp_path):
    names = [{"p": p, "seed": 2**62 + seed, "lr": 0.1} for p in (0, 0.1 + 0.2) for seed in (0, 1)]
    whole, joined = Curves(tmp_path / "whole.csv", names), Curves(tmp_path / "joined.csv", names)
    parts = {(0, 2): tmp_path / "even.csv", (1, 3): tmp_path / "odd.csv"}
    values = {step: np.random.default_rng(step).normal(size=4) for step in (0, 10, 20)}
    for step, measured in values.items():
        running = [0, 1, 3] if step == 20 else [0, 1, 2, 3]  # one has stopped
        observe(whole, step, replicas=running, a=measured[running])
    whole.write()
    for numbers, path in parts.items():
        part = Curves(path, [names[number] for number in numbers])
        for step, measured in values.items():
            running = [own for own, number in enumerate(numbers) if (step, number) != (20, 2)]
            observe(part, step, replicas=running, a=[measured[numbers[own]] for own in running])
        part.write()
        for _ in range(2):
            joined.read_part(path, numbers)
    joined.write()
    assert (tmp_path / "joined.csv").read_text() == (tmp_path / "whole.csv").read_text()


def test_values_have_the_seven_digits_of_float32():
    generator = np.random.default_rng(0)
    values = np.concatenate(
        [generator.normal(size=5000), 10 ** generator.uniform(-30, 30, 5000), [1e-20, 1e20, -1e-20]]
    )
    curves = Curves(None, [{"p": 0.0, "seed": seed} for seed in range(len(values))])
    observe(curves, 0, replicas=range(len(values)), a=values)
    expected = np.array([float(f"{value:.7g}") for value in values])
    assert (np.abs(curves.frame()["a"] - expected) <= np.spacing(np.abs(expected))).all()


@pytest.mark.parametrize("value", [0.0, 0.1, 1.0, -1.0, 1e-20, 1e20, 123456700.0, float("inf"), float("-inf")])
def test_values_that_have_seven_digits_stay_as_they_are(value):
    assert rounded(value) == pytest.approx(value, rel=2**-52, abs=0)
    assert rounded(float(torch.tensor(value))) == pytest.approx(value, rel=2**-52, abs=0)


def test_nan_stays_nan():
    assert np.isnan(rounded(float("nan")))


def test_curves_without_a_path_write_no_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    curves = Curves(None, GRID)
    observe(curves, 0, a=[1.0, 2.0, 3.0])
    curves.write()
    assert not list(tmp_path.iterdir())


def test_a_write_that_fails_leaves_the_file_before_it(tmp_path, monkeypatch):
    curves = Curves(tmp_path / "metrics.csv", GRID)
    observe(curves, 0, a=[1.0, 2.0, 3.0])
    curves.write()
    before = (tmp_path / "metrics.csv").read_text()
    observe(curves, 10, a=[1.0, 2.0, 3.0])

    def full(handle):
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="no space left"):
            curves.write()
    assert (tmp_path / "metrics.csv").read_text() == before
