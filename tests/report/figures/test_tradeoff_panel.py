import pandas as pd
import pytest

from noisereg.report.figures.figure import draw_figure
from noisereg.report.figures.panel import PanelSpec
from noisereg.report.figures.tradeoff_panel import tradeoff_points

X, Y = "train/active_neurons", "test/error"
ROWS = pd.DataFrame(
    [
        {"arm": arm, "p": p, "seed": seed, X: active + seed, Y: error, "ended_by": "budget"}
        for arm, p, active, error in (
            ("noise", 0.0, 90.0, 0.4),
            ("noise", 0.2, 40.0, 0.2),
            ("l1_0.01", 0.0, 50.0, 0.3),
            ("l1_0.1", 0.0, 5.0, 0.5),
        )
        for seed in range(3)
    ]
)
SPEC = {"title": "plane", "kind": "tradeoff", "metrics": {X: "active neurons", Y: "test error (%)"}}


def test_a_method_has_a_point_for_each_strength_with_intervals_of_both_metrics():
    points = tradeoff_points(ROWS, X, Y)
    assert list(zip(points["method"], points["strength"], strict=True)) == [
        ("noise", "0"),
        ("noise", "0.2"),
        ("l1", "0.01"),
        ("l1", "0.1"),
    ]
    assert points["x"].tolist() == [91, 41, 51, 6]
    half = 4.302653 / 3**0.5  # Student's t for two degrees of freedom; the deviation of 0, 1, 2 is 1
    assert (points["x_high"] - points["x"]).tolist() == pytest.approx([half] * 4)
    assert points["y"].tolist() == pytest.approx([40, 20, 30, 50])  # in percent
    assert points["n"].tolist() == [3] * 4


def test_a_replica_that_diverged_is_left_out():
    failed = ROWS.assign(ended_by=["non-finite loss", *["budget"] * 11])
    assert tradeoff_points(failed, X, Y)["n"].tolist() == [2, 3, 3, 3]


def test_a_point_is_of_as_many_replicas_as_both_metrics_have_values_of():
    lacking = ROWS.assign(**{Y: [None, *ROWS[Y][1:]]})
    assert tradeoff_points(lacking, X, Y)["n"].tolist() == [2, 3, 3, 3]


def test_the_panel_has_a_colour_a_method_and_bars_in_both_directions():
    figure = draw_figure([PanelSpec.of(SPEC)], replicas=ROWS, curves=ROWS[:0]).to_dict()
    (panel,) = figure["vconcat"][0]["hconcat"]
    assert [layer["mark"]["type"] for layer in panel["layer"]] == ["rule", "rule", "line", "circle", "text"]
    assert panel["layer"][0]["encoding"]["color"]["scale"]["domain"] == ["noise", "l1"]


def test_a_panel_of_other_metrics_than_two_is_an_error():
    with pytest.raises(ValueError, match="metrics of a tradeoff must be two, got 1"):
        PanelSpec.of({**SPEC, "metrics": {X: ""}})
    with pytest.raises(ValueError, match="mark needs kind curves, got tradeoff"):
        PanelSpec.of({**SPEC, "mark": "lowest"})
    with pytest.raises(ValueError, match="no replica has the column norm/hidden"):
        tradeoff_points(ROWS, "norm/hidden", Y)
