"""The means of a sweep as a table: of each metric at each p, beside the paired difference to p = 0."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from noisereg.labels import label_of
from noisereg.report.groups.run_group import RunGroup
from noisereg.report.page.cells import number
from noisereg.statistics import bands

_CELL = ("arm", "lr", "p")
_NUMBERS = ("mean", "low", "high", "n")
_DIFFERENCES = ("difference", "difference_low", "difference_high", "pairs")
_MOST_ROWS = 400  # results of more are in result.json


def means_table(group: RunGroup) -> dict[str, list[Any]] | None:
    """Return the means of a sweep as cells, in the units that are shown: a row for each metric and p.

    Returns:
        Header and rows of cells; None if no replica has a metric that is shown.
    """
    table = sweep_means(group)
    if table.empty:
        return None
    cells = list(table.columns[: table.columns.get_loc("metric")])
    place = {metric: place for place, metric in enumerate(dict.fromkeys(table["metric"]))}
    table = table.sort_values("metric", key=lambda names: names.map(place), kind="stable").head(_MOST_ROWS)
    rows = [
        [
            label_of(str(row["metric"])).title,
            *(number(row[cell]) if isinstance(row[cell], int | float) else str(row[cell]) for cell in cells),
            *_with_interval(row, _NUMBERS),
            *_with_interval(row, _DIFFERENCES),
        ]
        for row in table.to_dict("records")
    ]
    last = ("mean", "95 % interval", "n", "difference to p = 0", "95 % interval", "pairs")
    return {"header": ["metric", *cells, *last], "rows": rows}


def sweep_means(group: RunGroup) -> pd.DataFrame:
    """Return the mean of each metric at each p, beside its paired difference to p = 0.

    Metrics are the errors (last, best, and selected by the validation samples), the active fractions of the layers and
    the norms.

    Args:
        group: of runs.

    Returns:
        Columns arm and lr if there are several, p, metric, mean, low, high and n, then difference, difference_low,
        difference_high and pairs: the interval over seeds that have both, nan and 0 where there is no p = 0 or where
        it is p = 0 itself. In the unit of the metric.

    Example:
        >>> from pathlib import Path
        >>> from noisereg.runs.reading import Run
        >>> replicas = [{"p": p, "seed": s, "test/error": 0.5 - p + s / 10} for p in (0.0, 0.2) for s in range(3)]
        >>> group = RunGroup("Sweep", "sweep", [Run(Path("run"), "finished", record={"replicas": replicas})])
        >>> sweep_means(group)[["p", "metric", "mean", "difference", "pairs"]].round(3)
             p      metric  mean  difference  pairs
        0  0.0  test/error   0.6         NaN      0
        1  0.2  test/error   0.4        -0.2      3
    """
    replicas = group.replicas
    cells = [column for column in _CELL if column in replicas]
    metrics = sweep_metrics(replicas)
    if not metrics or not {"p", "seed"} <= set(replicas):
        return pd.DataFrame(columns=[*cells, "metric", *_NUMBERS, *_DIFFERENCES])
    changes = _changes(replicas, metrics, [*(cell for cell in cells if cell != "p"), "seed"])
    parts = [
        bands(replicas, metric, by=cells)
        .merge(bands(changes, metric, by=cells).set_axis([*cells, *_DIFFERENCES], axis=1), on=cells, how="left")
        .assign(metric=metric)
        for metric in metrics
    ]
    table = pd.concat(parts).sort_values(cells, kind="stable", ignore_index=True)
    table["pairs"] = table["pairs"].fillna(0).astype(int)
    return table[[*cells, "metric", *_NUMBERS, *_DIFFERENCES]]


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


def _changes(replicas: pd.DataFrame, metrics: Sequence[str], pair: Sequence[str]) -> pd.DataFrame:
    """Replace the metrics of each replica with p > 0 by their difference to its partner at p = 0."""
    noisy = replicas[replicas["p"] != 0]
    quiet = replicas[replicas["p"] == 0].set_index(list(pair))[list(metrics)]
    partners = quiet.reindex(pd.MultiIndex.from_frame(noisy[list(pair)]) if len(pair) > 1 else noisy[pair[0]])
    return noisy.assign(**{metric: noisy[metric] - partners[metric].to_numpy() for metric in metrics})


def _with_interval(row: Mapping[str, Any], names: tuple[str, str, str, str]) -> list[str]:
    """Return a mean, its interval and the number of its values, in the unit in which its metric is shown."""
    factor = label_of(row["metric"]).factor
    mean, low, high = (number(factor * row[name]) for name in names[:3])
    return [mean, f"{low} to {high}" if low else "", f"{row[names[3]]:g}" if row[names[3]] else ""]
