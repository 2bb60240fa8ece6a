"""The means of a group of runs as a table: of each metric at each p, beside the paired difference to p = 0."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from noisereg.labels import in_words, label_of, without_threshold
from noisereg.report.page.cells import number, replicas_in_words
from noisereg.statistics import CELL, DIFFERENCE, MEAN

_MOST_ROWS = 400
FEWEST_LAYERS = 5  # that have a table of their own


def means_table(means: pd.DataFrame) -> dict[str, Any]:
    """Return `RunGroup.means` as a table of the page: a row for each metric and p."""
    cells = [column for column in CELL if column in means]

    def row_of(row: Mapping[str, Any]) -> list[str]:
        return [
            *(in_words(row[cell]) for cell in cells),
            *with_interval(row, MEAN),
            replicas_in_words(row["n"], row["replicas"], row["diverged"]),
            *with_interval(row, DIFFERENCE),
            replicas_in_words(row["pairs"], row["replicas"] if row["pairs"] else 0),
        ]

    last = ("mean", "95 % interval", "n", "difference to p = 0", "95 % interval", "pairs")
    return page_table(means, [*cells, *last], row_of, file="results.csv")


def page_table(
    means: pd.DataFrame, header: Sequence[str], row_of: Callable[[Mapping[str, Any]], list[str]], *, file: str
) -> dict[str, Any]:
    """Return a table of the page, in the units that are shown: a row for each metric that it shows and each place.

    Args:
        means: with the columns of `MEAN`, of `DIFFERENCE` or both.
        header: of the columns behind that of the metrics.
        row_of: makes the cells below it of a row of `shown_means`.
        file: that has all rows, for what is said where the table has not.
    """
    place = {metric: place for place, metric in enumerate(sweep_metrics(means["metric"].unique()))}
    own = means[means["metric"].isin(place)].sort_values("metric", key=lambda names: names.map(place), kind="stable")
    shown = shown_means(own.head(_MOST_ROWS)).to_dict("records")
    more = f"{len(own) - _MOST_ROWS:,} more rows are in {file}" if len(own) > _MOST_ROWS else ""
    rows = [[label_of(str(row["metric"])).title, *row_of(row)] for row in shown]
    return {"header": ["metric", *header], "rows": rows, "more": more}


def shown_means(means: pd.DataFrame) -> pd.DataFrame:
    """Return means in the units that are shown, with a column `unit`, and no interval beyond what is possible.

    An interval that is cut there holds the true mean as often as before, as no mean lies in what is cut off.

    Args:
        means: with the columns of `MEAN`, of `DIFFERENCE` or both.

    Example:
        >>> ends = {"difference": -0.5, "difference_low": -2.0, "difference_high": 1.0}
        >>> rows = pd.DataFrame([{"metric": "test/error", "mean": 0.1, "low": -0.2, "high": 0.4, **ends}])
        >>> shown_means(rows)[["mean", "low", "high", "difference", "difference_low", "unit"]].values.tolist()
        [[10.0, 0.0, 40.0, -50.0, -100.0, '%']]
    """
    codes, metrics = pd.factorize(means["metric"])
    labels = [label_of(str(metric)) for metric in metrics]
    factor, lowest, highest = (
        np.array([getattr(label, name) for label in labels], dtype=float)[codes]
        for name in ("factor", "lowest", "highest")
    )
    widest = highest - lowest
    limits = dict.fromkeys(MEAN[1:3], (lowest, highest)) | dict.fromkeys(DIFFERENCE[1:3], (-widest, widest))
    limits |= dict.fromkeys((MEAN[0], DIFFERENCE[0]), (-np.inf, np.inf))
    numbers = {name: means[name].to_numpy(dtype=float) for name in limits if name in means}
    shown = {name: factor * values.clip(*limits[name]) for name, values in numbers.items()}
    return means.assign(**shown, unit=np.array([label.unit for label in labels], dtype=object)[codes])


def sweep_metrics(metrics: Iterable[str]) -> list[str]:
    """Return the metrics that the page shows: errors (last, best and selected), active neurons and fractions, norms.

    Of many layers only the whole network's fraction is among them: the layers have a table of their own. Where none of
    these was measured, all others are shown.

    Example:
        >>> sweep_metrics(["test/error", "norm/hidden", "test/loss"])
        ['test/error', 'norm/hidden']
    """
    kinds = (
        lambda name: name.endswith("/error"),
        lambda name: without_threshold(name).endswith("/active_neurons"),
        lambda name: "/active_fraction" in name,
        lambda name: name.startswith("norm/"),
    )
    names = list(map(str, metrics))
    num_layers = Counter(filter(None, map(fraction_stem, names)))
    names = [name for name in names if num_layers[fraction_stem(name)] < FEWEST_LAYERS]
    return [name for fits in kinds for name in names if fits(name)] or [name for name in names if "/" in name]


def fraction_stem(metric: str) -> str:
    """Return what stands before the layer in the name of an active fraction of a layer; "" for other metrics.

    Example:
        >>> fraction_stem("test/active_fraction_above_0.1/relu1"), fraction_stem("test/error")
        ('test/active_fraction_above_0.1/', '')
    """
    is_one = without_threshold(metric).startswith(("test/active_fraction/", "train/active_fraction/"))
    return "/".join([*metric.split("/")[:2], ""]) if is_one else ""


def cells_of_metrics(rows: pd.DataFrame, metrics: Sequence[str], names: Sequence[str]) -> tuple[int, list[str]]:
    """Return over how many replicas the means of some metrics are, and each mean with its interval.

    Behind a mean over fewer of them stands their number.

    Args:
        rows: one for each metric, of the same replicas.
        metrics: one that has no row has an empty cell.
        names: of the columns, `MEAN` or `DIFFERENCE`.

    Example:
        >>> rows = pd.DataFrame({"metric": ["test/error", "norm/hidden"], "mean": [0.25, 3.0], "low": [0.24, 2.5],
        ...                      "high": [0.26, 3.5], "n": [5, 4]})
        >>> cells_of_metrics(rows, ["test/error", "norm/hidden", "test/loss"], ("mean", "low", "high", "n"))
        (5, ['25.00±1.00', '3.000±0.500 (n 4)', ''])
    """
    own = rows[rows["metric"].isin(metrics)].set_index("metric").to_dict("index")
    most = max((int(row[names[3]]) for row in own.values()), default=0)
    cells = []
    for metric in metrics:
        mean, low, high, n = (own[metric][name] if metric in own else math.nan for name in names[:4])
        text = label_of(metric).format_mean(mean, low, high, is_difference=names == DIFFERENCE)
        cells.append(f"{text} (n {n})" if text and n < most else text)
    return most, cells


def with_interval(row: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """Return a mean and its interval as two cells.

    Example:
        >>> with_interval({"mean": 0.25, "low": 0.2, "high": 0.3}, ("mean", "low", "high"))
        ['0.25', '0.2 to 0.3']
    """
    mean, low, high = (number(row[name]) for name in names[:3])
    return [mean, f"{low} to {high}" if low else ""]
