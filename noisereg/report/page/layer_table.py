"""How active each layer of a deep network is, and what noise changes of it: a table with a row for each layer."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from noisereg.labels import label_of
from noisereg.report.groups.naming import rows_by_name
from noisereg.report.page.cells import replicas_in_words
from noisereg.report.page.means_table import FEWEST_LAYERS, fraction_stem, shown_means, with_interval
from noisereg.statistics import DIFFERENCE, MEAN, paired_means


def layer_tables(replicas: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the active fractions of the layers as tables, one for each split, in percent and percentage points.

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
    stems = dict.fromkeys(stem for name in replicas if (stem := fraction_stem(str(name))))
    ordered = sorted(stems, key=lambda stem: ("test", "train").index(stem.partition("/")[0]))
    return [table for stem in ordered if (table := _table(replicas, stem))]


def _table(replicas: pd.DataFrame, stem: str) -> dict[str, Any] | None:
    layers = [str(name) for name in replicas if str(name).startswith(stem) and replicas[name].notna().any()]
    networks = list(rows_by_name(replicas))
    if len(layers) < FEWEST_LAYERS or len(networks) < 2:
        return None
    means = shown_means(paired_means(replicas, layers))
    cells = {name: rows.set_index("metric").to_dict("index") for name, rows in rows_by_name(means).items()}
    heads = {name: f"{name} (%{_lacking_in_words(cells[name].values())})" for name in networks}
    changed = [name for name in networks if any(cell["pairs"] for cell in cells[name].values())]
    body = [
        [
            layer.removeprefix(stem),
            *(_cell(cells[name][layer], MEAN) for name in networks),
            *(_cell(cells[name][layer], DIFFERENCE) for name in changed),
        ]
        for layer in layers
    ]
    header = ["layer", *heads.values(), *(f"{name} less p = 0 (points)" for name in changed)]
    seeds = "one seed" if means["n"].max() == 1 else f"95 % t intervals over {means['n'].max()} seeds"
    what = label_of(stem.removesuffix("/")).words.removeprefix("active fraction, ")
    return {"title": f"Active units of each layer, {what} ({seeds})", "header": header, "rows": body, "more": ""}


def _lacking_in_words(cells: Iterable[Mapping[str, Any]]) -> str:
    """Return of how many replicas the layer is that fewest have a value of, if not all have one."""
    fewest = min(cells, key=lambda cell: cell["n"])
    lacks = fewest["n"] < fewest["replicas"]
    return f", {replicas_in_words(fewest['n'], fewest['replicas'])} replicas" if lacks else ""


def _cell(cell: Mapping[str, Any], names: Sequence[str]) -> str:
    mean, interval = with_interval(cell, names)
    return f"{mean} ({interval})" if interval else mean
