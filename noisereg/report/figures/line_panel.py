"""One panel of lines with bands, or of points with bars, over training or against a quantity."""

import math
from collections.abc import Callable
from typing import Any

import altair as alt
import pandas as pd

from noisereg.labels import label_of
from noisereg.report.figures import chart_parts
from noisereg.report.figures.line_styles import LineStyle, name_lines
from noisereg.report.figures.panel import PanelSpec
from noisereg.report.figures.panel_values import LINE_COLUMNS

_FEWEST_FOR_A_BAND = 3  # places; between two, a band would say more than is known
FEWEST_FOR_AN_INTERVAL = 3  # replicas; of two it is 9 standard deviations wide either side, and the two say more
_MOST_TICKS = 5
_FEWEST_BELOW_EACH_OTHER = 5  # layers, each of which has a row with its values
_MOST_WITH_VALUES = 4  # lines whose values stand beside a row, as a table
_ROW, _CELL = 16, 38  # height of a row and width of a value, in dots
_NAMES_ITSELF = ("arm", "metric")  # along an axis
_FEW_PLACES = 8  # each has its tick
_WHOLE = ("seed", "n", "replicas")
_WITHOUT_A_LINE = ("points", "scatter", "rows")
_GREY = "#666"
Place = Callable[..., dict[str, Any]]


def line_chart(spec: PanelSpec, table: pd.DataFrame, *, style: LineStyle, singles: pd.DataFrame) -> alt.LayerChart:
    """Draw a panel of lines or points.

    Args:
        spec: the panel.
        table: its means, as `noisereg.report.figures.panel_values.panel_means` gives them.
        style: how its lines are told apart.
        singles: values of single replicas, drawn faintly; may be empty.

    Example:
        >>> from noisereg.report.figures.line_styles import choose_styles
        >>> rows = pd.DataFrame({"x": [0, 1], "quantity": "W1", "mean": [1, 2], "low": [0, 1], "high": [2, 3], "n": 5})
        >>> (style,) = choose_styles([rows])
        >>> spec = PanelSpec(title="norm", metrics={"norm/hidden": "W1"}, lines=[{"label": "start", "value": 1}])
        >>> chart = line_chart(spec, rows, style=style, singles=rows[:0])
        >>> [layer.mark.type for layer in chart.layer]
        ['rule', 'text', 'area', 'line', 'circle']
    """
    if "replicas" in table and (table["n"] == table["replicas"]).all():
        table = table.drop(columns="replicas")
    rows = _drawable(spec, name_lines(table))
    rows = rows.assign(**{end: rows[end].where(rows["n"] >= FEWEST_FOR_AN_INTERVAL) for end in ("low", "high")})
    if "quantity" in rows and rows["quantity"].nunique() == 1:  # which the title names
        rows, singles = rows.drop(columns="quantity"), singles.drop(columns="quantity", errors="ignore")
    if spec.log and len(singles):
        singles = singles[singles["value"] > 0]
    form = _form(spec, rows)
    place, value = ("y", "x") if form == "rows" else ("x", "y")
    along: dict[str, Any] = {place: _place_axis(spec, rows, form=form)}
    at = _value_axis(spec, rows, channel=value)
    base = alt.Chart(chart_parts.inline(rows)).encode(**along, color=style.colours(rows))
    if "line" in rows:
        base = base.encode(detail=alt.Detail("line:N"))
    if style.key and form == "points":
        base = base.encode(xOffset=style.beside())
    if style.choice:  # of each layer: a filter around layers misses those that have data of their own
        base = base.transform_filter(style.choice)
    marks = [
        *([_single_marks(base, singles, at=at)] if len(singles) else []),
        *([_spread(base, rows, form=form, at=at)] if rows["low"].notna().any() else []),
        *_means(base, rows, form=form, style=style, at=at),
        *([_extremes(base, rows, mark=spec.mark, at=at)] if spec.mark else []),
        *(_values_beside(base, rows, style=style) if form == "rows" else []),
    ]
    if form != "rows":
        return chart_parts.layered([*_reference(spec, value, at), *marks], spec.title)
    ends = rows.groupby("x", sort=False)["mean"].agg(least="min", greatest="max").reset_index()
    joined = alt.Chart(chart_parts.inline(ends)).mark_rule(strokeWidth=3, color="#ccc")
    joined = joined.encode(**along, **at("least", "greatest"))
    chart = chart_parts.layered([*_reference(spec, value, at), joined, *marks], spec.title)
    return chart.properties(height=_ROW * len(ends))


def _form(spec: PanelSpec, rows: pd.DataFrame) -> str:
    """Choose between a line in a band, points with bars, points alone, and a row of points for each layer."""
    places = rows["x"].nunique()
    if spec.kind == "scatter":
        return "scatter"
    if places > 1 and spec.kind == "curves":
        return "band"
    if _is_numeric(rows):
        return "band" if places >= _FEWEST_FOR_A_BAND else "points"
    return "rows" if spec.along == "metric" and places >= _FEWEST_BELOW_EACH_OTHER else "points"


def _drawable(spec: PanelSpec, rows: pd.DataFrame) -> pd.DataFrame:
    """Leave out what a logarithmic axis cannot show; a band that reaches below zero goes down to the axis."""
    if spec.log_x and spec.kind == "curves":
        rows = rows[rows["x"] > 0]
    if spec.log:
        rows = rows[rows["mean"] > 0]
        ends = rows[["low", "mean"]]
        rows = rows.assign(floor=rows["low"].clip(lower=ends.where(ends > 0).min().min()))
    if rows.empty:
        raise ValueError(f"panel {spec.title!r} has no value above zero for its logarithmic axis")
    return rows


def _means(base: alt.Chart, rows: pd.DataFrame, *, form: str, style: LineStyle, at: Place) -> list[alt.Chart]:
    by_line = style.dashes(rows, of_points=form in _WITHOUT_A_LINE) if "line" in rows else {}
    hover = _hover(rows)
    if form in _WITHOUT_A_LINE:
        return [base.mark_point(size=60, filled=True, opacity=1).encode(**at("mean"), tooltip=hover, **by_line)]
    line = base.mark_line(strokeWidth=1.8).encode(**at("mean"), **by_line)
    return [line, base.mark_circle(size=60, opacity=0).encode(**at("mean"), tooltip=hover)]


def _extremes(base: alt.Chart, rows: pd.DataFrame, *, mark: str, at: Place) -> alt.Chart:
    """Mark the point of each line where its mean is lowest, or highest."""
    names = [column for column in LINE_COLUMNS if column in rows]
    ordered = rows.sort_values(["mean", "x"], ascending=[mark == "lowest", True], kind="stable")
    marks = base.mark_point(shape="diamond", size=90, filled=True, opacity=1, stroke="black", strokeWidth=1)
    marks.data = chart_parts.inline(ordered.drop_duplicates(names) if names else ordered.head(1))
    return marks.encode(**at("mean"), tooltip=_hover(rows))


def _spread(base: alt.Chart, rows: pd.DataFrame, *, form: str, at: Place) -> alt.Chart:
    marks = {"band": base.mark_area(opacity=0.2), "rows": base.mark_rule(strokeWidth=1.5, opacity=0.5)}
    return marks.get(form, base.mark_rule(strokeWidth=2)).encode(**at("floor" if "floor" in rows else "low", "high"))


def _single_marks(base: alt.Chart, singles: pd.DataFrame, *, at: Place) -> alt.Chart:
    marks = base.mark_circle(size=18, opacity=0.25)
    marks.data = chart_parts.inline(singles)
    return marks.encode(**at("value"), tooltip=_hover(singles))


def _values_beside(base: alt.Chart, rows: pd.DataFrame, *, style: LineStyle) -> list[alt.Chart]:
    """Write the means beside the rows, a column for each of a few lines."""
    names = list(dict.fromkeys(rows[style.key])) if style.key else [None]
    if "line" in rows or len(names) > _MOST_WITH_VALUES:
        return []
    columns = []
    for number, name in enumerate(names, start=1):
        values = base.mark_text(align="right", fontSize=9)
        values.data = chart_parts.inline(rows if name is None else rows[rows[style.key] == name])
        right = alt.value(chart_parts.WIDTH + number * _CELL)
        columns.append(values.encode(x=right, text=alt.Text("mean:Q", format=",.4~r")))
    return columns


def _reference(spec: PanelSpec, channel: str, at: Place) -> list[alt.Chart]:
    """Draw values that the panel names across it, along the axis of the values."""
    if not spec.lines:
        return []
    if unknown := [line.label for line in spec.lines if isinstance(line.value, dict)]:
        raise ValueError(f"panel {spec.title!r}: the value of the line {unknown[0]!r} is yet to be computed")
    rows = pd.DataFrame([{"value": line.value, "label": line.label} for line in spec.lines])
    if spec.log and rows["value"].min() <= 0:
        raise ValueError(
            f"panel {spec.title!r}: lines on a logarithmic axis must lie above 0, got {rows['value'].min():g}"
        )
    base = alt.Chart(chart_parts.inline(rows)).encode(**at("value"))
    if channel == "x":
        words = base.mark_text(align="left", baseline="top", dx=2, color=_GREY).encode(
            y=alt.value(0), text=alt.Text("label:N")
        )
    else:
        words = base.mark_text(align="right", baseline="bottom", dx=-2, dy=-2, color=_GREY, limit=chart_parts.WIDTH)
        words = words.encode(x=alt.value("width"), text=alt.Text("label:N"))
    return [base.mark_rule(strokeDash=[4, 3], color=_GREY), words]


def _place_axis(spec: PanelSpec, rows: pd.DataFrame, *, form: str) -> alt.X | alt.Y:
    """Return the axis along which the means stand; names, and the few places of points, have the same room each."""
    if _is_numeric(rows) and form != "points":
        return _x_axis(spec, rows)
    places = chart_parts.rounded(rows["x"]) if _is_numeric(rows) else list(dict.fromkeys(rows["x"]))
    if form == "rows":
        return alt.Y("x:O", title=None, axis=alt.Axis(labelLimit=160, grid=True), scale=alt.Scale(domain=places))
    axis = alt.Axis(labelAngle=0 if _is_numeric(rows) else -40, labelLimit=160)
    return alt.X("x:O", title=_x_title(spec), axis=axis, scale=alt.Scale(domain=places))


def _x_axis(spec: PanelSpec, rows: pd.DataFrame) -> alt.X:
    whole = spec.along in ("epoch", "step")
    ticks: dict[str, Any] = {"tickCount": 4}
    if spec.kind == "end" and rows["x"].nunique() <= _FEW_PLACES:
        ticks = {"values": chart_parts.rounded(rows["x"])}
    elif whole and not spec.log_x:
        ticks = {"values": _whole_ticks(float(rows["x"].min()), float(rows["x"].max()))}
    digits = ",d" if whole else ".6~g"  # of a format that names none, Vega takes what its own ticks need: 0.1 for 0.15
    axis = alt.Axis(grid=False, format=digits, labelOverlap=True, **ticks)
    return alt.X("x:Q", title=_x_title(spec), axis=axis, scale=_x_scale(spec, rows))


def _whole_ticks(low: float, high: float) -> list[int]:
    """Return a few whole numbers from low to high, at even distances of 1, 2 or 5 times a power of ten."""
    least = max(1.0, (high - low) / _MOST_TICKS)
    decade = 10 ** math.floor(math.log10(least))
    step = next(int(factor * decade) for factor in (1, 2, 5, 10) if factor * decade >= least)
    return list(range(math.ceil(low / step) * step, math.floor(high) + 1, step))


def _x_title(spec: PanelSpec) -> str | None:
    return None if spec.along in _NAMES_ITSELF else label_of(spec.along).title


def _x_scale(spec: PanelSpec, rows: pd.DataFrame) -> alt.Scale:
    padding = 0 if spec.kind == "curves" else 8
    above = rows["x"][rows["x"] > 0]
    if spec.log_x and len(above) == len(rows):
        return alt.Scale(type="log", nice=False, padding=padding)
    if spec.log_x and len(above):  # p = 0 has a place too
        return alt.Scale(type="symlog", constant=float(above.min()), nice=False, padding=padding)
    return alt.Scale(nice=False, zero=False, padding=padding)


def _value_axis(spec: PanelSpec, rows: pd.DataFrame, *, channel: str) -> Place:
    """Return what encodes the column of a value on its axis, and that of another end of it."""
    axis = alt.Axis(format=chart_parts.NUMBER, labelOverlap=True, grid=channel == "y")
    if spec.log and channel == "y":
        decades = math.log10(rows["mean"].max()) - math.log10(rows["floor"].fillna(rows["mean"]).min())
        axis = alt.Axis(format="~g", labelOverlap=True, tickCount=int(min(5, max(1, decades))))
    scale = alt.Scale(type="log" if spec.log else "linear", zero=False, nice=False, padding=6)
    kind, kind_of_end = (alt.X, alt.X2) if channel == "x" else (alt.Y, alt.Y2)

    def at(column: str, end: str = "") -> dict[str, Any]:
        encoded = {channel: kind(f"{column}:Q", title=None, axis=axis, scale=scale)}
        return {**encoded, f"{channel}2": kind_of_end(end)} if end else encoded

    return at


def _hover(table: pd.DataFrame) -> list[alt.Tooltip]:
    """Name what is beneath the mouse."""
    shown = {name: label_of(name).words for name in ("x", "p", "lr", "arm", "quantity", "seed", "value", "mean")}
    shown |= {"low": "95 % from", "high": "to", "n": "n", "replicas": "of"}
    return [
        alt.Tooltip(f"{name}:Q", title=title, format="d" if name in _WHOLE else chart_parts.NUMBER)
        if pd.api.types.is_numeric_dtype(table[name])
        else alt.Tooltip(f"{name}:N", title=title)
        for name, title in shown.items()
        if name in table
    ]


def _is_numeric(rows: pd.DataFrame) -> bool:
    return bool(pd.api.types.is_numeric_dtype(rows["x"]))
