"""In what else the sides of a comparison differ, which may be why the compared number does."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from noisereg.labels import label_of
from noisereg.report.claims.claim import Claim
from noisereg.report.claims.selection import NothingSelectedError, Selection

_METRICS = (("test/error",), ("train/clean_loss", "train/loss"), ("epochs",))  # of several, the first that is there
_OF_ANOTHER_METRIC = ("lowest", "highest", "rise")  # moments that each metric has for itself


def describe_confounds(claim: Claim, tables: Mapping[str, pd.DataFrame]) -> str:
    """Describe test error, training loss and epochs of all that a claim compares, as means over the replicas.

    Returns:
        The values of the replicas it is about, and of those they are compared with, in that order; empty if it compares
        no replicas, or values at moments that have no epoch in common.

    Example:
        >>> claim = Claim(id="F1", metric="train/active_neurons", of={"p": 0.2}, below={"p": 0})
        >>> rows = pd.DataFrame({"p": [0.0, 0.2], "seed": 0, "test/error": [0.4, 0.2], "epochs": 1000})
        >>> describe_confounds(claim, {"replicas": rows, "curves": pd.DataFrame()})
        'test error 20 and 40 %; epochs 1000 and 1000'
    """
    sides = list({(side.place, side.at): side for side in (claim.selected, *claim.compared)}.values())
    if len(sides) == 1 or any(side.at in _OF_ANOTHER_METRIC for side in sides):
        return ""
    parts = []
    for names in _METRICS:
        name, values = next(((name, values) for name in names if (values := _means(name, sides, tables))), ("", []))
        if values and claim.metric not in names:
            label = label_of(name)
            numbers = " and ".join(f"{label.factor * value:.4g}" for value in values)
            parts.append(f"{label.words} {numbers} {label.unit}".rstrip())
    return "; ".join(parts)


def _means(metric: str, sides: list[Selection], tables: Mapping[str, pd.DataFrame]) -> list[float]:
    """Compute the mean of a metric on each side; nothing if a side has no value."""
    try:
        values: list[Any] = [Selection(side.where, side.at).values(metric, **tables)["value"].mean() for side in sides]
    except NothingSelectedError:
        return []
    return [float(value) for value in values]
