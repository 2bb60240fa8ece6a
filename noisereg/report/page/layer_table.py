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
    most = int(means["n"].max())
    heads = [f"{name} (%{_fewer_in_words(cells[name].values(), most)})" for name in networks]
    changed = [name for name in networks if any(cell["pairs"] for cell in cells[name].values())]
    body = [
        [
            layer.removeprefix(stem),
            *(_cell(cells[name][layer], MEAN) for name in networks),
            *(_cell(cells[name][layer], DIFFERENCE) for name in changed),
        ]
        for layer in layers
    ]
    heads += [f"{name} less p = 0 (points{_fewer_pairs_in_words(cells[name].values(), most)})" for name in changed]
    seeds = "one seed" if most == 1 else f"95 % t intervals over {most} seeds"
    what = label_of(stem.removesuffix("/")).words.removeprefix("active fraction, ")
    return {
        "title": f"Active units of each layer, {what} ({seeds})",
        "header": ["layer", *heads],
        "rows": body,
        "more": "",
    }


def _fewer_in_words(cells: Iterable[Mapping[str, Any]], most: int) -> str:
    """Return of how many replicas the layer is that fewest have a value of, if others are of more or some have none."""
    fewest = min(cells, key=lambda cell: cell["n"])
    is_of_fewer = fewest["n"] < max(fewest["replicas"], most)
    return f", {replicas_in_words(fewest['n'], fewest['replicas'])} replicas" if is_of_fewer else ""


def _fewer_pairs_in_words(cells: Iterable[Mapping[str, Any]], most: int) -> str:
    """Return over how many seeds the difference is that fewest have both values of, if others are over more."""
    pairs = min(cell["pairs"] for cell in cells)
    return f", {pairs} pairs" if pairs < most else ""


def _cell(cell: Mapping[str, Any], names: Sequence[str]) -> str:
    mean, interval = with_interval(cell, names)
    return f"{mean} ({interval})" if interval else mean
