import math

import altair as alt
import pandas as pd
import pytest

from noisereg.report import drawing

MEANS = pd.DataFrame({"p": [0.0, 0.2], "mean": [1.0, 2.0], "low": [0.5, 1.5], "high": [1.5, 2.5], "n": 5})
BLACK = alt.value("black")


def legend(values):
    return drawing.colour_of(pd.DataFrame({"p": values}), "p").to_dict()


def marks(means, *, band):
    return [layer.mark.type for layer in drawing.mean_marks(means, alt.X("p:Q"), colour=BLACK, band=band)]


def test_colours_run_along_viridis_and_grow_lighter():
    scale = legend([0.2, 0.0, 0.1, 0.0])["scale"]
    assert scale["domain"] == [0.0, 0.1, 0.2]
    assert scale["range"] == ["#440154", "#2a788e", "#7ad151"]  # viridis at 0, 0.4 and 0.8, as matplotlib has it
    lightness = [_luminance(colour) for colour in legend([p / 50 for p in range(51)])["scale"]["range"]]
    assert lightness == sorted(set(lightness))


def test_a_long_legend_names_twenty_values_with_the_first_and_the_last():
    values = [p / 1000 for p in range(1001)]
    drawn = legend(values)
    assert len(drawn["legend"]["values"]) == 20
    assert (drawn["legend"]["values"][0], drawn["legend"]["values"][-1]) == (0.0, 1.0)
    assert drawn["scale"]["domain"] == values


def test_a_short_legend_names_every_value():
    assert legend([p / 20 for p in range(20)])["legend"]["values"] == [p / 20 for p in range(20)]


def test_a_band_is_left_out_where_there_is_no_interval():
    assert marks(MEANS, band=True) == ["area", "line", "circle"]
    assert marks(MEANS, band=False) == ["rule", "circle"]
    single = MEANS.assign(low=math.nan, high=math.nan)
    assert marks(single, band=True) == ["line", "circle"]
    assert marks(single, band=False) == ["circle"]


def test_what_is_beneath_the_mouse_is_shown_in_full():
    *_, points = drawing.mean_marks(MEANS.assign(epoch=123_456), alt.X("epoch:Q"), colour=BLACK, band=True)
    shown = {tooltip["field"]: tooltip["format"] for tooltip in points.to_dict()["encoding"]["tooltip"]}
    assert list(shown) == ["p", "epoch", "mean", "low", "high", "n"]
    assert shown["epoch"] == shown["n"] == "d"


def test_inline_data_have_six_digits_and_empty_places_for_nan():
    data = drawing.inline(pd.DataFrame({"epoch": [1_234_567], "mean": [2 / 3], "low": [math.nan]}))
    assert data.values == "epoch,mean,low\n1234567,0.666667,\n"
    assert data.format.to_dict() == {"type": "csv", "parse": {"epoch": "number", "mean": "number", "low": "number"}}


@pytest.mark.parametrize(("same_height", "resolved"), [(True, "shared"), (False, "independent")])
def test_a_row_shares_its_height_if_asked(same_height, resolved):
    panel = drawing.panel(drawing.mean_marks(MEANS, alt.X("p:Q"), colour=BLACK, band=True), "x")
    spec = drawing.page([[panel, panel]], title="", lines=["", "one"], same_height=same_height).to_dict()
    assert spec["vconcat"][0]["resolve"]["scale"]["y"] == resolved
    assert spec["title"]["subtitle"] == ["one"]


def _luminance(colour):
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
