import math
import re

import pandas as pd
import pytest
import vl_convert
from report.panel_rows import panel_data

from noisereg.report.figures.line_panel import line_chart
from noisereg.report.figures.line_styles import choose_styles
from noisereg.report.figures.panel import PanelSpec

NOTHING = pd.DataFrame()


def points(x, mean, **columns):
    rows = pd.DataFrame({"x": x, "quantity": "error", "mean": mean, "n": 5})
    return rows.assign(low=rows["mean"] - 1.0, high=rows["mean"] + 1.0).assign(**columns)


def draw(table, *, singles=NOTHING, **keys):
    spec = PanelSpec(**{"title": "error", "metrics": {"test/error": "test"}, **keys})
    (style,) = choose_styles([table])
    chart = line_chart(spec, table, style=style, singles=singles)
    return (chart.add_params(style.choice) if style.choice else chart).to_dict()


def marks(panel):
    return [layer["mark"]["type"] for layer in panel["layer"]]


def axis(panel, channel):
    return panel["layer"][-1]["encoding"][channel]


def test_curves_are_lines_in_bands():
    assert marks(draw(points([0, 1], [1.0, 2.0]))) == ["area", "line", "circle"]
    assert marks(draw(points([0, 1], [1.0, 2.0], low=math.nan))) == ["line", "circle"]


@pytest.mark.parametrize(("places", "drawn"), [(2, ["rule", "point"]), (3, ["area", "line", "circle"])])
def test_between_two_values_of_p_no_band_is_drawn(places, drawn):
    table = points([0.1 * place for place in range(places)], 1.0)
    assert marks(draw(table, kind="end")) == drawn


@pytest.mark.parametrize(("layers", "drawn"), [(2, ["rule", "point"]), (5, ["rule", "rule", "point", "text"])])
def test_many_layers_have_a_row_each(layers, drawn):
    panel = draw(points([f"relu{place}" for place in range(layers)], 1.0), kind="end", x="metric")
    assert marks(panel) == drawn
    along = axis(panel, "x" if layers == 2 else "y")
    assert along["scale"]["domain"] == [f"relu{place}" for place in range(layers)]


def test_a_row_joins_the_arms_from_the_least_to_the_greatest_and_has_their_values_beside_it():
    layers = [f"relu{place}" for place in range(5)]
    arms = ["none", "noise", "smoothing"]
    table = points(layers * 3, [1.0] * 5 + [0.25] * 5 + [0.5] * 5, arm=[arm for arm in arms for _ in layers])
    panel = draw(table, kind="end", x="metric", lines=[{"label": "half", "value": 0.5}])
    assert marks(panel) == ["rule", "text", "rule", "rule", "point", "text", "text", "text"]
    data = panel_data(panel, panel)
    assert data[2].iloc[0].to_dict() == {"x": "relu0", "least": 0.25, "greatest": 1.0}
    assert [rows["mean"].tolist() for rows in data[5:]] == [[1.0] * 5, [0.25] * 5, [0.5] * 5]
    places = [layer["encoding"]["x"]["value"] for layer in panel["layer"][5:]]
    assert places == sorted(set(places)) and places[0] > panel["width"]
    assert panel["height"] == 5 * 16
    assert "<svg" in vl_convert.vegalite_to_svg(panel)


def test_a_row_on_a_logarithmic_axis_shows_nothing_at_or_below_zero():
    layers = [f"relu{place}" for place in range(5)]
    single = pd.DataFrame({"x": "relu0", "value": [0.0, 2.0]})
    panel = draw(points(layers, 0.5), kind="end", x="metric", log=True, singles=single)
    assert marks(panel) == ["rule", "circle", "rule", "point", "text"]
    _, faint, intervals, *_ = panel_data(panel, panel)
    assert faint["value"].tolist() == [2.0]
    assert panel["layer"][2]["encoding"]["x"]["field"] == "floor" and (intervals["floor"] == 0.5).all()


def test_more_lines_than_have_room_stand_without_their_values():
    layers = [f"relu{place}" for place in range(5)]
    panel = draw(points(layers * 5, 1.0, p=[0.1 * p for p in range(5) for _ in layers]), kind="end", x="metric")
    assert marks(panel) == ["rule", "rule", "point"]


def test_points_of_different_colours_stand_beside_one_another():
    panel = draw(points(["a", "a", "b", "b"], 1.0, p=[0.0, 0.2] * 2), kind="end", x="arm")
    assert axis(panel, "xOffset")["scale"]["domain"] == [0.0, 0.2]


@pytest.mark.parametrize(
    ("last", "ticks"),
    [
        (1, [0, 1]),
        (2, [0, 1, 2]),
        (5, [0, 1, 2, 3, 4, 5]),
        (7, [0, 2, 4, 6]),
        (100, [0, 20, 40, 60, 80, 100]),
        (4_800_000, [0, 1_000_000, 2_000_000, 3_000_000, 4_000_000]),
    ],
)
def test_the_ticks_of_epochs_are_whole_and_differ(last, ticks):
    assert axis(draw(points([0, last], 1.0)), "x")["axis"]["values"] == ticks
    assert axis(draw(points([0, last], 1.0), x="step"), "x")["axis"]["values"] == ticks


@pytest.mark.parametrize("places", [[0.0, 0.15, 0.3], [0.0, 0.125, 0.25], [1e-05, 0.0015, 0.01], [12, 345, 67890]])
@pytest.mark.parametrize("log_x", [False, True])
def test_a_tick_names_the_value_that_it_stands_at(places, log_x):
    drawn = vl_convert.vegalite_to_svg(draw(points(places, 1.0), kind="end", x="lr", log_x=log_x))
    labels = re.search(r"aria-label=\"X-axis.*?role-axis-title", drawn, re.DOTALL)[0]
    shown = {float(text) for text in re.findall(r">([\d.e-]+)</text>", labels)}
    assert places[1] in shown and shown <= set(places)


def test_of_two_replicas_there_is_no_interval():
    assert marks(draw(points([0, 1], 1.0, n=2))) == ["line", "circle"]
    few = draw(points([0, 1, 2], 1.0, n=[3, 2, 3]))
    assert panel_data(few, few)[0]["low"].isna().tolist() == [False, True, False]


def test_single_replicas_are_faint_points():
    singles = pd.DataFrame({"x": [0.0], "seed": 0, "value": 1.5})
    panel = draw(points([0.0, 0.2], 1.0), singles=singles, kind="end")
    assert marks(panel) == ["circle", "rule", "point"]
    assert panel_data(panel, panel)[0]["value"].tolist() == [1.5]


def test_a_band_that_reaches_below_zero_ends_above_it_on_a_logarithmic_axis():
    panel = draw(points([0, 1, 2], [100.0, 0.5, -3.0]), log=True)
    data = panel_data(panel, panel)[0]
    assert data["mean"].tolist() == [100.0, 0.5]  # what lies below zero has no place
    assert data["floor"].tolist() == [99.0, 0.5]
    assert data["low"].tolist() == [99.0, -0.5]  # which the mouse shows
    assert axis(panel, "y")["scale"]["type"] == "log"


def test_a_logarithmic_time_axis_has_no_place_for_the_start():
    panel = draw(points([0, 1, 10], 1.0), log_x=True)
    assert panel_data(panel, panel)[0]["x"].tolist() == [1, 10]
    assert axis(panel, "x")["scale"]["type"] == "log"


def test_a_logarithmic_axis_of_p_has_a_place_for_zero():
    scale = axis(draw(points([0.0, 0.1, 1.0], 1.0), kind="end", log_x=True), "x")["scale"]
    assert (scale["type"], scale["constant"]) == ("symlog", 0.1)


def test_reference_lines_have_their_value_and_label():
    panel = draw(points([0, 1], 1.0), lines=[{"label": "d h", "value": 0.03}])
    assert panel_data(panel, panel)[0].to_dict("records") == [{"value": 0.03, "label": "d h"}]
    assert marks(panel)[:2] == ["rule", "text"]


@pytest.mark.parametrize(
    ("table", "lines", "message"),
    [
        (points([0, 1], -1.0), [], "panel 'error' has no value above zero for its logarithmic axis"),
        (
            points([0, 1], 1.0),
            [{"label": "d h", "value": {"_target_": "theory"}}],
            "panel 'error': the value of the line 'd h' is yet to be computed",
        ),
        (points([0, 1], 1.0), [{"label": "0", "value": 0}], "lines on a logarithmic axis must lie above 0, got 0"),
    ],
)
def test_a_logarithmic_axis_refuses_what_lies_below_zero(table, lines, message):
    with pytest.raises(ValueError, match=message):
        draw(table, log=True, lines=lines)


def test_the_mouse_shows_mean_interval_and_number_of_seeds():
    shown = {part["field"]: part.get("format") for part in axis(draw(points([0, 1], 1.0, p=0.2)), "tooltip")}
    assert list(shown) == ["x", "p", "mean", "low", "high", "n"]
    assert shown["n"] == "d"


def test_a_name_with_commas_and_quotes_is_drawn_as_it_is():
    name = 'a,"b"</script>'
    svg = vl_convert.vegalite_to_svg(draw(points([0, 0, 1, 1], 1.0, quantity=[name, "c"] * 2)))
    assert "a,&quot;b&quot;&lt;/script&gt;" in svg or 'a,"b"&lt;/script&gt;' in svg
    assert svg.count('aria-roledescription="line mark"') == 2


@pytest.mark.parametrize(("mark", "places"), [("lowest", [1, 2]), ("highest", [0, 1])])
def test_the_extreme_point_of_each_curve_is_marked(mark, places):
    table = points([0, 1, 2] * 2, [3.0, 1.0, 2.0, 5.0, 6.0, 4.0], p=[0.0] * 3 + [0.2] * 3)
    panel = draw(table, mark=mark)
    assert marks(panel)[-1] == "point"
    assert sorted(panel_data(panel, panel)[-1]["x"]) == places


@pytest.mark.parametrize("largest", [1e308, math.inf])
def test_a_logarithmic_axis_reaches_as_far_as_there_are_numbers(largest):
    panel = draw(points([0, 1], [1e-300, largest], low=math.nan, high=math.nan), log=True)
    assert axis(panel, "y")["axis"]["tickCount"] == 5
