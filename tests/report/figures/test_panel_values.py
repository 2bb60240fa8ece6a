import math

import pandas as pd
import pytest
import scipy.stats
from report.panel_rows import ends, training

from noisereg.report.claims.selection import Selection
from noisereg.report.figures.panel import PanelSpec
from noisereg.report.figures.panel_values import panel_means, replica_values, stops_early, thinned

ERROR = {"test/error": "test"}
NORMS = {"norm/hidden": "W1", "norm/output": "W2"}


def table(spec, replicas):
    return panel_means(spec, replicas=replicas, curves=training(replicas))


def test_the_end_is_averaged_over_the_seeds_in_the_panels_unit():
    found = table(PanelSpec(title="error (%)", kind="end", metrics=ERROR, factor=100), ends(seeds=3))
    half = scipy.stats.t.ppf(0.975, df=2) * 1.0 / math.sqrt(3)  # of 0, 1 and 2 percent
    assert found["x"].tolist() == [0.0, 0.2]
    assert found["mean"].tolist() == pytest.approx([1.0, 21.0])
    assert found["low"].tolist() == pytest.approx([0, 21 - half])  # as no error is smaller
    assert (found["high"] - found["mean"]).tolist() == pytest.approx([half, half])
    assert found["n"].tolist() == [3, 3]


@pytest.mark.parametrize("kind", ["curves", "end"])
def test_intervals_end_where_the_metric_does(kind):
    replicas = pd.DataFrame(
        {"p": 0.0, "seed": [0, 1, 2], "test/error": [0.0, 1.0, 1.0], "bias_mean/hidden": [-1, 0, 1]}
    )
    found = table(PanelSpec(title="error (%)", kind=kind, metrics=ERROR, factor=100), replicas)
    assert set(found["low"]) == {0.0}
    assert set(found["high"]) == {100.0}
    free = table(PanelSpec(title="bias", kind=kind, metrics={"bias_mean/hidden": "W1"}), replicas)
    assert free["low"].max() == pytest.approx(-scipy.stats.t.ppf(0.975, df=2) / math.sqrt(3))


def test_curves_have_a_line_for_each_p_and_metric():
    found = table(PanelSpec(title="norms", metrics=NORMS), ends())
    lines = {key: part["mean"].tolist() for key, part in found.groupby(["quantity", "p"])}
    assert lines == {
        ("W1", 0.0): [1, 2, 3],
        ("W1", 0.2): [1, 2, 3],
        ("W2", 0.0): [0, 2, 4],
        ("W2", 0.2): [0, 2, 4],
    }


@pytest.mark.parametrize(("along", "places"), [("epoch", [0, 1, 2]), ("step", [0, 10, 20])])
def test_curves_stand_along_epochs_or_steps(along, places):
    found = table(PanelSpec(title="norm", x=along, metrics={"norm/hidden": "W1"}), ends(strengths=(0.2,)))
    assert found["x"].tolist() == places


def test_arms_keep_the_order_they_came_in():
    replicas = ends(arms=("plain", "hinge"), strengths=(1.0,))
    found = table(PanelSpec(title="error", metrics=ERROR), replicas)
    assert found["arm"].tolist() == ["plain"] * 3 + ["hinge"] * 3
    assert "p" not in found
    along = table(PanelSpec(title="error", kind="end", x="arm", metrics=ERROR), replicas)
    assert along["x"].tolist() == ["plain", "hinge"]
    assert along["mean"].tolist() == pytest.approx([1.01, 2.01])


def test_a_column_that_another_one_decides_tells_no_lines_apart():
    replicas = ends(arms=("clean", "noisy"), strengths=(0.2,))
    replicas.loc[replicas["arm"] == "clean", "p"] = 0.0
    assert "p" not in table(PanelSpec(title="error", metrics=ERROR), replicas)
    assert "arm" not in table(PanelSpec(title="error", kind="end", metrics=ERROR), replicas)


def test_metrics_stand_along_the_axis_if_asked():
    replicas = ends().assign(**{"norm/b": 2.0, "norm/a": 1.0})
    spec = PanelSpec(title="norms", kind="end", x="metric", metrics={"norm/*": ""})
    found = panel_means(spec, replicas=replicas, curves=replicas[:0])
    assert found[["x", "p", "mean"]].values.tolist() == [
        ["b", 0.0, 2.0],
        ["b", 0.2, 2.0],
        ["a", 0.0, 1.0],
        ["a", 0.2, 1.0],
    ]


def test_a_selection_names_replicas_and_a_moment():
    selected = Selection({"p": 0.2}, at="start")
    spec = PanelSpec(title="norm", kind="end", x="p", metrics={"norm/hidden": "W1"}, of=selected)
    curves = training(ends())
    found = panel_means(spec, replicas=curves[curves["epoch"] == 2], curves=curves)
    assert found[["x", "mean", "n"]].values.tolist() == [[0.2, 1.0, 3]]


def test_long_curves_are_thinned_with_their_first_and_last_measurement():
    curves = training(ends(strengths=(0.2,), seeds=1), epochs=1001)
    spec = PanelSpec(title="norm", metrics={"norm/hidden": "W1"})
    found = thinned(panel_means(spec, replicas=curves[:0], curves=curves))
    assert len(found) == 300
    assert (found["x"].min(), found["x"].max()) == (0, 1000)
    assert (found["mean"] == found["x"] + 1).all()


def test_every_replica_has_its_value():
    spec = PanelSpec(title="error", kind="end", metrics=ERROR, factor=100)
    found = replica_values(spec, replicas=ends(seeds=2), curves=pd.DataFrame())
    assert found["value"].tolist() == pytest.approx([0, 1, 20, 21])
    assert found["seed"].tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (PanelSpec(title="error", metrics=ERROR, x="p"), "x of curves must be epoch or step, got p"),
        (
            PanelSpec(title="error", metrics=ERROR, kind="end", x="width"),
            "x must be metric or a column of the replicas, got width",
        ),
        (PanelSpec(title="error", metrics=ERROR, of=Selection({"p": 0.7})), "no replica has p = 0.7"),
        (PanelSpec(title="loss", metrics={"test/loss": "loss"}), "no run measured it"),
    ],
)
def test_what_the_runs_do_not_have_is_refused(spec, message):
    with pytest.raises(ValueError, match=message):
        table(spec, ends())


def test_curves_need_a_file_of_curves():
    with pytest.raises(ValueError, match=r"panel 'error' needs metrics\.csv"):
        panel_means(PanelSpec(title="error", metrics=ERROR), replicas=ends(), curves=ends()[:0])


def rows(*curves):
    """Make a row for each (p, seed, {epoch: value})."""
    return pd.DataFrame(
        [
            {"step": 10 * epoch, "epoch": epoch, "p": p, "seed": seed, "x": value}
            for p, seed, values in curves
            for epoch, value in values.items()
        ]
    )


def curve_means(frame):
    return panel_means(PanelSpec(title="x", metrics={"x": "x"}), replicas=frame[:0], curves=frame)


def means(table, p):
    """Map each epoch of a curve to its mean and n."""
    rows = table[table["p"] == p] if "p" in table else table
    return {row.x: (row.mean, row.n) for row in rows.itertuples(index=False)}


def test_a_replica_that_stopped_keeps_its_last_value():
    frame = rows((0.0, 0, {0: 8.0, 1: 6.0, 2: 2.0, 3: 1.0}), (0.0, 1, {0: 6.0, 1: 4.0}))
    assert means(curve_means(frame), 0.0) == {0: (7.0, 2), 1: (5.0, 2), 2: (3.0, 2), 3: (2.5, 2)}


def test_a_replica_that_diverged_has_no_value_from_then_on():
    frame = rows((0.0, 0, {0: 8.0, 1: 6.0, 2: 2.0}), (0.0, 1, {0: 6.0, 1: 4.0}), (0.1, 0, {0: 1.0}))
    ended = pd.DataFrame({"p": [0.0, 0.0, 0.1], "seed": [0, 1, 0]})
    table = panel_means(
        PanelSpec(title="x", metrics={"x": "x"}),
        replicas=ended.assign(ended_by=["budget", "non-finite weights", "non-finite loss"]),
        curves=frame,
    )
    assert means(table, 0.0) == {0: (7.0, 2), 1: (5.0, 2), 2: (2.0, 1)}
    assert means(table, 0.1) == {0: (1.0, 1)}
    assert table["replicas"].tolist() == [2, 2, 2, 1]


@pytest.mark.parametrize("along", ["p", "metric"])
def test_the_end_counts_the_replicas_that_have_no_value(along):
    replicas = ends(seeds=3).assign(**{"test/loss": 1.0})
    replicas.loc[replicas["p"] == 0.2, "test/error"] = [0.2, math.nan, math.nan]
    spec = PanelSpec(title="error", kind="end", x=along, metrics={"test/error": "e", "test/loss": "l"})
    table = panel_means(spec, replicas=replicas, curves=replicas[:0])
    assert table[["n", "replicas"]].to_numpy().tolist().count([1, 3]) == 1
    assert table[["n", "replicas"]].to_numpy().tolist().count([3, 3]) == 3


def test_a_curve_whose_replicas_all_stopped_goes_on_to_the_end_of_the_others():
    frame = rows((0.0, 0, {0: 8.0, 1: 6.0}), (0.0, 1, {0: 6.0}), (0.1, 0, {0: 1.0, 1: 1.0, 2: 3.0}))
    table = curve_means(frame)
    assert means(table, 0.0) == {0: (7.0, 2), 1: (6.0, 2), 2: (6.0, 2)}
    assert means(table, 0.1) == {0: (1.0, 1), 1: (1.0, 1), 2: (3.0, 1)}


def test_the_last_value_of_a_rarer_metric_is_the_last_one_measured():
    frame = rows((0.0, 0, {0: 8.0, 1: None, 2: 6.0, 3: None, 4: 4.0}), (0.0, 1, {0: 6.0, 1: None, 2: 2.0, 3: None}))
    assert means(curve_means(frame), 0.0) == {0: (7.0, 2), 2: (4.0, 2), 4: (3.0, 2)}


def test_a_missing_value_of_a_running_replica_is_left_out():
    frame = rows((0.0, 0, {0: 8.0, 1: 6.0}), (0.0, 1, {0: 6.0, 1: None}))
    assert means(curve_means(frame), 0.0) == {0: (7.0, 2), 1: (6.0, 1)}


def test_a_replica_that_stopped_stands_for_no_curve_alone_at_the_epochs_of_another():
    frame = rows((0.0, 0, {0: 8.0, 2: 6.0, 4: 4.0}), (0.0, 1, {0: 6.0, 2: 2.0}), (0.1, 0, dict.fromkeys(range(5), 1.0)))
    table = curve_means(frame)
    assert means(table, 0.0) == {0: (7.0, 2), 2: (4.0, 2), 4: (3.0, 2)}
    assert list(means(table, 0.1)) == [0, 1, 2, 3, 4]


def test_of_two_evaluations_in_an_epoch_the_later_one_counts():
    frame = rows((0.0, 0, {1: 8.0}))
    later = frame.assign(step=19, x=6.0)
    assert means(curve_means(pd.concat([frame, later])), 0.0) == {1: (6.0, 1)}


def test_learning_rates_are_curves_of_their_own():
    frame = pd.concat([rows((0.0, 0, {0: 1.0})).assign(lr=0.1), rows((0.0, 0, {0: 3.0})).assign(lr=0.2)])
    assert curve_means(frame)[["lr", "x", "mean"]].to_numpy().tolist() == [[0.1, 0, 1.0], [0.2, 0, 3.0]]


def test_a_replica_without_a_value_has_none_at_the_end():
    table = pd.DataFrame([{"p": 0.0, "seed": 0, "x": 2.0}, {"p": 0.0, "seed": 1, "x": math.nan}])
    values = replica_values(PanelSpec(title="x", kind="end", metrics={"x": "x"}), replicas=table, curves=table[:0])
    assert values[["x", "seed", "value"]].to_numpy().tolist() == [[0.0, 0, 2.0]]


@pytest.mark.parametrize(("curves", "epochs", "kept"), [(1, 300, 300), (1, 301, 300), (10, 400, 250), (200, 100, 25)])
def test_a_panel_keeps_some_2500_points_but_25_of_each_line(curves, epochs, kept):
    table = pd.DataFrame([{"p": p, "x": 10 * epoch} for p in range(curves) for epoch in range(epochs)])
    left = thinned(table)
    assert left.groupby("p").size().tolist() == [kept] * curves
    assert (left["x"].min(), left["x"].max()) == (0, 10 * (epochs - 1))


def test_a_replica_stops_early_that_ends_before_another_of_its_arm():
    even, uneven = rows((0.0, 0, {0: 1.0, 1: 1.0}), (0.1, 0, {1: 1.0})), rows((0.0, 0, {1: 1.0}), (0.1, 0, {0: 1.0}))
    assert not stops_early(even)
    assert stops_early(uneven)
    assert not stops_early(uneven.assign(arm=["long", "short"]))


@pytest.mark.parametrize("kind", ["curves", "end"])
def test_a_missing_column_is_named(kind):
    frame = pd.DataFrame({"p": [0.0], "x": 1.0, "epoch": 0})
    with pytest.raises(ValueError, match=f"got none named {'step, seed' if kind == 'curves' else 'seed'}$"):
        panel_means(PanelSpec(title="x", kind=kind, metrics={"x": "x"}), replicas=frame, curves=frame)


def test_two_rows_of_a_replica_for_one_step_are_refused():
    frame = rows((0.1, 3, {0: 1.0, 1: 1.0}))
    with pytest.raises(ValueError, match=r"one row a step, got two for p=0.1, seed=3; draw runs that differ"):
        curve_means(pd.concat([frame, frame[1:]]))


def test_two_result_rows_of_a_replica_are_refused():
    found = pd.DataFrame([{"p": 0.1, "seed": 3, "lr": lr, "x": 1.0} for lr in (0.1, 0.2, 0.2)])
    with pytest.raises(ValueError, match=r"one row, got two for lr=0.2, p=0.1, seed=3"):
        panel_means(PanelSpec(title="x", kind="end", metrics={"x": "x"}), replicas=found, curves=found[:0])


def test_each_measurement_of_an_epoch_has_its_own_mean():
    curves = pd.DataFrame(
        [
            {"p": 0.2, "seed": seed, "step": step, "epoch": step // 240, "test/error": 0.1 * seed + step / 1000}
            for seed in (0, 1)
            for step in (0, 100, 240, 300)
        ]
    )
    for x, places in (("step", [0, 100, 240, 300]), ("epoch", [0, 0, 1, 1])):
        found = panel_means(PanelSpec(title="error", metrics=ERROR, x=x), replicas=curves[:0], curves=curves)
        assert found["x"].tolist() == places
        assert found["mean"].tolist() == pytest.approx([0.05, 0.15, 0.29, 0.35])


@pytest.mark.parametrize("kind", ["curves", "end"])
def test_lines_that_leave_out_what_replicas_differ_in_are_refused(kind):
    spec = PanelSpec(title="error", kind=kind, metrics=ERROR, by=["arm"])
    assert set(table(spec, ends(arms=("a", "b"), strengths=(0.2,)))["arm"]) == {"a", "b"}
    rows = ends(arms=("a", "b"))
    if kind == "end":  # along p, which is told by the axis
        assert len(table(spec, rows)) == 4
        rows = rows.assign(lr=[0.1, 0.2] * 6, seed=range(12))
    with pytest.raises(ValueError, match=r"panel 'error': a mean would be over several (p|lr); name (p|lr) in by"):
        table(spec, rows)
