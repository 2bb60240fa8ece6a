"""The means of a sweep as a table: of each metric at each p, beside the paired difference to p = 0."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from noisereg.labels import label_of
from noisereg.report.page.cells import number, replicas_in_words
from noisereg.statistics import DIFFERENCE, MEAN, paired_means

_MOST_ROWS = 400  # results of more are in result.json


def means_table(replicas: pd.DataFrame) -> dict[str, list[Any]] | None:
    """Return the means of a sweep as cells, in the units that are shown: a row for each metric and p.

    Args:
        replicas: one row for each replica, at the end of training.

    Returns:
        Header and rows of cells; None if no replica has a metric that is shown.
    """
    table = paired_means(replicas, sweep_metrics(replicas))
    if table.empty:
        return None
    cells = list(table.columns[: table.columns.get_loc("metric")])
    place = {metric: place for place, metric in enumerate(dict.fromkeys(table["metric"]))}
    table = table.sort_values("metric", key=lambda names: names.map(place), kind="stable").head(_MOST_ROWS)
    rows = [
        [
            label_of(str(row["metric"])).title,
            *(number(row[cell]) if isinstance(row[cell], int | float) else str(row[cell]) for cell in cells),
            *_with_interval(row, MEAN),
            replicas_in_words(row["n"], row["replicas"]),
            *_with_interval(row, DIFFERENCE),
            replicas_in_words(row["pairs"], row["replicas"] if row["pairs"] else 0),
        ]
        for row in table.to_dict("records")
    ]
    last = ("mean", "95 % interval", "n", "difference to p = 0", "95 % interval", "pairs")
    return {"header": ["metric", *cells, *last], "rows": rows}


def sweep_metrics(replicas: pd.DataFrame) -> list[str]:
    """Return the metrics that are shown of a sweep: errors (last, best and selected), active fractions, norms.

    Example:
        >>> sweep_metrics(pd.DataFrame({"p": [0.1], "test/error": 0.2, "norm/hidden": 9.0, "test/loss": 0.3}))
        ['test/error', 'norm/hidden']
    """
    kinds = (
        lambda name: name.endswith("/error"),
        lambda name: "/active_fraction" in name,
        lambda name: name.startswith("norm/"),
    )
    return [name for fits in kinds for name in replicas.select_dtypes("number") if fits(name)]


def _with_interval(row: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """Return a mean and its interval, in the unit in which its metric is shown."""
    factor = label_of(row["metric"]).factor
    mean, low, high = (number(factor * row[name]) for name in names[:3])
    return [mean, f"{low} to {high}" if low else ""]
