import pandas as pd
import pytest

from noisereg.report.figures.panel import PanelSpec

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
        ("norm", "a panel must be a mapping with title and more, got 'norm'"),
        ({"metrics": METRICS}, "panel without title: title is missing: it must be a text that is not empty"),
        ({"title": 3, "metrics": METRICS}, "panel 3: title must be a text that is not empty, got 3"),
        ({"title": "a", "metrics": METRICS, "colour": "red"}, "colour is no key of a panel; there are title, kind, x"),
        (
            {"title": "a", "kind": "pie"},
            "panel 'a': kind must be one of curves, end, scatter, histograms, check, reliability,",
        ),
        ({"title": "a"}, "metrics is missing: it must be a mapping of columns to labels, such as {test/error: test}"),
        ({"title": "a", "metrics": ["norm"]}, r"metrics must be a mapping of columns to labels, .*, got \['norm'\]"),
        ({"title": "a", "kind": "check"}, "check is missing: it must be the id of a check"),
        ({"kind": "reliability"}, "title is missing: it must be a text that is not empty"),
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
        ({"title": "a", "metrics": METRICS, "of": 3}, "of must be a mapping such as {p: 0.2, at: end}, got 3"),
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


def test_a_panel_shows_all_layers_or_says_that_it_has_no_room():
    norms, layers = PanelSpec(title="norms", metrics={"norm/*": ""}), [f"norm/layer{place}" for place in range(201)]
    assert list(norms.columns(pd.DataFrame(1.0, index=[0], columns=layers[:110]))) == layers[:110]
    with pytest.raises(ValueError, match="panel 'norms' has room for 200 columns, got 201; name some"):
        norms.columns(pd.DataFrame(1.0, index=[0], columns=layers))


def test_two_columns_of_one_label_are_refused():
    """Their values would be one mean."""
    rows = pd.DataFrame({"norm/hidden": [1.0], "bias_mean/hidden": [2.0]})
    for metrics in ({"norm/hidden": "W1", "bias_mean/hidden": "W1"}, {"norm/*": "", "bias_mean/*": ""}):
        label = "W1" if "norm/hidden" in metrics else "hidden"
        with pytest.raises(ValueError, match=f"panel 'norms' calls 2 columns '{label}'; give each a name of its own"):
            PanelSpec(title="norms", metrics=metrics).columns(rows)
