"""How often networks are right when they are so sure: the reliability diagram."""

from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from noisereg.report.figures import chart_parts
from noisereg.report.groups.naming import AnalysedNetwork, networks_by_name

_SMALLEST, _LARGEST = 8, 260  # area of a point, in square pixels
_GREY = "#666"
_NEEDED = ("reliability_count", "reliability_confidence", "reliability_accuracy")


def reliability_rows(analyses: Sequence[AnalysedNetwork]) -> pd.DataFrame:
    """Pool the samples of all seeds of a network, bin by bin.

    Returns:
        One row for each bin that has samples: confidence and accuracy, their means over its samples, and the share of
        all samples that it has.

    Raises:
        ValueError: if a network was not asked how sure it is.

    Example:
        >>> arrays = {"reliability_count": [3, 0, 1], "reliability_confidence": [0.5, float("nan"), 0.9],
        ...           "reliability_accuracy": [0.4, float("nan"), 1.0]}
        >>> reliability_rows([AnalysedNetwork({}, arrays)])
           confidence  accuracy  share
        0         0.5       0.4   0.75
        1         0.9       1.0   0.25
    """
    count, confidence, accuracy = (np.array([_array(analysis, name) for analysis in analyses]) for name in _NEEDED)
    total = count.sum(axis=0)
    kept = total > 0
    sums = (np.where(count > 0, count * value, 0).sum(axis=0)[kept] for value in (confidence, accuracy))
    mean_confidence, mean_accuracy = (value / total[kept] for value in sums)
    share = total[kept] / total.sum()
    return pd.DataFrame({"confidence": mean_confidence, "accuracy": mean_accuracy, "share": share})


def calibration_error(analyses: Sequence[AnalysedNetwork]) -> float:
    """Compute the expected calibration error, its mean over the seeds: the mean gap of confidence and accuracy.

    Example:
        >>> arrays = {"reliability_count": [3, 1], "reliability_confidence": [0.5, 0.9],
        ...           "reliability_accuracy": [0.4, 1.0]}
        >>> round(calibration_error([AnalysedNetwork({}, arrays)]), 3)
        0.1

    Source: C. Guo et al., "On calibration of modern neural networks", 2017, equation 3.
    """
    tables = [reliability_rows([analysis]) for analysis in analyses]
    return float(np.mean([(rows["share"] * (rows["accuracy"] - rows["confidence"]).abs()).sum() for rows in tables]))


def reliability_chart(title: str, analyses: Sequence[AnalysedNetwork]) -> alt.LayerChart:
    """Draw accuracy against confidence, a line for each arm or p, and the diagonal of a calibrated network.

    The area of a point is the share of samples in its bin. The legend has the expected calibration error, and the
    number of networks that it is the mean of.

    Example:
        >>> arrays = {"reliability_count": [4], "reliability_confidence": [0.5], "reliability_accuracy": [0.4]}
        >>> chart = reliability_chart("reliability", [AnalysedNetwork({"p": 0.0, "seed": 0}, arrays)])
        >>> chart.to_dict()["layer"][1]["encoding"]["color"]["scale"]["domain"]
        ['ECE 10 % (n 1)']
    """
    networks = networks_by_name(analyses)
    errors = [f"ECE {100 * calibration_error(group):.3g} % (n {len(group)})" for group in networks.values()]
    labels = [": ".join(filter(None, [words, error])) for words, error in zip(networks, errors, strict=True)]
    parts = [
        reliability_rows(group).assign(network=label) for label, group in zip(labels, networks.values(), strict=True)
    ]
    colour = chart_parts.colours_by_name("network", labels, orient="bottom", columns=1, labelLimit=0)
    base = alt.Chart(chart_parts.inline(pd.concat(parts))).encode(**_axes(), color=colour)
    size = alt.Size("share:Q", legend=None, scale=alt.Scale(domain=[0, 1], range=[_SMALLEST, _LARGEST]))
    hover = [
        alt.Tooltip("network:N"),
        *(alt.Tooltip(f"{name}:Q", format=".3~f") for name in ("confidence", "accuracy", "share")),
    ]
    points = base.mark_circle(opacity=1).encode(size=size, tooltip=hover)
    ends = alt.Chart(chart_parts.inline(pd.DataFrame({"confidence": [0, 1], "accuracy": [0, 1]}))).encode(**_axes())
    diagonal = ends.mark_line(strokeDash=[4, 3], strokeWidth=1, color=_GREY)
    return chart_parts.layered([diagonal, base.mark_line(strokeWidth=1.2), points], title)


def _axes() -> dict[str, Any]:
    axis, scale = alt.Axis(format=".1~f", tickCount=5), alt.Scale(domain=[0, 1], nice=False)
    return {
        "x": alt.X("confidence:Q", title="confidence (area: share of samples)", axis=axis, scale=scale),
        "y": alt.Y("accuracy:Q", title="accuracy", axis=axis, scale=scale),
    }


def _array(analysis: AnalysedNetwork, name: str) -> np.ndarray:
    if name not in analysis.arrays:
        raise ValueError(f"its analysis.npz has no {name}")
    return np.asarray(analysis.arrays[name], dtype=float)
