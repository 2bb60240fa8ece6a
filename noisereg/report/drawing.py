"""The parts that both figures are made of: data, colours, marks, and the page around the panels."""

from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from noisereg.report.tables import evenly

_VIRIDIS = ("#440154", "#414487", "#2a788e", "#22a884", "#7ad151")  # from 0 to 0.8: the rest is too faint on white
_ONE_COLOUR = _VIRIDIS[1]
_MOST_IN_LEGEND = 20
_DIGITS = "%.6g"
_NUMBER = ",.6~r"
_WIDTH, _HEIGHT = 270, 180
_HEADING: dict[str, Any] = {"fontSize": 16, "subtitleFontSize": 12, "offset": 14}
_LOOK = {
    "view": {"stroke": None},
    "title": {"anchor": "start", "frame": "group", "fontWeight": "normal", "subtitleColor": "#555"},
    "axis": {"gridColor": "#eee", "domainColor": "#999", "tickColor": "#999", "titleFontWeight": "normal"},
    "axisY": {"minExtent": 36, "tickCount": 5},
    "legend": {"titleFontWeight": "normal"},
}


def rounded(column: pd.Series) -> list[float]:
    """Sort the values of a column, each as the data of a figure have it.

    Example:
        >>> rounded(pd.Series([0.2, 0.1 + 0.2, 0.2]))
        [0.2, 0.3]
    """
    return sorted({float(_DIGITS % value) for value in column})


def colour_of(frame: pd.DataFrame, key: str) -> Any:
    """Give each value of a column its colour, dark to light, and up to twenty of them a line in the legend.

    Example:
        >>> colour_of(pd.DataFrame({"p": [0.2, 0.0]}), "p").to_dict()["scale"]["domain"]
        [0.0, 0.2]
    """
    if key not in frame:
        return alt.value(_ONE_COLOUR)
    values = rounded(frame[key])
    shown = [values[place] for place in evenly(len(values), _MOST_IN_LEGEND)]
    scale = alt.Scale(domain=values, range=_colours(len(values)))
    return alt.Color(f"{key}:O", scale=scale, legend=alt.Legend(title=key, values=shown, symbolOpacity=1))


def mean_marks(table: pd.DataFrame, x: alt.X, *, colour: Any, band: bool) -> list[alt.Chart]:
    """Draw means with their intervals, and what to show of them beneath the mouse.

    Args:
        table: mean, low, high and n, with the columns of x and colour.
        x: the horizontal axis.
        colour: of the curves.
        band: a line in a band; otherwise points with bars.

    Example:
        >>> rows = pd.DataFrame({"p": [0.0, 0.2], "mean": [1, 2], "low": [0, 1], "high": [2, 3], "n": 5})
        >>> [layer.mark.type for layer in mean_marks(rows, alt.X("p:Q"), colour=alt.value("black"), band=True)]
        ['area', 'line', 'circle']
    """
    base = alt.Chart(inline(table)).encode(x=x, color=colour)
    mean, low = (y_axis(name) for name in ("mean", "low"))
    hover = _hover(table, ("p", "lr", "epoch", "mean", "low", "high", "n"))
    spread = (base.mark_area(opacity=0.2) if band else base.mark_rule(strokeWidth=2)).encode(y=low, y2="high")
    line = base.mark_line(strokeWidth=1.8).encode(y=mean)
    points = base.mark_circle(size=60, opacity=0 if band else 1).encode(y=mean, tooltip=hover)
    return [*([spread] if table["low"].notna().any() else []), *([line] if band else []), points]


def replica_marks(values: pd.DataFrame, x: alt.X, *, colour: Any) -> alt.Chart:
    """Draw a faint point for each replica.

    Example:
        >>> replica_marks(pd.DataFrame({"p": [0.0], "value": [1.0]}), alt.X("p:Q"), colour=alt.value("black")).mark.type
        'circle'
    """
    hover = _hover(values, ("p", "lr", "seed", "value"))
    base = alt.Chart(inline(values)).mark_circle(size=18, opacity=0.25)
    return base.encode(x=x, y=y_axis("value"), color=colour, tooltip=hover)


def panel(layers: Sequence[alt.Chart], title: str) -> alt.LayerChart:
    """Put layers on top of each other, with a title in place of the vertical axis'.

    Example:
        >>> panel([alt.Chart().mark_point()], "test error (%)").title
        'test error (%)'
    """
    return alt.LayerChart(layer=list(layers), title=title, width=_WIDTH, height=_HEIGHT)


def page(
    rows: Sequence[Sequence[Any]],
    *,
    title: str,
    lines: Sequence[str],
    chosen_by: str | None = None,
    same_height: bool = False,
) -> alt.VConcatChart:
    """Set rows of panels below one another, under a title and a subtitle.

    Args:
        rows: of panels; with `chosen_by`, layered ones.
        title: of the page.
        lines: of the subtitle; empty ones are left out.
        chosen_by: column whose legend shows one value alone after a click on it.
        same_height: whether the panels of a row share their vertical scale.

    Example:
        >>> points = panel([alt.Chart().mark_point()], "test error (%)")
        >>> page([[points]], title="Hypercube", lines=["", "20 seeds"]).title.subtitle
        ['20 seeds']
    """
    heading = alt.TitleParams(text=title, subtitle=[line for line in lines if line], **_HEADING)
    if chosen_by:
        rows = _filtered(rows, chosen_by)
    scales = alt.Resolve(scale=alt.ScaleResolveMap(y="shared" if same_height else "independent"))
    beside = [alt.hconcat(*row, resolve=scales) for row in rows]
    return alt.vconcat(*beside, title=heading, spacing=24, config=_LOOK)


def y_axis(name: str) -> alt.Y:
    """Name what stands upwards; the panel's title says what it is."""
    axis = alt.Axis(format=_NUMBER)  # of a single value, the usual format shows too few digits
    return alt.Y(f"{name}:Q", title=None, axis=axis, scale=alt.Scale(zero=False, nice=False, padding=6))


def inline(table: pd.DataFrame) -> alt.InlineData:
    """Carry a table in the figure as comma-separated text: a third of the size of altair's records, and no limit.

    Example:
        >>> inline(pd.DataFrame({"p": [0.1], "mean": [1 / 3]})).values
        'p,mean\\n0.1,0.333333\\n'
    """
    kinds = {name: "number" if pd.api.types.is_numeric_dtype(table[name]) else "string" for name in table}
    text = table.to_csv(index=False, float_format=_DIGITS, lineterminator="\n")
    return alt.InlineData(values=text, format=alt.CsvDataFormat(parse=kinds, type="csv"))


def _hover(table: pd.DataFrame, names: Sequence[str]) -> list[alt.Tooltip]:
    """Show whole numbers in full."""
    return [
        alt.Tooltip(f"{name}:Q", format="d" if name in ("epoch", "seed", "n") else _NUMBER)
        for name in names
        if name in table
    ]


def _colours(number: int) -> list[str]:
    """Space colours evenly along viridis."""
    channels = np.array([[int(colour[place : place + 2], 16) for place in (1, 3, 5)] for colour in _VIRIDIS])
    at = np.linspace(0, len(_VIRIDIS) - 1, number)
    mixed = np.stack([np.interp(at, np.arange(len(_VIRIDIS)), channel) for channel in channels.T], axis=1)
    return ["#" + bytes(row).hex() for row in mixed.round().astype(np.uint8)]


def _filtered(rows: Sequence[Sequence[alt.LayerChart]], key: str) -> list[list[alt.LayerChart]]:
    """Let every panel follow the legend. One of them owns the choice: altair warns of a choice with many owners."""
    chosen = alt.selection_point(name="chosen", fields=[key], bind="legend")
    (first, *others), *below = [[_with_filter(chart, chosen) for chart in row] for row in rows]
    return [[first.add_params(chosen), *others], *below]


def _with_filter(chart: alt.LayerChart, chosen: alt.Parameter) -> alt.LayerChart:
    """Filter each layer: a filter around layers misses those that have data of their own."""
    filtered = chart.copy()
    filtered.layer = [layer.transform_filter(chosen) for layer in chart.layer]
    return filtered
