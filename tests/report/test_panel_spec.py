import pandas as pd
import pytest

from noisereg.report.panel_spec import PanelSpec, usual_panels

METRICS = {"norm/hidden": "W1"}


def test_a_panel_is_read_from_an_experiments_file():
    spec = PanelSpec.of(
        {"title": "norm", "arm": "hinge", "of": {"p": 0.2}, "x": "step", "metrics": METRICS, "log": True, "kind": None}
    )
    assert (spec.title, spec.kind, spec.along, spec.metrics, spec.log) == ("norm", "curves", "step", METRICS, True)
    assert spec.selected.where == {"p": 0.2, "arm": "hinge"}


@pytest.mark.parametrize(("kind", "along"), [("curves", "epoch"), ("end", "p")])
def test_the_horizontal_axis_has_a_default(kind, along):
    assert PanelSpec(title="norm", kind=kind, metrics=METRICS).along == along


@pytest.mark.parametrize(
    ("panel", "message"),
    [
        ("norm", "must be a mapping with title, metrics and more, got 'norm'"),
        ({"metrics": METRICS}, "panel 'without title': title must be a text that is not empty, got nothing"),
        ({"title": 3, "metrics": METRICS}, "panel 3: title must be a text that is not empty, got 3"),
        ({"title": "a", "metrics": METRICS, "colour": "red"}, "colour is no key of a panel; there are title, kind, x"),
        ({"title": "a", "kind": "pie"}, "panel 'a': kind must be one of curves, end, histograms, check, reliability,"),
        ({"title": "a"}, "metrics must be a mapping of columns to labels, such as {test/error: test}, got nothing"),
        ({"title": "a", "metrics": ["norm"]}, r"metrics must be a mapping of columns to labels, .*, got \['norm'\]"),
        ({"title": "a", "kind": "check"}, "check must be the id of a check, got nothing"),
        ({"kind": "reliability"}, "title must be a text that is not empty, got nothing"),
        ({"title": "a", "kind": "plane", "split": "val"}, "split must be train or test, got 'val'"),
        ({"title": "a", "metrics": METRICS, "x": 3}, "x must be the name of a column, got 3"),
        ({"title": "a", "metrics": METRICS, "arm": 3}, "arm must be the name of an arm, got 3"),
        ({"title": "a", "metrics": METRICS, "log": "yes"}, "log must be true or false, got 'yes'"),
        ({"title": "a", "metrics": METRICS, "log_x": 1}, "log_x must be true or false, got 1"),
        ({"title": "a", "metrics": METRICS, "factor": float("inf")}, "factor must be a finite number, got inf"),
        ({"title": "a", "kind": "histograms", "neurons": 0}, "neurons must be a whole number, at least 1, got 0"),
        (
            {"title": "a", "metrics": METRICS, "lines": [{"value": 1}]},
            "lines must be a list of mappings with label and",
        ),
        ({"title": "a", "metrics": METRICS, "of": 3}, "of must be a mapping such as {p: 0.2}, got 3"),
        ({"title": "a", "metrics": METRICS, "of": {"p": []}}, "of.p must be a number or a text"),
    ],
)
def test_a_panel_that_cannot_be_drawn_is_refused(panel, message):
    with pytest.raises(ValueError, match=message):
        PanelSpec.of(panel)


def test_a_star_stands_for_the_layers():
    rows = pd.DataFrame({"norm/conv1": [1.0], "norm/linear": [2.0], "test/error": [0.5], "norm/none": [None]})
    spec = PanelSpec(title="norms", metrics={"norm/*": "", "test/error": "error"})
    assert spec.columns(rows) == {"norm/conv1": "conv1", "norm/linear": "linear", "test/error": "error"}


def test_a_metric_that_no_run_measured_is_named():
    with pytest.raises(ValueError, match="panel 'norm' needs norm/hidden; no run measured it"):
        PanelSpec(title="norm", metrics=METRICS).columns(pd.DataFrame({"test/error": [0.5]}))


def test_usual_panels_are_against_p_and_over_training():
    replicas = pd.DataFrame({"p": [0.0, 0.2], "test/error": 0.5, "train/active_neurons": 100.0})
    curves = pd.DataFrame({"p": [0.0], "epoch": 0, "test/error": 0.5, "norm/hidden": 1.0})
    found = [(panel.kind, panel.title) for panel in usual_panels(replicas, curves)]
    assert found == [
        ("end", "test error (%)"),
        ("end", "active neurons, train"),
        ("curves", "test error (%)"),
        ("curves", "weight norm"),
    ]
    assert {panel.kind for panel in usual_panels(replicas[:1], curves)} == {"curves"}


def test_many_layers_stand_along_the_axis_at_the_end_of_training_only():
    layers = pd.DataFrame({"p": [0.0, 0.2], **{f"test/active_fraction/relu{place}": 0.5 for place in range(5)}})
    (panel,) = usual_panels(layers, layers)
    assert (panel.kind, panel.along, panel.factor) == ("end", "metric", 100)
