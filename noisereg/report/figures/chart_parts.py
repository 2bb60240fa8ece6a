"""The parts that all panels are made of: data, colours, and the rows in which panels stand."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from noisereg.report.figures.panel_values import evenly_spaced

_VIRIDIS = ("#440154", "#414487", "#2a788e", "#22a884", "#7ad151")  # from 0 to 0.8: the rest is too faint on white
_OKABE_ITO = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
_ONE_COLOUR = _VIRIDIS[1]
_MOST_IN_LEGEND = 20
_DIGITS = "%.6g"
NUMBER = ",.6~r"  # six digits: of a single value, the usual format shows too few
WIDTH, _HEIGHT = 270, 180
_HEADING: dict[str, Any] = {"fontSize": 16, "subtitleFontSize": 12, "offset": 14}
_LOOK = {
    "view": {"stroke": None},
    "title": {"anchor": "start", "frame": "group", "fontWeight": "normal", "subtitleColor": "#555"},
    "axis": {
        "gridColor": "#eee",
        "domainColor": "#999",
        "tickColor": "#999",
        "titleFontWeight": "normal",
        "titleLimit": WIDTH,
    },
    "axisY": {"minExtent": 36, "tickCount": 5},
    "legend": {"titleFontWeight": "normal"},
}


def rounded(column: pd.Series) -> list[float]:
    """Return the values of a column in order, each as the data of a figure have it.

    Example:
        >>> rounded(pd.Series([0.2, 0.1 + 0.2, 0.2]))
        [0.2, 0.3]
    """
    return sorted({float(_DIGITS % value) for value in column})


def colour_of(frame: pd.DataFrame, key: str, *, title: str = "", **legend: Any) -> Any:
    """Return the colours of the values of a column, dark to light, and their legend.

    Example:
        >>> colour_of(pd.DataFrame({"p": [0.2, 0.0]}), "p").to_dict()["scale"]["domain"]
        [0.0, 0.2]
    """
    if key not in frame:
        return alt.value(_ONE_COLOUR)
    values = rounded(frame[key])
    scale = alt.Scale(domain=values, range=_colours(len(values)))
    shown = legend_values(frame[key]) | legend
    return alt.Color(f"{key}:O", scale=scale, legend=alt.Legend(title=title or key, symbolOpacity=1, **shown))


def colours_by_name(column: str, names: Sequence[str], **legend: Any) -> alt.Color:
    """Return a colour for each name in a column, from the first again after the last, and their legend.

    Example:
        >>> colours_by_name("arm", ["hinge", "logistic"], orient="bottom").to_dict()["scale"]["range"][:2]
        ['#0072b2', '#d55e00']
    """
    scale = alt.Scale(domain=list(names), range=list(_OKABE_ITO))
    return alt.Color(f"{column}:N", scale=scale, legend=alt.Legend(title=None, symbolOpacity=1, **legend))


def legend_values(column: pd.Series) -> dict[str, list[Any]]:
    """Return which values of a column have a line in a legend: each that is there, up to twenty.

    Example:
        >>> legend_values(pd.Series([0.2, 0.0, 0.2]))
        {'values': [0.0, 0.2]}
    """
    is_numeric = pd.api.types.is_numeric_dtype(column)
    values: list[Any] = rounded(column) if is_numeric else list(dict.fromkeys(column.dropna()))
    return {"values": [values[place] for place in evenly_spaced(len(values), _MOST_IN_LEGEND)]}


def layered(layers: Sequence[alt.Chart], title: str) -> alt.LayerChart:
    """Build a panel of layers on top of each other, with a title in place of the vertical axis'.

    Example:
        >>> layered([alt.Chart().mark_point()], "test error (%)").title
        'test error (%)'
    """
    return alt.LayerChart(layer=list(layers), title=title, width=WIDTH, height=_HEIGHT)


@dataclass(frozen=True)
class Figure:
    """A figure of panels, as Vega-Lite has it.

    Args:
        specification: of Vega-Lite, with its data.

    Example:
        >>> points = layered([alt.Chart().mark_point()], "test error (%)")
        >>> in_rows([[points]], title="Hypercube", lines=["20 seeds"]).to_altair().to_dict()["title"]["text"]
        'Hypercube'
    """

    specification: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return the specification."""
        return dict(self.specification)

    def to_altair(self) -> alt.VConcatChart:
        """Return a chart of altair, to change it, or to save it in other formats."""
        return alt.VConcatChart.from_dict(self.to_dict(), validate=False)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        """Return what a notebook shows."""
        return {f"application/vnd.vegalite.{alt.SCHEMA_VERSION.partition('.')[0]}+json": self.to_dict()}


def in_rows(
    rows: Sequence[Sequence[Any]],
    *,
    title: str,
    lines: Sequence[str],
    apart: Sequence[str] = ("xOffset",),
    same_heights: Sequence[bool] = (),
) -> Figure:
    """Build a figure of rows of panels, under a title and a subtitle.

    It is put together of the panels' specifications: altair copies and checks each panel many times over.

    Args:
        rows: of panels.
        title: of the figure.
        lines: of the subtitle; empty ones are left out.
        apart: the scales that each panel has for itself, beside the vertical one.
        same_heights: of each row, whether its panels share the vertical scale; by default none does.

    Example:
        >>> points = layered([alt.Chart().mark_point()], "test error (%)")
        >>> in_rows([[points]], title="Hypercube", lines=["", "20 seeds"]).to_dict()["title"]["subtitle"]
        ['20 seeds']
    """
    own = dict.fromkeys(apart, "independent")
    datasets: dict[str, Any] = {}
    choices: list[Any] = []
    parts = []
    for row, is_same in zip(rows, same_heights or [False] * len(rows), strict=True):
        panels = [panel.to_dict(validate=False) for panel in row]
        for panel in panels:
            panel.pop("$schema"), panel.pop("config")
            datasets |= panel.pop("datasets", {})
            choices += panel.pop("params", [])
        scales = {"y": "shared" if is_same else "independent", **own}
        parts.append({"hconcat": panels, "resolve": {"scale": scales}})
    heading = {"text": title, "subtitle": [line for line in lines if line], **_HEADING}
    figure = {"$schema": alt.SCHEMA_URL, "config": _LOOK, "title": heading, "spacing": 24, "vconcat": parts}
    figure |= {"resolve": {"scale": own}, "datasets": datasets}
    return Figure(figure | ({"params": choices} if choices else {}))


def inline(table: pd.DataFrame) -> alt.InlineData:
    """Return a table as comma-separated text that a figure carries: a third of the size of altair's records.

    Example:
        >>> inline(pd.DataFrame({"p": [0.1], "mean": [1 / 3]})).values
        'p,mean\\n0.1,0.333333\\n'
    """
    kinds = {name: "number" if pd.api.types.is_numeric_dtype(table[name]) else "string" for name in table}
    text = table.to_csv(index=False, float_format=_DIGITS, lineterminator="\n")
    return alt.InlineData(values=text, format=alt.CsvDataFormat(parse=kinds, type="csv"))


def _colours(number: int) -> list[str]:
    """Return colours at even distances along viridis."""
    channels = np.array([[int(colour[place : place + 2], 16) for place in (1, 3, 5)] for colour in _VIRIDIS])
    at = np.linspace(0, len(_VIRIDIS) - 1, number)
    mixed = np.stack([np.interp(at, np.arange(len(_VIRIDIS)), channel) for channel in channels.T], axis=1)
    return ["#" + bytes(row).hex() for row in mixed.round().astype(np.uint8)]
