"""Student's t intervals over replicas."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import stdtrit  # the quantile of scipy.stats.t, which takes a second longer to load


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
    numbers = np.asarray(values, dtype=float).ravel()
    table = bands(pd.DataFrame({"value": numbers, "group": 0}), "value", by=["group"], level=level)
    if table.empty:
        return Interval(np.nan, np.nan, np.nan, 0)
    mean, low, high, n = table.loc[0, ["mean", "low", "high", "n"]]
    return Interval(float(mean), float(low), float(high), int(n))


def paired_difference(
    replicas: pd.DataFrame | Sequence[Mapping[str, Any]],
    metric: str,
    *,
    p: float,
    baseline: float,
    level: float = 0.95,
) -> Interval:
    """Compute the mean of a metric at p minus at a baseline, over pairs of replicas with the same seed.

    Two values of p share their draws seed by seed, so the interval of the difference is mostly narrower than the two
    intervals suggest.

    Args:
        replicas: one row a replica, with p, seed and the metric.
        metric: name of the column.
        p: strength of the noise, as it stands in the rows.
        baseline: the strength it is compared with.
        level: of the interval, in (0, 1).

    Returns:
        The interval of the difference; its n is the number of pairs. A seed without a partner is left out.

    Raises:
        ValueError: if the metric or a strength is in no row, or a seed has two rows for one p.

    Example:
        >>> rows = [{"p": p, "seed": s, "test/error": 0.5 - p - 0.1 * s} for p in (0.0, 0.2) for s in range(3)]
        >>> difference = paired_difference(rows, "test/error", p=0.2, baseline=0.0)
        >>> f"{difference.mean:.2f} over {difference.n} pairs"
        '-0.20 over 3 pairs'
    """
    table = pd.DataFrame(replicas)
    if metric not in table:
        raise ValueError(f"metric must be a column of the replicas, {', '.join(table)}, got {metric}")
    return mean_interval(_by_seed(table, metric, p=p) - _by_seed(table, metric, p=baseline), level)


def bands(frame: pd.DataFrame, metric: str, *, by: Sequence[str], level: float = 0.95) -> pd.DataFrame:
    """Compute the mean and Student's t interval of a metric for each group of rows.

    Args:
        frame: one row a value.
        metric: name of the column; nan is left out.
        by: columns that make a group, such as p and epoch.
        level: of the intervals, in (0, 1).

    Returns:
        One row a group, in their order: the columns of `by`, then mean, low, high and n, as in `Interval`.

    Raises:
        ValueError: if level is not in (0, 1).

    Example:
        >>> rows = pd.DataFrame({"p": [0.0, 0.0, 0.2], "test/error": [0.3, 0.5, 0.1]})
        >>> bands(rows, "test/error", by=["p"]).round(2)
             p  mean   low  high  n
        0  0.0   0.4 -0.87  1.67  2
        1  0.2   0.1   NaN   NaN  1
    """
    table = frame.groupby(list(by))[metric].agg(["mean", "std", "count"])
    n = table["count"].to_numpy()
    half = half_width(table["std"], n, level)
    ends = {"mean": table["mean"], "low": table["mean"] - half, "high": table["mean"] + half, "n": n}
    return pd.DataFrame(ends, index=table.index).reset_index()


def _by_seed(table: pd.DataFrame, metric: str, *, p: float) -> pd.Series:
    rows = table[table["p"] == p].set_index("seed")
    if rows.empty:
        raise ValueError(f"p must be one of {sorted(set(table['p'].tolist()))}, got {p}")
    if not rows.index.is_unique:
        seed = rows.index[rows.index.duplicated()][0]
        raise ValueError(f"a seed must have one row at p={p}, got two of seed {seed}; keep one learning rate")
    return rows[metric]
