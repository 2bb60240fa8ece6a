"""One metric against another at the end of training: a curve a method, a point for each of its strengths."""

import re
from typing import Any

import altair as alt
import pandas as pd

from noisereg.labels import in_words, label_of
from noisereg.report.figures import chart_parts
from noisereg.report.figures.panel import PanelSpec
from noisereg.runs.summary import have_diverged
from noisereg.statistics import CELL, mean_interval

_WIDTH, _HEIGHT = 420, 300
_STRENGTH = re.compile(r"_([^_]+)$")


def split_by_strength(replicas: pd.DataFrame) -> list[tuple[str, str, pd.DataFrame]]:
    """Return the method, the strength and the rows of each arm, p and learning rate, without what diverged.

    An arm is called method_strength; the strength of one that names none is p.

    Example:
        >>> rows = pd.DataFrame({"arm": ["weight-decay_1e-3", "noise"], "p": [0.0, 0.2], "seed": 0})
        >>> [(method, strength, len(own)) for method, strength, own in split_by_strength(rows)]
        [('weight-decay', '1e-3', 1), ('noise', '0.2', 1)]
    """
    parts = []
    for _, rows in replicas[~have_diverged(replicas)].groupby([name for name in CELL if name in replicas], sort=False):
        arm = str(rows["arm"].iloc[0]) if "arm" in rows else "p"
        named = _STRENGTH.search(arm)
        method = arm[: named.start()] if named else arm
        parts.append((method, named[1] if named else in_words(rows["p"].iloc[0]), rows))
    return parts


def tradeoff_points(replicas: pd.DataFrame, x: str, y: str) -> pd.DataFrame:
    """Compute the mean of two metrics for each method and strength, with 95 % t intervals over the seeds.

    Returns:
        One row for each arm, p and learning rate, in the order they come in: method, strength (that of the arm, or p),
        and of both metrics the mean, low and high, in the units that are shown, and n, the fewer values of the two.

    Raises:
        ValueError: if a metric is no column.

    Example:
        >>> rows = pd.DataFrame({"arm": ["l1_0.1", "l1_0.1", "noise"], "p": [0, 0, 0.2], "seed": [0, 1, 0],
        ...                      "train/active_neurons": [10.0, 20.0, 30.0], "test/error": [0.1, 0.3, 0.2]})
        >>> tradeoff_points(rows, "train/active_neurons", "test/error")[["method", "strength", "x", "y", "n"]]
          method strength     x     y  n
        0     l1      0.1  15.0  20.0  2
        1  noise      0.2  30.0  20.0  1
    """
    if missing := [column for column in (x, y) if column not in replicas]:
        raise ValueError(f"no replica has the column {missing[0]}")
    points = []
    for method, strength, rows in split_by_strength(replicas):
        point: dict[str, Any] = {"method": method, "strength": strength}
        for name, column in (("x", x), ("y", y)):
            mean, low, high, n = mean_interval(rows[column])
            cut = label_of(column).cut
            point |= {name: cut(mean), f"{name}_low": cut(low), f"{name}_high": cut(high)}
            point["n"] = min(n, point.get("n", n))
        points.append(point)
    return pd.DataFrame(points)


def tradeoff_chart(spec: PanelSpec, replicas: pd.DataFrame) -> alt.LayerChart:
    """Draw the curve of each method, with bars in both directions.

    Raises:
        ValueError: if a metric is no column, or no replica is selected.
    """
    x, y = spec.metrics
    rows = tradeoff_points(spec.selected.rows(replicas), x, y)
    rows["place"] = range(len(rows))
    methods = list(dict.fromkeys(rows["method"]))
    colours = chart_parts.colours_by_name("method", methods, orient="bottom", columns=4)
    axis, scale = alt.Axis(format=chart_parts.NUMBER, tickCount=5), alt.Scale(zero=False, nice=False, padding=10)
    places: dict[str, Any] = {
        name: kind(f"{name}:Q", title=spec.metrics[column] or label_of(column).title, axis=axis, scale=scale)
        for kind, column, names in ((alt.X, x, ("x", "x_low")), (alt.Y, y, ("y", "y_low")))
        for name in names
    }
    base = alt.Chart(chart_parts.inline(rows)).encode(x=places["x"], y=places["y"], color=colours)
    hover = [alt.Tooltip(f"{name}:N") for name in ("method", "strength")]
    hover += [alt.Tooltip(f"{name}:Q", format=chart_parts.NUMBER) for name in ("x", "y", "n")]
    bars = [
        base.mark_rule(opacity=0.6).encode(x=places["x_low"], x2="x_high"),
        base.mark_rule(opacity=0.6).encode(y=places["y_low"], y2="y_high"),
    ]
    line = base.mark_line(strokeWidth=1.2, opacity=0.7).encode(order="place:Q")
    points = base.mark_circle(size=50, opacity=1).encode(tooltip=hover)
    words = base.mark_text(align="left", dx=6, dy=-6, fontSize=9).encode(text="strength:N")
    return chart_parts.layered([*bars, line, points, words], spec.title).properties(width=_WIDTH, height=_HEIGHT)
