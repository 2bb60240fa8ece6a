"""One metric against another at the end of training: a curve a method, a point for each of its strengths."""

import re
from typing import Any

import altair as alt
import pandas as pd

from noisereg.labels import label_of
from noisereg.report.claims.selection import have_diverged
from noisereg.report.figures import chart_parts
from noisereg.report.figures.panel import PanelSpec
from noisereg.statistics import CELL, mean_interval

_WIDTH, _HEIGHT = 420, 300
_STRENGTH = re.compile(r"_([^_]+)$")


def method_of(arm: str) -> tuple[str, str]:
    """Split the name of an arm into a method and its strength; "" if it has none.

    Example:
        >>> method_of("weight-decay_1e-3"), method_of("noise")
        (('weight-decay', '1e-3'), ('noise', ''))
    """
    found = _STRENGTH.search(arm)
    return (arm[: found.start()], found[1]) if found else (arm, "")


def tradeoff_points(replicas: pd.DataFrame, x: str, y: str) -> pd.DataFrame:
    """Compute the mean of two metrics for each method and strength, with 95 % t intervals over the seeds.

    Args:
        replicas: one row for each replica, at the end of training; one that diverged is left out.
        x: name of a column.
        y: name of another one.

    Returns:
        One row for each arm, p and learning rate, in the order they come in: method, strength (that of the arm, or p),
        and of both metrics the mean, low and high, in the units that are shown, and n.

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
    cells = [column for column in CELL if column in replicas]
    points = []
    for _, rows in replicas[~have_diverged(replicas)].groupby(cells, sort=False):
        first = rows.iloc[0]
        method, strength = method_of(str(first.get("arm", "p")))
        point: dict[str, Any] = {"method": method, "strength": strength or f"{first['p']:g}"}
        for name, column in (("x", x), ("y", y)):
            label = label_of(column)
            interval = mean_interval(label.factor * rows[column])
            low, high = label.factor * label.lowest, label.factor * label.highest
            point |= {
                name: interval.mean,
                f"{name}_low": max(interval.low, low),
                f"{name}_high": min(interval.high, high),
            }
        points.append({**point, "n": len(rows)})
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
    scale = alt.Scale(domain=methods, range=chart_parts.cycled(chart_parts.OKABE_ITO, len(methods)))
    legend = alt.Legend(title=None, orient="bottom", columns=4, symbolOpacity=1)
    axis = alt.Axis(format=chart_parts.NUMBER, tickCount=5)

    def place(name: str, kind: type, column: str, words: str) -> alt.X | alt.Y:
        title = words or label_of(column).title
        return kind(f"{name}:Q", title=title, axis=axis, scale=alt.Scale(zero=False, nice=False, padding=10))

    of_x, of_y = place("x", alt.X, x, spec.metrics[x]), place("y", alt.Y, y, spec.metrics[y])
    base = alt.Chart(chart_parts.inline(rows)).encode(color=alt.Color("method:N", scale=scale, legend=legend))
    hover = [alt.Tooltip(f"{name}:N") for name in ("method", "strength")]
    hover += [alt.Tooltip(f"{name}:Q", format=chart_parts.NUMBER) for name in ("x", "y", "n")]
    bars = [
        base.mark_rule(opacity=0.6).encode(x=place("x_low", alt.X, x, spec.metrics[x]), x2="x_high", y=of_y),
        base.mark_rule(opacity=0.6).encode(x=of_x, y=place("y_low", alt.Y, y, spec.metrics[y]), y2="y_high"),
    ]
    line = base.mark_line(strokeWidth=1.2, opacity=0.7).encode(x=of_x, y=of_y, order="place:Q")
    points = base.mark_circle(size=50, opacity=1).encode(x=of_x, y=of_y, tooltip=hover)
    words = base.mark_text(align="left", dx=6, dy=-6, fontSize=9).encode(x=of_x, y=of_y, text="strength:N")
    return chart_parts.layered([*bars, line, points, words], spec.title).properties(width=_WIDTH, height=_HEIGHT)
