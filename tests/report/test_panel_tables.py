import math

import pandas as pd
import pytest
import scipy.stats
from report.panel_rows import ends, training

from noisereg.report.panel_spec import PanelSpec
from noisereg.report.panel_tables import panel_table, replica_values
from noisereg.report.selection import Selection

ERROR = {"test/error": "test"}
NORMS = {"norm/hidden": "W1", "norm/output": "W2"}


def table(spec, replicas):
    return panel_table(spec, replicas=replicas, curves=training(replicas))


def test_the_end_is_averaged_over_the_seeds_in_the_panels_unit():
    found = table(PanelSpec(title="error (%)", kind="end", metrics=ERROR, factor=100), ends(seeds=3))
    half = scipy.stats.t.ppf(0.975, df=2) * 1.0 / math.sqrt(3)  # of 0, 1 and 2 percent
    assert found["x"].tolist() == [0.0, 0.2]
    assert found["mean"].tolist() == pytest.approx([1.0, 21.0])
    assert (found["mean"] - found["low"]).tolist() == pytest.approx([half, half])
    assert (found["high"] - found["mean"]).tolist() == pytest.approx([half, half])
    assert found["n"].tolist() == [3, 3]


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
    found = panel_table(spec, replicas=replicas, curves=replicas[:0])
    assert found[["x", "p", "mean"]].values.tolist() == [
        ["b", 0.0, 2.0],
        ["b", 0.2, 2.0],
        ["a", 0.0, 1.0],
        ["a", 0.2, 1.0],
    ]


def test_a_selection_names_replicas_and_a_moment():
    selected = Selection({"p": 0.2}, at="start")
    spec = PanelSpec(title="norm", kind="end", x="p", metrics={"norm/hidden": "W1"}, selected=selected)
    curves = training(ends())
    found = panel_table(spec, replicas=curves[curves["epoch"] == 2], curves=curves)
    assert found[["x", "mean", "n"]].values.tolist() == [[0.2, 1.0, 3]]


def test_long_curves_are_thinned_with_their_first_and_last_measurement():
    curves = training(ends(strengths=(0.2,), seeds=1), epochs=1001)
    found = panel_table(PanelSpec(title="norm", metrics={"norm/hidden": "W1"}), replicas=curves[:0], curves=curves)
    assert len(found) == 120
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
            "x must be p, lr, arm, seed or metric, got width",
        ),
        (PanelSpec(title="error", metrics=ERROR, selected=Selection({"p": 0.7})), "no replica has p = 0.7"),
        (PanelSpec(title="loss", metrics={"test/loss": "loss"}), "no run measured it"),
    ],
)
def test_what_the_runs_do_not_have_is_refused(spec, message):
    with pytest.raises(ValueError, match=message):
        table(spec, ends())


def test_curves_need_a_file_of_curves():
    with pytest.raises(ValueError, match=r"panel 'error' needs metrics\.csv"):
        panel_table(PanelSpec(title="error", metrics=ERROR), replicas=ends(), curves=ends()[:0])
