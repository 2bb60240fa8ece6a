"""The features of three classes on the plane through the templates of their classes: how tight their clusters are."""

from collections.abc import Sequence

import altair as alt
import numpy as np
import pandas as pd

from noisereg.report.figures import chart_parts
from noisereg.report.groups.naming import AnalysedNetwork, networks_by_name

_SIDE = 195  # of a panel, in pixels
_MARGIN = 0.05  # around all points, as a share of the side


def plane_rows(analysis: AnalysedNetwork, split: str) -> pd.DataFrame:
    """List the projected samples of a split, train or test, and the templates of the three classes.

    Returns:
        One row for each sample and, last, each template: x, y, class (its name, or its number), and template, which is
        1 for a template.

    Raises:
        ValueError: if the network's features were not projected.

    Example:
        >>> arrays = {"plane_classes": [0, 1, 3], "plane_templates": [[0, 1], [1, 0], [1, 1]],
        ...           "plane_test_points": [[0.5, 0.5]], "plane_test_labels": [3]}
        >>> plane_rows(AnalysedNetwork({}, arrays, classes=("plane", "car", "bird", "cat")), "test")["class"].tolist()
        ['cat', 'plane', 'car', 'cat']

    Source: R. Müller, S. Kornblith, G. Hinton, "When does label smoothing help?", 2019, section 2.
    """
    names = ("plane_classes", "plane_templates", f"plane_{split}_points", f"plane_{split}_labels")
    if missing := [name for name in names if name not in analysis.arrays]:
        raise ValueError(f"its analysis.npz has no {missing[0]}")
    classes, templates, points, labels = (np.asarray(analysis.arrays[name]) for name in names)
    x, y = np.concatenate([points.reshape(-1, 2), templates.reshape(-1, 2)]).T
    named = dict(enumerate(analysis.classes))
    called = [named.get(int(label), str(label)) for label in np.concatenate([labels, classes])]
    kind = np.repeat([0, 1], [len(labels), len(classes)])
    return pd.DataFrame({"x": x, "y": y, "class": called, "template": kind})


def plane_charts(title: str, analyses: Sequence[AnalysedNetwork], *, split: str) -> list[alt.LayerChart]:
    """Draw a small panel for each arm or p, of the network with the first seed.

    Samples are points, coloured by class; templates are crosses. Both axes have the same unit. The title has the
    within-class over the between-class scatter of that network, where it was measured.

    Example:
        >>> arrays = {"plane_classes": [0, 1, 3], "plane_templates": [[0, 1], [1, 0], [1, 1]],
        ...           "plane_test_points": [[0.5, 0.5]], "plane_test_labels": [3]}
        >>> networks = [AnalysedNetwork({"p": p, "seed": 0, "test/tightness": 0.25 - p}, arrays) for p in (0.0, 0.1)]
        >>> [chart.title for chart in plane_charts("plane", networks, split="test")]
        ['plane, p = 0: tightness 0.25', 'plane, p = 0.1: tightness 0.15']
    """
    charts = []
    for words, group in networks_by_name(analyses).items():
        first = min(group, key=lambda analysis: analysis.replica.get("seed", 0))
        tightness = first.replica.get(f"{split}/tightness")
        measured = f": tightness {tightness:.3g}" if tightness is not None and not pd.isna(tightness) else ""
        charts.append(_chart(plane_rows(first, split), ", ".join(filter(None, [title, words])) + measured))
    return charts


def _chart(rows: pd.DataFrame, title: str) -> alt.LayerChart:
    classes = rows.loc[rows["template"] == 1, "class"].tolist()
    colour = chart_parts.colours_by_name("class", classes, orient="bottom")
    x, y = _axes(rows)
    samples, templates = (rows[rows["template"] == kind] for kind in (0, 1))
    points = alt.Chart(chart_parts.inline(samples)).mark_circle(size=10, opacity=0.5).encode(x=x, y=y, color=colour)
    cross = alt.Chart(chart_parts.inline(templates)).encode(
        x=x, y=y, tooltip=alt.Tooltip("class:N", title="template of")
    )
    edge = cross.mark_point(shape="cross", size=90, filled=True, opacity=1, color="black")
    inner = cross.mark_point(shape="cross", size=40, filled=True, opacity=1).encode(color=colour)
    return chart_parts.layered([points, edge, inner], title).properties(width=_SIDE, height=_SIDE)


def _axes(rows: pd.DataFrame) -> tuple[alt.X, alt.Y]:
    """Let both axes be as long in the plane's unit."""
    low, high = (rows[["x", "y"]].agg(end).to_numpy(dtype=float) for end in ("min", "max"))
    half = (0.5 + _MARGIN) * float((high - low).max() or 1)
    middle = (low + high) / 2
    axis = alt.Axis(format=chart_parts.NUMBER, tickCount=4, grid=False)
    scales = [alt.Scale(domain=[float(place - half), float(place + half)], nice=False) for place in middle]
    return alt.X("x:Q", title=None, axis=axis, scale=scales[0]), alt.Y("y:Q", title=None, axis=axis, scale=scales[1])
