"""In what else the sides of a comparison differ, which may be why the compared number does."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from noisereg.labels import label_of
from noisereg.report.claims.claim import Claim
from noisereg.report.claims.selection import NothingSelectedError, Selection

_METRICS = (("test/error",), ("train/clean_loss", "train/loss"), ("epochs",))  # of several, the first that is there
_OF_ANOTHER_METRIC = ("lowest", "highest", "rise")  # moments that each metric has for itself


def describe_confounds(claim: Claim, tables: Mapping[str, pd.DataFrame], *, n: int) -> str:
    """Describe test error, training loss and epochs of all that a claim compares, as means over the replicas.

    Args:
        claim: that compares.
        tables: the replicas and the curves.
        n: over how many replicas the claim is judged.

    Returns:
        The values of the replicas it is about, and of those they are compared with, in that order, and over how many
        they are, unless all are over n; empty if it compares no replicas, or values at moments that have no epoch in
        common.

    Example:
        >>> claim = Claim(id="F1", metric="train/active_neurons", of={"p": 0.2}, below={"p": 0})
        >>> rows = pd.DataFrame({"p": [0.0, 0.2], "seed": 0, "test/error": [0.4, 0.2], "epochs": 1000})
        >>> describe_confounds(claim, {"replicas": rows, "curves": pd.DataFrame()}, n=1)
        'test error 20 and 40 %; epochs 1000 and 1000'
    """
    sides = list({(side.place, side.at): side for side in (claim.selected, *claim.compared)}.values())
    if len(sides) == 1 or any(side.at in _OF_ANOTHER_METRIC for side in sides):
        return ""
    parts = []
    for names in _METRICS:
        name, means = next(((name, means) for name in names if (means := _means(name, sides, tables))), ("", []))
        if means and claim.metric not in names:
            label = label_of(name)
            numbers = " and ".join(f"{label.factor * value:.4g}" for value, _ in means)
            counts = " and ".join(str(count) for _, count in means)
            over = f" (n {counts})" if any(count != n for _, count in means) else ""
            parts.append(f"{label.words} {numbers} {label.unit}".rstrip() + over)
    return "; ".join(parts)


def _means(metric: str, sides: list[Selection], tables: Mapping[str, pd.DataFrame]) -> list[tuple[float, int]]:
    """Compute the mean of a metric on each side, and over how many it is; nothing if a side has no value."""
    try:
        values: list[Any] = [Selection(side.where, side.at).values(metric, **tables)["value"] for side in sides]
    except NothingSelectedError:
        return []
    return [(float(own.mean()), int(own.count())) for own in values]
