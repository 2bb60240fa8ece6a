"""How the lines of a figure are told apart: colours, dashes, their legends, and the choice a click in one makes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import pandas as pd

from noisereg.report import drawing

_ORDER = ("p", "lr", "arm", "quantity")  # the first that differs is told by colour
_NAMES = {"p": "p", "lr": "learning rate"}
OKABE_ITO = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
_DASHES = ([1, 0], [5, 3], [1.5, 2], [8, 3, 2, 3], [10, 2], [3, 6])
_SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down")
_LABEL_LIMIT = 200


@dataclass(frozen=True)
class Look:
    """How the lines of the panels are told apart that differ in one column first.

    Args:
        key: the column that colours tell; empty if there is one line.
        values: rows of all those panels, as `labelled` gives them.
        own: whether each panel has its own legend below, rather than the figure one beside.
        choice: what a click in the legend chooses; None without colours.

    Example:
        >>> rows = pd.DataFrame({"p": [0.0, 0.2], "x": 1, "mean": 1.0, "quantity": "error"})
        >>> Look("p", labelled(rows), own=False).colour().to_dict()["scale"]["domain"]
        [0.0, 0.2]
    """

    key: str
    values: pd.DataFrame
    own: bool
    choice: alt.Parameter | None = None

    def colour(self) -> Any:
        """Give the encoding of colours."""
        if not self.key:
            return drawing.colour_of(self.values, "")
        if self.key in _NAMES:
            found = drawing.colour_of(self.values, self.key).to_dict()
            legend = alt.Legend(**{**found["legend"], "title": _NAMES[self.key]}, **self._place())
            return alt.Color(f"{self.key}:O", scale=alt.Scale(**found["scale"]), legend=legend)
        domain = list(dict.fromkeys(self.values[self.key]))
        scale = alt.Scale(domain=domain, range=cycled(OKABE_ITO, len(domain)))
        legend = alt.Legend(title=None, symbolOpacity=1, labelLimit=_LABEL_LIMIT, **self._place())
        return alt.Color(f"{self.key}:N", scale=scale, legend=legend)

    def beside(self) -> alt.XOffset:
        """Give the encoding that sets points of different colours beside one another."""
        values = self.values[self.key]
        domain = drawing.rounded(values) if self.key in _NAMES else list(dict.fromkeys(values))
        return alt.XOffset(f"{self.key}:O", scale=alt.Scale(domain=domain))

    def dash(self, *, of_points: bool) -> dict[str, Any]:
        """Give the encoding of what colour does not tell: dashes of lines, or shapes of points."""
        if "line" not in self.values or self.values["line"].nunique() < 2:
            return {}
        domain = list(dict.fromkeys(self.values["line"].dropna()))
        legend = alt.Legend(title=None, labelLimit=_LABEL_LIMIT, **self._place())
        if of_points:
            scale = alt.Scale(domain=domain, range=cycled(_SHAPES, len(domain)))
            return {"shape": alt.Shape("line:N", scale=scale, legend=legend)}
        scale = alt.Scale(domain=domain, range=cycled(_DASHES, len(domain)))
        return {"strokeDash": alt.StrokeDash("line:N", scale=scale, legend=legend)}

    def _place(self) -> dict[str, Any]:
        return {"orient": "bottom", "columns": 3} if self.own else {}


def labelled(table: pd.DataFrame) -> pd.DataFrame:
    """Name each line by what its colour does not tell.

    Example:
        >>> rows = pd.DataFrame({"p": [0.0, 0.2], "arm": ["hinge", "logistic"], "quantity": "W1"})
        >>> labelled(rows)["line"].tolist()
        ['hinge', 'logistic']
    """
    names = _differing(table)[1:]
    if not names:
        return table
    words = ([_in_words(name, value) for value in table[name]] for name in names)
    return table.assign(line=[", ".join(parts) for parts in zip(*words, strict=True)])


def looks_of(tables: Sequence[pd.DataFrame], *, own: bool = False) -> list[Look]:
    """Choose how each panel tells its lines apart; the same value has the same colour in all of them.

    Args:
        tables: of the panels.
        own: whether each panel must have its own legend.

    Example:
        >>> rows = pd.DataFrame({"p": [0.0, 0.2], "quantity": "error"})
        >>> [look.own for look in looks_of([rows, rows.assign(quantity=["W1", "W2"]), rows.drop(columns="p")])]
        [False, False, False]
    """
    keys = [next(iter(_differing(table)), "") for table in tables]
    together = {
        key: pd.concat([labelled(table) for table, its in zip(tables, keys, strict=True) if its == key]) for key in keys
    }
    own = own or len({key for key in keys if key}) > 1
    shared = _choice("chosen", next(filter(None, keys), ""))
    return [
        Look(key, together[key], own, (_choice(f"chosen_{place}", key) if own else shared) if key else None)
        for place, key in enumerate(keys)
    ]


def _choice(name: str, key: str) -> alt.Parameter:
    return alt.selection_point(name=name, fields=[key], bind="legend")


def _differing(table: pd.DataFrame) -> list[str]:
    return [name for name in _ORDER if name in table and table[name].nunique() > 1]


def _in_words(name: str, value: Any) -> str:
    return f"{_NAMES[name]} {value:g}" if name in _NAMES else str(value)


def cycled(values: Sequence[Any], number: int) -> list[Any]:
    """Give so many values, from the first again after the last.

    Example:
        >>> cycled(("circle", "square"), 3)
        ['circle', 'square', 'circle']
    """
    return [values[place % len(values)] for place in range(number)]
