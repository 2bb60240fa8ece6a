"""Means over the seeds of a group, beside what noise changes of them."""

from collections.abc import Sequence

import pandas as pd

from noisereg.statistics import bands

CELL = ("arm", "lr", "p")  # what tells means apart, as far as there are several
MEAN = ("mean", "low", "high", "n")
DIFFERENCE = ("difference", "difference_low", "difference_high", "pairs")


def paired_means(replicas: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    """Compute the mean of metrics for each arm, learning rate and p, beside its paired difference to p = 0.

    What is compared has the same learning rate and, if there is such a network, the same arm.

    Args:
        replicas: one row for each replica, at the end of training.
        metrics: names of columns.

    Returns:
        Columns arm and lr if there are any, p, metric, mean, low, high and n, then difference, difference_low,
        difference_high and pairs: the interval over seeds that have both, nan and 0 where there is no p = 0 to compare
        with or where it is p = 0 itself. In the unit of the metric; in the order of the cells, then of the metrics.

    Example:
        >>> rows = pd.DataFrame([(p, s, 0.5 - p + s / 10) for p in (0.0, 0.2) for s in range(3)])
        >>> paired_means(rows.set_axis(["p", "seed", "error"], axis=1), ["error"])[["p", "mean", "difference"]].round(3)
             p  mean  difference
        0  0.0   0.6         NaN
        1  0.2   0.4        -0.2
    """
    cells = [column for column in CELL if column in replicas]
    if not metrics or not {"p", "seed"} <= set(replicas):
        return pd.DataFrame(columns=[*cells, "metric", *MEAN, *DIFFERENCE])
    changes = pd.concat([_changes(replicas, rows, metrics) for _, rows in replicas.groupby(cells)])
    parts = [
        bands(replicas, metric, by=cells)
        .merge(bands(changes, metric, by=cells).set_axis([*cells, *DIFFERENCE], axis=1), on=cells)
        .assign(metric=metric)
        for metric in metrics
    ]
    table = pd.concat(parts).sort_values(cells, kind="stable", ignore_index=True)
    return table[[*cells, "metric", *MEAN, *DIFFERENCE]]


def _changes(replicas: pd.DataFrame, rows: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    """Return the rows of a cell with each metric less that of the partner without noise; nan if there is none."""
    found = replicas[replicas["p"] == 0]
    for column, is_needed in (("lr", True), ("arm", False)):
        if column in rows:
            same = found[found[column] == rows[column].iloc[0]]
            found = same if is_needed or len(same) else found
    if (rows["p"] == 0).all() or not found["seed"].is_unique:
        found = found[:0]
    partners = found.set_index("seed")[list(metrics)].reindex(rows["seed"])
    return rows.assign(**{metric: rows[metric] - partners[metric].to_numpy() for metric in metrics})
