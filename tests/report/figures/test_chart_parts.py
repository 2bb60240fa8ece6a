import math

import altair as alt
import pandas as pd

from noisereg.report.figures import chart_parts


def legend(values):
    return chart_parts.colour_of(pd.DataFrame({"p": values}), "p").to_dict()


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


def test_inline_data_have_six_digits_and_empty_places_for_nan():
    data = chart_parts.inline(pd.DataFrame({"epoch": [1_234_567], "mean": [2 / 3], "low": [math.nan]}))
    assert data.values == "epoch,mean,low\n1234567,0.666667,\n"
    assert data.format.to_dict() == {"type": "csv", "parse": {"epoch": "number", "mean": "number", "low": "number"}}


def test_empty_lines_are_left_out_of_the_subtitle():
    panel = chart_parts.layered([alt.Chart().mark_point()], "x")
    assert chart_parts.in_rows([[panel]], title="", lines=["", "one"]).to_dict()["title"]["subtitle"] == ["one"]


def _luminance(colour):
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
