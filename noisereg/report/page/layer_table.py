"""How active each layer of a deep network is, and what noise changes of it: a table with a row for each layer."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from noisereg.report.groups.naming import rows_by_name
from noisereg.statistics import Interval, mean_interval

_FEWEST = 5  # layers; the means of fewer stand in the other tables
_COLUMNS = ("layer", "network", "mean", "low", "high", "n", "difference", "difference_low", "difference_high", "pairs")


def layer_rows(replicas: pd.DataFrame, split: str) -> pd.DataFrame:
    """Compute the mean active fraction of each layer over the seeds, beside its paired difference to p = 0.

    What is compared has the same learning rate and, if there is such a network, the same arm.

    Args:
        replicas: one row for each replica, at the end of training.
        split: train or test.

    Returns:
        One row for each network (what tells its p, arm or rate from the others') and layer, both in the order of the
        rows and columns: mean, low, high and n, then difference, difference_low, difference_high and pairs: nan and 0
        where p is 0, or where there is no p = 0 to compare with. Shares, from 0 to 1.

    Example:
        >>> rows = pd.DataFrame({"p": [0.0, 0.2], "seed": 0, "test/active_fraction/relu": [0.5, 0.25]})
        >>> layer_rows(rows, "test")[["layer", "network", "mean", "difference"]]
          layer  network  mean  difference
        0  relu    p = 0  0.50         NaN
        1  relu  p = 0.2  0.25       -0.25
    """
    stem = f"{split}/active_fraction/"
    layers = [name for name in replicas if str(name).startswith(stem) and replicas[name].notna().any()]
    table = []
    for words, rows in rows_by_name(replicas).items() if layers and "p" in replicas else ():
        base = _quiet(replicas, rows)
        for layer in layers:
            mean = mean_interval(rows[layer])
            change = _difference(rows, base, layer)
            table.append((layer.removeprefix(stem), words, *mean, *change))
    return pd.DataFrame(table, columns=list(_COLUMNS))


def layer_tables(replicas: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the active fractions of the layers as tables, one for each split, in percent and percentage points.

    Args:
        replicas: one row for each replica, at the end of training.

    Returns:
        Title, header and rows of cells of each table; none for networks of few layers, or if there is one p and arm.

    Example:
        >>> columns = {f"test/active_fraction/relu{place}": [0.5, 0.25] for place in range(5)}
        >>> (table,) = layer_tables(pd.DataFrame({"arm": ["none", "smoothing"], "p": [0.0, 0.1], "seed": 0, **columns}))
        >>> table["header"]
        ['layer', 'none (%)', 'smoothing (%)', 'smoothing less p = 0 (points)']
        >>> table["rows"][0]
        ['relu0', '50', '25', '-25']
    """
    return [table for split in ("test", "train") if (table := _table(layer_rows(replicas, split), split))]


def _table(rows: pd.DataFrame, split: str) -> dict[str, Any] | None:
    if rows["layer"].nunique() < _FEWEST or rows["network"].nunique() < 2:
        return None
    networks = list(dict.fromkeys(rows["network"]))
    changed = [name for name in networks if rows.loc[rows["network"] == name, "pairs"].any()]
    cells = rows.set_index(["network", "layer"]).to_dict("index")
    body = [
        [
            layer,
            *(_cell(cells[name, layer], "mean", "low", "high") for name in networks),
            *(_cell(cells[name, layer], "difference", "difference_low", "difference_high") for name in changed),
        ]
        for layer in dict.fromkeys(rows["layer"])
    ]
    header = ["layer", *(f"{name} (%)" for name in networks), *(f"{name} less p = 0 (points)" for name in changed)]
    seeds = "one seed" if rows["n"].max() == 1 else f"95 % t intervals over {rows['n'].max()} seeds"
    return {"title": f"Active units of each layer, {split} ({seeds})", "header": header, "rows": body}


def _quiet(replicas: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Return the replicas without noise that some with the same p, arm and rate are compared with."""
    if (rows["p"] == 0).all():
        return rows[:0]
    found = replicas[replicas["p"] == 0]
    for key, needed in (("lr", True), ("arm", False)):
        if key in rows:
            same = found[found[key] == rows[key].iloc[0]]
            found = same if needed or len(same) else found
    return found if found["seed"].is_unique else found[:0]


def _difference(rows: pd.DataFrame, base: pd.DataFrame, layer: str) -> Interval:
    own, other = (part.set_index("seed")[layer] for part in (rows, base))
    return mean_interval(own.sub(other))


def _cell(cell: Mapping[str, Any], mean: str, low: str, high: str) -> str:
    """Return a share in percent, with its interval if it has one."""
    numbers = [f"{100 * cell[key]:.4g}" for key in (mean, low, high) if not pd.isna(cell[key])]
    return f"{numbers[0]} ({numbers[1]} to {numbers[2]})" if len(numbers) == 3 else "".join(numbers)
