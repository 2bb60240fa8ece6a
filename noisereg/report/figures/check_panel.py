"""What a theorem predicts beside what was measured, as a panel."""

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import pandas as pd

from noisereg.report.figures import chart_parts
from noisereg.report.figures.panel import PanelSpec

_MOST_LARGE_POINTS = 30
_COLUMNS = ("x", "measured", "predicted", "low", "high")


def check_chart(spec: PanelSpec, checks: Sequence[Mapping[str, Any]]) -> alt.LayerChart:
    """Draw the measured points of a check with their intervals, and the predicted line.

    Args:
        spec: the panel; `check` is the id of the check.
        checks: as `noisereg.theory.Check.as_row` gives them.

    Raises:
        ValueError: if there is no such check, or it has no curve.

    Example:
        >>> curve = {"x_title": "h", "y_title": "norm", "x": [1, 2], "measured": [1.1, 1.9], "predicted": [1, 2]}
        >>> chart = check_chart(PanelSpec(title="T2", kind="check", check="T2"), [{"id": "T2", "curve": curve}])
        >>> [layer.mark.type for layer in chart.layer]
        ['circle', 'line']
    """
    curves = [check["curve"] for check in checks if check.get("id") == spec.check and check.get("curve")]
    if not curves:
        raise ValueError(f"panel {spec.title!r}: no check named {spec.check} has a curve")
    rows = pd.DataFrame({name: curves[0].get(name) or None for name in _COLUMNS}, dtype=float)
    x = _axis(alt.X, "x", curves[0], title="x_title", log=spec.log_x)
    y = {name: _axis(alt.Y, name, curves[0], title="y_title", log=spec.log) for name in _COLUMNS}
    colours = chart_parts.colours_by_name("what", ["measured", "predicted"], orient="bottom")
    base = alt.Chart(chart_parts.inline(rows)).encode(x=x, color=colours)
    measured, predicted = (base.transform_calculate(what=f"'{what}'") for what in ("measured", "predicted"))
    bar = measured.mark_rule(strokeWidth=2).encode(y=y["low"], y2="high")
    point = measured.mark_circle(size=45 if len(rows) <= _MOST_LARGE_POINTS else 12, opacity=1)
    hover = [alt.Tooltip(f"{name}:Q", format=chart_parts.NUMBER) for name in _COLUMNS]
    layers = [
        *([bar] if rows["low"].notna().any() else []),
        point.encode(y=y["measured"], tooltip=hover),
        predicted.mark_line(strokeWidth=1.8).encode(y=y["predicted"]),
    ]
    return chart_parts.layered(layers, spec.title)


def _axis(kind: type, name: str, curve: Mapping[str, Any], *, title: str, log: bool) -> Any:
    scale = alt.Scale(type="log", nice=False, padding=6) if log else alt.Scale(zero=False, nice=False, padding=6)
    axis = alt.Axis(format="~g" if log else chart_parts.NUMBER, tickCount=2 if log else 5, labelOverlap=True)
    return kind(f"{name}:Q", title=str(curve.get(title) or "") or None, axis=axis, scale=scale)
