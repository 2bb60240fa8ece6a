import math

import pandas as pd
import pytest

from noisereg.report.panels import Panel
from noisereg.report.tables import (
    curve_bands,
    curve_rows,
    replica_rows,
    seeds_in_words,
    stops_early,
    strength_values,
    thinned,
)

PANEL = Panel("x", ("x",))


def rows(*curves):
    """Make a row for each (p, seed, {epoch: value})."""
    return pd.DataFrame(
        [
            {"step": 10 * epoch, "epoch": epoch, "p": p, "seed": seed, "x": value}
            for p, seed, values in curves
            for epoch, value in values.items()
        ]
    )


def means(table, p):
    """Map each epoch of a curve to its mean and n."""
    return {row.epoch: (row.mean, row.n) for row in table[table["p"] == p].itertuples(index=False)}


def test_a_replica_that_stopped_keeps_its_last_value():
    frame = rows((0.0, 0, {0: 8.0, 1: 6.0, 2: 2.0, 3: 1.0}), (0.0, 1, {0: 6.0, 1: 4.0}))
    assert means(curve_bands(frame, PANEL), 0.0) == {0: (7.0, 2), 1: (5.0, 2), 2: (3.0, 2), 3: (2.5, 2)}


def test_a_curve_whose_replicas_all_stopped_goes_on_to_the_end_of_the_others():
    frame = rows((0.0, 0, {0: 8.0, 1: 6.0}), (0.0, 1, {0: 6.0}), (0.1, 0, {0: 1.0, 1: 1.0, 2: 3.0}))
    table = curve_bands(frame, PANEL)
    assert means(table, 0.0) == {0: (7.0, 2), 1: (6.0, 2), 2: (6.0, 2)}
    assert means(table, 0.1) == {0: (1.0, 1), 1: (1.0, 1), 2: (3.0, 1)}


def test_the_last_value_of_a_rarer_metric_is_the_last_one_measured():
    frame = rows((0.0, 0, {0: 8.0, 1: None, 2: 6.0, 3: None, 4: 4.0}), (0.0, 1, {0: 6.0, 1: None, 2: 2.0, 3: None}))
    assert means(curve_bands(frame, PANEL), 0.0) == {0: (7.0, 2), 2: (4.0, 2), 4: (3.0, 2)}


def test_a_missing_value_of_a_running_replica_is_left_out():
    frame = rows((0.0, 0, {0: 8.0, 1: 6.0}), (0.0, 1, {0: 6.0, 1: None}))
    assert means(curve_bands(frame, PANEL), 0.0) == {0: (7.0, 2), 1: (6.0, 1)}


def test_a_replica_that_stopped_stands_for_no_curve_alone_at_the_epochs_of_another():
    frame = rows((0.0, 0, {0: 8.0, 2: 6.0, 4: 4.0}), (0.0, 1, {0: 6.0, 2: 2.0}), (0.1, 0, dict.fromkeys(range(5), 1.0)))
    table = curve_bands(frame, PANEL)
    assert means(table, 0.0) == {0: (7.0, 2), 2: (4.0, 2), 4: (3.0, 2)}
    assert list(means(table, 0.1)) == [0, 1, 2, 3, 4]


def test_of_two_evaluations_in_an_epoch_the_later_one_counts():
    frame = rows((0.0, 0, {1: 8.0}))
    later = frame.assign(step=19, x=6.0)
    assert means(curve_bands(pd.concat([frame, later]), PANEL), 0.0) == {1: (6.0, 1)}


def test_learning_rates_are_curves_of_their_own():
    frame = pd.concat([rows((0.0, 0, {0: 1.0})).assign(lr=0.1), rows((0.0, 0, {0: 3.0})).assign(lr=0.2)])
    table = curve_bands(curve_rows(frame), PANEL)
    assert table[["p", "lr", "epoch", "mean"]].to_numpy().tolist() == [[0.0, 0.1, 0, 1.0], [0.0, 0.2, 0, 3.0]]


def test_strength_values_leaves_out_a_replica_without_a_value():
    table = replica_rows([{"p": 0.0, "seed": 0, "x": 2.0}, {"p": 0.0, "seed": 1, "x": math.nan}])
    assert strength_values(table, PANEL).to_numpy().tolist() == [[0.0, 0, 2.0]]


@pytest.mark.parametrize(
    ("curves", "epochs", "kept"), [(1, 4000, 4000), (10, 401, 400), (10, 400, 400), (200, 100, 25)]
)
def test_thinned_keeps_some_four_thousand_points(curves, epochs, kept):
    table = pd.DataFrame([{"p": p, "epoch": 10 * epoch} for p in range(curves) for epoch in range(epochs)])
    left = thinned(table)
    assert left.groupby("p").size().tolist() == [kept] * curves
    assert (left["epoch"].min(), left["epoch"].max()) == (0, 10 * (epochs - 1))


def test_words_name_the_number_of_seeds():
    frame = pd.DataFrame({"p": [0.0] * 3 + [0.1] * 2, "seed": [0, 1, 2, 0, 1]})
    assert seeds_in_words(frame[:3], mark="band") == "band: 95 % t interval of the mean over 3 seeds"
    assert seeds_in_words(frame, mark="bar", level=0.9) == "bar: 90 % t interval of the mean over 2 to 3 seeds"
    assert seeds_in_words(frame[frame["seed"] == 0], mark="band") == "one seed, no interval"


def test_stops_early_tells_of_one_replica_that_ends_before_another():
    assert not stops_early(rows((0.0, 0, {0: 1.0, 1: 1.0}), (0.1, 0, {1: 1.0})))
    assert stops_early(rows((0.0, 0, {0: 1.0, 1: 1.0}), (0.1, 0, {0: 1.0})))


@pytest.mark.parametrize("check", [curve_rows, replica_rows])
def test_a_table_without_rows_is_refused(check):
    with pytest.raises(ValueError, match="at least one row, got none"):
        check(pd.DataFrame(columns=["step", "epoch", "p", "seed"]))


@pytest.mark.parametrize(("check", "missing"), [(curve_rows, "step, epoch, seed"), (replica_rows, "seed")])
def test_a_missing_column_is_named(check, missing):
    with pytest.raises(ValueError, match=f"got none named {missing}$"):
        check(pd.DataFrame({"p": [0.0]}))


def test_two_rows_of_a_replica_for_one_step_are_refused():
    frame = rows((0.1, 3, {0: 1.0, 1: 1.0}))
    with pytest.raises(ValueError, match=r"one row a step, got two for p=0.1, seed=3; draw runs that differ"):
        curve_rows(pd.concat([frame, frame[1:]]))


def test_two_result_rows_of_a_replica_are_refused():
    found = [{"p": 0.1, "seed": 3, "lr": lr, "x": 1.0} for lr in (0.1, 0.2, 0.2)]
    with pytest.raises(ValueError, match=r"one row, got two for p=0.1, lr=0.2, seed=3"):
        replica_rows(found)
