"""Student's t intervals over replicas: of means, and of paired differences."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import stdtrit  # the quantile of scipy.stats.t, which takes a second longer to load

CELL = ("arm", "lr", "p")  # what tells means apart, as far as there are several
MEAN = ("mean", "low", "high", "n", "replicas")
DIFFERENCE = ("difference", "difference_low", "difference_high", "pairs")


class Interval(NamedTuple):
    """A mean over replicas and its interval.

    Attributes:
        mean: over the replicas; nan if there is none.
        low: lower end of the interval; nan for fewer than two replicas.
        high: upper end.
        n: number of values the mean is over.

    Example:
        >>> mean_interval([3.0])
        Interval(mean=3.0, low=nan, high=nan, n=1)
    """

    mean: float
    low: float
    high: float
    n: int


def half_width(deviation: ArrayLike, n: ArrayLike, level: float = 0.95) -> Any:
    """Compute half the length of Student's t interval of a mean: t s / √n.

    Args:
        deviation: s, where s² is the unbiased variance of the values.
        n: number of values, independent.
        level: share of such intervals that hold the true mean if the values are normal, in (0, 1).

    Returns:
        t s / √n, where t is the (1 + level)/2 quantile for n - 1 degrees of freedom; nan for one value.

    Raises:
        ValueError: if level is not in (0, 1).

    Example:
        >>> f"{half_width(1.5811, 5):.3f}"
        '1.963'

    Source: Student, "The probable error of a mean", Biometrika 6, 1908.
    """
    if not 0 < level < 1:
        raise ValueError(f"level must be in (0, 1), got {level}")
    return stdtrit(np.asarray(n) - 1.0, (1 + level) / 2) * deviation / np.sqrt(n)


def mean_interval(values: ArrayLike, level: float = 0.95) -> Interval:
    """Compute the mean of independent values with Student's t interval, mean ± `half_width`.

    Args:
        values: one number a replica; nan is left out.
        level: share of such intervals that hold the true mean if the values are normal, in (0, 1).

    Returns:
        The mean, the two ends and the number of values that are no nan.

    Raises:
        ValueError: if level is not in (0, 1).

    Example:
        >>> mean, low, high, n = mean_interval([1, 2, 3, 4, 5])
        >>> f"{mean} ± {high - mean:.3f}, n = {n}"
        '3.0 ± 1.963, n = 5'
    """
    given = pd.Series(np.asarray(values, dtype=float).ravel())
    mean, n = float(given.mean()), int(given.count())
    with np.errstate(invalid="ignore"):  # an infinite value leaves no deviation
        half = float(half_width(given.std(), n, level))
    return Interval(mean, mean - half, mean + half, n)


def bands(frame: pd.DataFrame, metric: str, *, by: Sequence[str], level: float = 0.95) -> pd.DataFrame:
    """Compute the mean and Student's t interval of a metric for each group of rows.

    Args:
        frame: one row a value.
        metric: name of the column; nan is left out.
        by: columns that make a group, such as p and epoch.
        level: of the intervals, in (0, 1).

    Returns:
        One row a group, in their order: the columns of `by`; mean, low, high and n, as in `Interval`; replicas, the
        number of rows, with those that have no value.

    Raises:
        ValueError: if level is not in (0, 1).

    Example:
        >>> rows = pd.DataFrame({"p": [0.0, 0.0, 0.2], "test/error": [0.3, 0.5, 0.1]})
        >>> bands(rows, "test/error", by=["p"]).round(2)
             p  mean   low  high  n  replicas
        0  0.0   0.4 -0.87  1.67  2         2
        1  0.2   0.1   NaN   NaN  1         1
    """
    table = frame.groupby(list(by))[metric].agg(["mean", "std", "count", "size"])
    n = table["count"].to_numpy()
    half = half_width(table["std"], n, level)
    ends = {"mean": table["mean"], "low": table["mean"] - half, "high": table["mean"] + half, "n": n}
    return pd.DataFrame(ends | {"replicas": table["size"]}, index=table.index).reset_index()


def paired_means(replicas: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    """Compute the mean of metrics for each arm, learning rate and p, beside its paired difference to p = 0.

    Two values of p share their draws seed by seed, so the interval of the difference is mostly narrower than the two
    intervals suggest. What is compared has the same learning rate and, if there is such a network, the same arm.

    Args:
        replicas: one row for each replica, at the end of training.
        metrics: names of columns.

    Returns:
        Columns arm and lr if there are any, p, metric, mean, low, high, n (with a value) and replicas (with and without
        one), then difference, difference_low, difference_high and pairs: the interval over seeds that have both, nan
        and 0 where there is no p = 0 to compare with or where it is p = 0 itself. In the unit of the metric; in the
        order of the cells, then of the metrics.

    Raises:
        ValueError: if a metric is no column.

    Example:
        >>> rows = pd.DataFrame([(p, s, 0.5 - p + s / 10) for p in (0.0, 0.2) for s in range(3)])
        >>> paired_means(rows.set_axis(["p", "seed", "error"], axis=1), ["error"])[["p", "mean", "difference"]].round(3)
             p  mean  difference
        0  0.0   0.6         NaN
        1  0.2   0.4        -0.2
    """
    if unknown := [metric for metric in metrics if metric not in replicas]:
        raise ValueError(f"metrics must be columns of the replicas, {', '.join(replicas)}, got {unknown[0]}")
    cells = [column for column in CELL if column in replicas]
    if replicas.empty or not metrics or not {"p", "seed"} <= set(replicas):
        return pd.DataFrame(columns=[*cells, "metric", *MEAN, *DIFFERENCE])
    replicas = replicas.astype(dict.fromkeys(metrics, float))
    changes = pd.concat([_changes(replicas, rows, metrics) for _, rows in replicas.groupby(cells, dropna=False)])
    table = _many_bands(replicas, metrics, by=cells)
    table[list(DIFFERENCE)] = _many_bands(changes, metrics, by=cells)[list(MEAN[:-1])]
    return table


def _many_bands(frame: pd.DataFrame, metrics: Sequence[str], *, by: Sequence[str]) -> pd.DataFrame:
    """Compute `bands` of many metrics at once: a row for each group of rows and metric, in this order."""
    together = frame.groupby(list(by), dropna=False)  # a rule of one's own may have no p
    values = together[list(metrics)]
    mean, n = values.mean(), values.count()
    half = half_width(values.std(), n)
    table = pd.DataFrame(
        {name: part.to_numpy().ravel() for name, part in zip(MEAN, (mean, mean - half, mean + half, n), strict=False)}
        | {"replicas": together.size().to_numpy().repeat(len(metrics))}
    )
    keys = mean.index.to_frame(index=False)
    keys = keys.loc[keys.index.repeat(len(metrics))].reset_index(drop=True).assign(metric=[*metrics] * len(mean))
    return pd.concat([keys, table], axis=1)


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
