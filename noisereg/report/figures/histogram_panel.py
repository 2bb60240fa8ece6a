"""How often single neurons fired for each class, as small bar charts: figure 6 of the paper."""

import altair as alt
import numpy as np
import pandas as pd

from noisereg.report.figures import chart_parts

_COLUMNS = 6
_WIDTH, _HEIGHT = 62, 40
_BAR, _ASSOCIATED = "#7f8fa6", "#d62728"
_CHOICE = 0  # seed of the choice of neurons: the same ones whenever the page is made


def histogram_rows(fires: np.ndarray, neurons: int) -> pd.DataFrame:
    """Choose neurons at random, and list how often each fired for each class.

    Args:
        fires: how often each hidden neuron fired for each class, (classes, hidden).
        neurons: how many are chosen; all if there are fewer.

    Returns:
        One row for each chosen neuron and class: neuron (from 1, in the order they were drawn), unit (its place in
        the layer), class, fires, and whether the neuron is associated with the class: it fires for it at least twice as
        often as for any other.

    Example:
        >>> rows = histogram_rows(np.array([[4], [2]]), neurons=30)
        >>> rows[["class", "fires", "associated"]].values.tolist()
        [[0, 4, True], [1, 2, False]]

    Source: appendix F of the paper.
    """
    units = np.random.default_rng(_CHOICE).permutation(fires.shape[1])[:neurons]
    counts = fires[:, units].T
    marked = _associated(counts)[:, None] & (np.arange(len(fires)) == counts.argmax(axis=1)[:, None])
    neuron, number = np.indices(counts.shape)
    return pd.DataFrame(
        {
            "neuron": neuron.ravel() + 1,
            "unit": units[neuron.ravel()],
            "class": number.ravel(),
            "fires": counts.ravel(),
            "associated": marked.ravel(),
        }
    )


def histogram_chart(fires: np.ndarray, *, neurons: int, title: str) -> alt.FacetChart:
    """Draw a small bar chart for each of some random neurons; the bar of its associated class is red.

    Args:
        fires: how often each hidden neuron fired for each class, (classes, hidden).
        neurons: how many are shown.
        title: of the panel; how many neurons of the layer are associated is added to it.

    Example:
        >>> histogram_chart(np.array([[4, 1], [2, 1]]), neurons=30, title="p = 0").title
        'p = 0: 1 of 2 neurons associated with a class'
    """
    rows = histogram_rows(fires, neurons)
    number = _associated(fires.T).sum()
    bars = (
        alt.Chart(width=_WIDTH, height=_HEIGHT)
        .mark_bar()
        .encode(
            x=alt.X("class:O", title=None, axis=alt.Axis(labelAngle=0, labelFontSize=8, ticks=False)),
            y=alt.Y("fires:Q", title=None, axis=None),
            color=alt.condition(alt.datum.associated == 1, alt.value(_ASSOCIATED), alt.value(_BAR)),
            tooltip=[alt.Tooltip(f"{name}:Q", format=",d") for name in ("unit", "class", "fires")],
        )
    )
    header = alt.Header(title=None, labelFontSize=9, labelPadding=1)
    data = chart_parts.inline(rows.astype({"associated": int}))
    return bars.facet(
        facet=alt.Facet("neuron:O", header=header),
        columns=_COLUMNS,
        data=data,
        spacing={"row": 6, "column": 10},
        title=f"{title}: {number} of {fires.shape[1]} neurons associated with a class",
    ).resolve_scale(y="independent")


def _associated(counts: np.ndarray) -> np.ndarray:
    from torch import as_tensor  # noqa: PLC0415 - takes seconds to load, and few figures need it

    from noisereg.metrics.counts import associated  # noqa: PLC0415

    return associated(as_tensor(counts)).numpy()
