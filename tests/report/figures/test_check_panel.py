import pytest
from report.panel_rows import panel_data

from noisereg.report.figures.check_panel import check_chart
from noisereg.report.figures.panel import PanelSpec
from noisereg.theory.check import Check, Curve

SPEC = PanelSpec(title="equilibrium", kind="check", check="T2")
CURVE = Curve(
    x_title="h", y_title="norm", x=[1, 2], measured=[1.1, 1.9], predicted=[1, 2], low=[1, 1.5], high=[1.2, 2.5]
)
KEYS = {"says": "", "place": "", "measured": 1.0, "predicted": 1.0, "relation": "=", "holds": True, "n": 1}


def row(curve, name="T2"):
    return Check(id=name, curve=curve, **KEYS).as_row()


def test_measured_points_stand_beside_the_predicted_line():
    panel = check_chart(SPEC, [row(None, "T1"), row(CURVE)]).to_dict()
    data = panel_data(panel, panel)[0]
    assert data["measured"].tolist() == [1.1, 1.9]
    assert data["predicted"].tolist() == [1, 2]
    drawn = {layer["mark"]["type"]: layer["encoding"]["y"]["field"] for layer in panel["layer"]}
    assert drawn == {"line": "predicted", "rule": "low", "circle": "measured"}
    assert panel["layer"][0]["encoding"]["x"]["title"] == "h"
    assert panel["layer"][0]["encoding"]["y"]["title"] == "norm"


def test_without_intervals_there_are_no_bars():
    bare = Curve(x_title="h", y_title="norm", x=[1, 2], measured=[1.1, 1.9], predicted=[1, 2])
    assert [layer["mark"]["type"] for layer in check_chart(SPEC, [row(bare)]).to_dict()["layer"]] == ["circle", "line"]


@pytest.mark.parametrize("checks", [[], [row(None)], [row(CURVE, "T3")]])
def test_a_check_without_a_curve_cannot_be_drawn(checks):
    with pytest.raises(ValueError, match="panel 'equilibrium': no check named T2 has a curve"):
        check_chart(SPEC, checks)


@pytest.mark.parametrize(("log", "kind"), [(True, "log"), (False, None)])
def test_axes_are_logarithmic_if_asked(log, kind):
    spec = PanelSpec(title="equilibrium", kind="check", check="T2", log=log, log_x=log)
    encoding = check_chart(spec, [row(CURVE)]).to_dict()["layer"][0]["encoding"]
    assert [encoding[axis]["scale"].get("type") for axis in ("x", "y")] == [kind, kind]
