"""Student's t intervals over replicas: of means, and of paired differences; what they decide, one and many at once."""

import math
from collections.abc import Hashable, Mapping, Sequence
from itertools import chain, combinations
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float64
from numpy.typing import ArrayLike
from scipy.special import stdtr, stdtrit  # law and quantile of scipy.stats.t, which takes a second longer to load

CELL = ("arm", "lr", "p")  # what tells means apart, as far as there are several
MEAN = ("mean", "low", "high", "n", "replicas")
DIFFERENCE = ("difference", "difference_low", "difference_high", "pairs")
Outcome = Literal["met", "missed", "undecided"]


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
    given = np.asarray(values, dtype=float).ravel()
    mean, deviation, n = _mean_and_deviation(given[~np.isnan(given)])
    half = float(half_width(deviation, n, level))
    return Interval(mean, mean - half, mean + half, n)


def range_outcome(interval: Interval, lowest: float, highest: float) -> Outcome:
    """Return whether a whole interval lies within a range, or outside of it; else it is undecided.

    An interval that is wider than the range meets nothing, however near its middle is.

    Args:
        interval: of a mean; one without ends decides nothing.
        lowest: lower end of the range, which belongs to it.
        highest: upper end, likewise.

    Example:
        >>> range_outcome(Interval(1.0, 0.9, 1.1, 5), 0.8, 1.2), range_outcome(Interval(1.0, 0.5, 1.5, 5), 0.8, 1.2)
        ('met', 'undecided')
    """
    if lowest <= interval.low and interval.high <= highest:
        return "met"
    return "missed" if interval.high < lowest or interval.low > highest else "undecided"


def p_value(values: ArrayLike, bound: float) -> float:
    """Compute the p value of Student's two-sided test that the mean of values is a number.

    It is below 1 - level if, and only if, `mean_interval` at that level does not hold the number.

    Args:
        values: one number a replica, finite.
        bound: the number.

    Returns:
        2 P(T > |t|) with t = (mean - bound) / (s / √n) and n - 1 degrees of freedom; 0 if all values are the same other
        number, 1 if they are this number, nan for fewer than two values.

    Example:
        >>> round(p_value([1, 2, 3, 4, 5], 0), 4)  # t = 3 / √(2.5 / 5) = 4.243
        0.0132
    """
    given = np.asarray(values, dtype=float).ravel()
    if len(given) < 2:
        return math.nan
    mean, deviation, _ = _mean_and_deviation(given)
    distance, error = abs(mean - bound), deviation / math.sqrt(len(given))
    if error == 0:
        return float(distance == 0)
    return float(2 * stdtr(len(given) - 1.0, -distance / error))


def holm_rejections(p_values: Sequence[float], level: float = 0.05) -> list[bool]:
    """Return which of many hypotheses are rejected so that all that is rejected is right with probability 1 - level.

    In the order of their p values, the first is held against level / m, the second against level / (m - 1), and so on;
    from the first that is not below, none is rejected.

    Args:
        p_values: of the m tests, dependent or not.
        level: probability of one wrong rejection or more, in (0, 1).

    Returns:
        Whether each is rejected, in the order given.

    Example:
        >>> holm_rejections([0.01, 0.04, 0.03, 0.005])  # 0.005 < 0.05 / 4, 0.01 < 0.05 / 3, 0.03 > 0.05 / 2
        [True, False, False, True]

    Source: S. Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Statist. 6, 1979.
    """
    rejected = [False] * len(p_values)
    for place, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        if not p_values[index] < level / (len(p_values) - place):
            break
        rejected[index] = True
    return rejected


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
    values = replicas[list(metrics)].to_numpy(dtype=float)  # a column at a time is a hundred times slower
    rows = replicas[[*cells, "seed"]].reset_index(drop=True)
    quiet = rows[rows["p"] == 0]
    places, parts = [], []
    for cell, own in rows.groupby(cells, dropna=False):
        changes = values[own.index] - _partners(quiet, own, values)
        places.append({**dict(zip(cells, cell, strict=True)), "replicas": len(own)})
        parts.append(_of_columns(values[own.index], MEAN) | _of_columns(changes, DIFFERENCE))
    return _table(pd.DataFrame(places), metrics, parts, columns=[*cells, "metric", *MEAN, *DIFFERENCE])


def cell_means(replicas: pd.DataFrame, metrics: Sequence[str], *, by: Sequence[str]) -> pd.DataFrame:
    """Compute the mean and Student's t interval of metrics for each cell of replicas.

    Args:
        replicas: one row for each replica.
        metrics: names of columns of numbers; nan is left out.
        by: columns that make a cell; none: all replicas are one.

    Returns:
        The columns of `by`, metric, and `MEAN`: mean, low, high, n (with a value) and replicas (with and without one);
        in the order of the cells, numbers in order and other values as they come, then of the metrics.

    Example:
        >>> rows = pd.DataFrame({"hidden": [8, 8, 9], "error": [0.1, 0.3, 0.5]})
        >>> cell_means(rows, ["error"], by=["hidden"])[["hidden", "metric", "mean", "n"]]
           hidden metric  mean  n
        0       8  error   0.2  2
        1       9  error   0.5  1
    """
    places, order, starts = _cells(replicas, by)
    means = _of_columns(replicas[list(metrics)].to_numpy(dtype=float)[order], MEAN, starts)
    places["replicas"] = np.diff(starts, append=len(order))
    return _table(places, metrics, [means], columns=[*by, "metric", *MEAN])


def paired_differences(
    replicas: pd.DataFrame,
    metrics: Sequence[str],
    *,
    by: Sequence[str],
    besides: Mapping[str, Sequence[Hashable]] | None = None,
    most: int = 5000,
) -> pd.DataFrame:
    """Compute the paired difference of metrics between every two cells that differ in one column alone.

    Args:
        replicas: one row for each replica, with its seed.
        metrics: names of columns of numbers.
        by: columns that make a cell.
        besides: for columns of `by`, what else must be equal in two cells that differ there, a value for each row.
        most: pairs of cells; where there would be more, each cell is compared with the first of its column alone.

    Returns:
        The columns of `by`, those of the later cell; key, the column in which the two differ; than, the value that the
        earlier one has there; metric; and `DIFFERENCE`: difference (later less earlier), its 95 % t interval over the
        seeds that both have, and pairs, the number of those. Two cells that share no seed with a value have no row.

    Raises:
        ValueError: if a cell has two replicas of a seed.

    Example:
        >>> rows = pd.DataFrame({"hidden": [8, 8, 9, 9], "seed": [0, 1, 1, 0], "error": [0.1, 0.3, 0.6, 0.5]})
        >>> paired_differences(rows, ["error"], by=["hidden"])[["hidden", "than", "difference", "pairs"]]
           hidden  than  difference  pairs
        0       9     8        0.35      2
    """
    values = replicas[list(metrics)].to_numpy(dtype=float)
    kinds, order, starts = _cells(replicas, by)
    rows_of = np.split(order, starts[1:])[: len(kinds)]  # of no rows it makes one part, which is empty
    seeds_of = [pd.Index(replicas["seed"].to_numpy()[own]) for own in rows_of]
    cells = list(zip(kinds.to_dict("records"), rows_of, seeds_of, strict=True))
    for cell, _, seeds in cells:
        if not seeds.is_unique:
            place = ", ".join(f"{key} = {value}" for key, value in cell.items())
            raise ValueError(
                f"a cell must have one replica of a seed, got two of {seeds[seeds.duplicated()][0]}: {place}"
            )
    places: list[dict[str, Any]] = []
    parts = []
    for key in by:
        together: dict[tuple[Any, ...], list[int]] = {}
        for number, (cell, rows, _) in enumerate(cells):
            alike = besides[key][rows[0]] if besides and key in besides else None
            rest = (*(str(cell[other]) for other in by if other != key), alike)
            together.setdefault(rest, []).append(number)
        groups = [numbers for numbers in together.values() if len(numbers) > 1]
        is_whole = sum(len(numbers) * (len(numbers) - 1) // 2 for numbers in groups) <= most
        for one, later in chain.from_iterable(
            combinations(numbers, 2) if is_whole else ((numbers[0], other) for other in numbers[1:])
            for numbers in groups
        ):
            (earlier, own, seeds), (cell, others, their_seeds) = cells[one], cells[later]
            partner = seeds.get_indexer(their_seeds)
            if (has_one := partner >= 0).any():
                places.append({**cell, "key": key, "than": earlier[key]})
                parts.append(_of_columns(values[others[has_one]] - values[own[partner[has_one]]], DIFFERENCE))
    table = _table(pd.DataFrame(places), metrics, parts, columns=[*by, "key", "than", "metric", *DIFFERENCE])
    return table[table["pairs"] > 0].reset_index(drop=True)


def _mean_and_deviation(values: Float64[np.ndarray, " n"]) -> tuple[float, float, int]:
    """Return the mean, the root of the unbiased variance, and n; nan for too few values.

    A mean of floats may be rounded to a number beyond all of them. It is brought back: equal values do not deviate.
    """
    n = len(values)
    with np.errstate(invalid="ignore", over="ignore"):  # an infinite value, or square, leaves no deviation
        mean = float(np.clip(values.mean(), values.min(), values.max())) if n else math.nan
        deviation = float(np.sqrt(((values - mean) ** 2).sum() / (n - 1))) if n > 1 else math.nan
    return mean, deviation, n


def _table(
    places: pd.DataFrame, metrics: Sequence[str], values: Sequence[Mapping[str, np.ndarray]], *, columns: Sequence[str]
) -> pd.DataFrame:
    """Return a row for each place and metric; the values are those of each metric in the first place, and so on."""
    if not len(places):
        return pd.DataFrame(columns=list(columns))
    found: dict[str, Any] = {str(name): column.to_numpy().repeat(len(metrics)) for name, column in places.items()}
    found["metric"] = np.tile(np.array(metrics, dtype=object), len(places))
    found |= {name: np.concatenate([own[name] for own in values]) for name in values[0]}
    return pd.DataFrame({column: found[column] for column in columns})


def _cells(replicas: pd.DataFrame, by: Sequence[str]) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Return a row for each cell, the rows of one cell after the other, and where among these each cell begins."""
    codes = {key: pd.factorize(replicas[key], sort=pd.api.types.is_numeric_dtype(replicas[key]))[0] for key in by}
    numbers = pd.DataFrame(codes).groupby(list(by)).ngroup().to_numpy() if by else np.zeros(len(replicas), int)
    order = np.argsort(numbers, kind="stable")
    starts = np.flatnonzero(np.diff(numbers[order], prepend=-1))
    return replicas[list(by)].iloc[order[starts]].reset_index(drop=True), order, starts


def _of_columns(
    values: Float64[np.ndarray, "rows columns"], names: Sequence[str], starts: Sequence[int] | np.ndarray = (0,)
) -> dict[str, np.ndarray]:
    """Return mean, ends of the interval and number of values, but nan, of each column, for one part after the other."""
    known, sizes = ~np.isnan(values), np.diff(starts, append=len(values))
    n = np.add.reduceat(known, starts, dtype=int)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):  # no value, one alone, or what is infinite
        mean = np.add.reduceat(np.where(known, values, 0), starts) / n
        least, most = np.fmin.reduceat(values, starts), np.fmax.reduceat(values, starts)
        mean = np.clip(mean, least, most)  # as in `_mean_and_deviation`
        squares = np.where(known, (values - mean.repeat(sizes, axis=0)) ** 2, 0)
        deviation = np.sqrt(np.add.reduceat(squares, starts) / (n - 1))
        half = half_width(np.where(n > 1, deviation, np.nan), n)
    return {name: part.ravel() for name, part in zip(names, (mean, mean - half, mean + half, n), strict=False)}


def _partners(
    quiet: pd.DataFrame, own: pd.DataFrame, values: Float64[np.ndarray, "rows columns"]
) -> Float64[np.ndarray, "own columns"]:
    """Return the values of the partner, among the rows without noise, of each row of a cell; nan if it has none."""
    if quiet.empty or (own["p"] == 0).all():
        return np.full((len(own), values.shape[1]), np.nan)
    found = quiet
    for column, is_needed in (("lr", True), ("arm", False)):
        if column in quiet:
            same = found[found[column] == own[column].iloc[0]]
            found = same if is_needed or len(same) else found
    if not found["seed"].is_unique:
        found = found[:0]
    place = pd.Index(found["seed"]).get_indexer(own["seed"])  # -1 where there is none
    chosen = np.append(found.index.to_numpy(), -1)[place]
    return np.where((place < 0)[:, None], np.nan, values[chosen])
