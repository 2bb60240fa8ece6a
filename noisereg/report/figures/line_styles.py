"""How the lines of a figure are told apart: colours, dashes, their legends, and the choice a click in one makes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import pandas as pd

from noisereg.labels import in_words, label_of
from noisereg.report.figures import chart_parts
from noisereg.report.figures.panel_values import LINE_COLUMNS

_ON_A_SCALE = ("p", "lr")  # values of these have colours from dark to light
_DASHES = ([1, 0], [5, 3], [1.5, 2], [8, 3, 2, 3], [10, 2], [3, 6])
_SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down")
_LABEL_LIMIT = 200


@dataclass(frozen=True)
class LineStyle:
    """How the lines of the panels are told apart that differ in one column first.

    Args:
        key: the column that colours tell; empty if there is one line.
        values: rows of all those panels, as `name_lines` gives them.
        own: whether each panel has its own legend below, rather than the figure one on top.
        choice: what a click in the legend chooses; None without colours.

    Example:
        >>> rows = pd.DataFrame({"p": [0.0, 0.2], "x": 1, "mean": 1.0, "quantity": "error"})
        >>> LineStyle("p", name_lines(rows), own=False).colours().to_dict()["scale"]["domain"]
        [0.0, 0.2]
    """

    key: str
    values: pd.DataFrame
    own: bool
    choice: alt.Parameter | None = None

    def colours(self, rows: pd.DataFrame | None = None) -> Any:
        """Return the encoding of colours.

        Args:
            rows: of the panel, whose values alone its own legend has; by default those of all its panels.
        """
        if not self.key:
            return chart_parts.colour_of(self.values, "")
        place = self._place(self._drawn(self.key, rows))
        if self.key in _ON_A_SCALE:
            return chart_parts.colour_of(self.values, self.key, title=label_of(self.key).words, **place)
        names = list(dict.fromkeys(self.values[self.key]))
        return chart_parts.colours_by_name(self.key, names, labelLimit=_LABEL_LIMIT, **place)

    def beside(self) -> alt.XOffset:
        """Return the encoding that draws points of different colours beside one another."""
        values = self.values[self.key]
        domain = chart_parts.rounded(values) if self.key in _ON_A_SCALE else list(dict.fromkeys(values))
        return alt.XOffset(f"{self.key}:O", scale=alt.Scale(domain=domain))

    def dashes(self, rows: pd.DataFrame | None = None, *, of_points: bool) -> dict[str, Any]:
        """Return the encoding of what colour does not tell: dashes of lines, or shapes of points.

        Args:
            rows: of the panel, as of `colours`.
            of_points: whether there are no lines.
        """
        if "line" not in self.values or self.values["line"].nunique() < 2:
            return {}
        domain = list(dict.fromkeys(self.values["line"].dropna()))
        legend = alt.Legend(title=None, labelLimit=_LABEL_LIMIT, **self._place(self._drawn("line", rows)))
        scale = alt.Scale(domain=domain, range=list(_SHAPES if of_points else _DASHES))
        if of_points:
            return {"shape": alt.Shape("line:N", scale=scale, legend=legend)}
        return {"strokeDash": alt.StrokeDash("line:N", scale=scale, legend=legend)}

    def _drawn(self, column: str, rows: pd.DataFrame | None) -> pd.Series:
        """Return the values that a legend has: in one legend of all panels, those of all."""
        return self.values[column] if rows is None or not self.own else rows[column]

    def _place(self, drawn: pd.Series) -> dict[str, Any]:
        """Return where a legend stands and what it has."""
        if self.own:
            columns = 6 if pd.api.types.is_numeric_dtype(drawn) else 3
            return {"orient": "bottom", "columns": columns, **chart_parts.legend_values(drawn)}
        return {"orient": "top", "columns": 10, **chart_parts.legend_values(drawn)}


def name_lines(table: pd.DataFrame) -> pd.DataFrame:
    """Add a column `line` that names each line by what its colour does not tell.

    Example:
        >>> rows = pd.DataFrame({"p": [0.0, 0.2], "arm": ["hinge", "logistic"], "quantity": "W1"})
        >>> name_lines(rows)["line"].tolist()
        ['hinge', 'logistic']
    """
    names = _differing(table)[1:]
    if not names:
        return table
    words = (
        [f"{label_of(name).words} {in_words(value)}" if name in _ON_A_SCALE else str(value) for value in table[name]]
        for name in names
    )
    return table.assign(line=[", ".join(parts) for parts in zip(*words, strict=True)])


def choose_styles(tables: Sequence[pd.DataFrame], *, own: bool = False) -> list[LineStyle]:
    """Return how each panel tells its lines apart; the same value has the same colour in all of them.

    Args:
        tables: of the panels.
        own: whether each panel must have its own legend.

    Example:
        >>> rows = pd.DataFrame({"p": [0.0, 0.2], "quantity": "error"})
        >>> [style.own for style in choose_styles([rows, rows.assign(quantity=["W1", "W2"]), rows.drop(columns="p")])]
        [False, False, False]
    """
    keys = [next(iter(_differing(table)), "") for table in tables]
    together = {
        key: pd.concat([name_lines(table) for table, its in zip(tables, keys, strict=True) if its == key])
        for key in keys
    }
    own = own or len({key for key in keys if key}) > 1
    shared = _choice("chosen", next(filter(None, keys), ""))
    return [
        LineStyle(key, together[key], own, (_choice(f"chosen_{place}", key) if own else shared) if key else None)
        for place, key in enumerate(keys)
    ]


def _choice(name: str, key: str) -> alt.Parameter:
    return alt.selection_point(name=name, fields=[key], bind="legend")


def _differing(table: pd.DataFrame) -> list[str]:
    return [name for name in LINE_COLUMNS if name in table and table[name].nunique() > 1]
