"""What the replicas of a run came to, as a table for the terminal."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas
from rich.box import SIMPLE
from rich.table import Table

from noisereg.labels import DIVERGED, INTERVAL, Label, in_words, label_of, measured_as, without_threshold
from noisereg.statistics import mean_interval

_ERRORS = ("test/error", "val/error", "train/error")
_PLANNED_ENDS = ("budget", "zero train error", *DIVERGED)
_OF_ONE_LAYER = ("test/active_neurons", "train/active_neurons", "train/associated_neurons")
_MOST_OTHERS = 3  # metrics, where none of these was measured
_OF_SEVERAL_LAYERS = ("test/active_fraction", "train/active_fraction", "test/dead_fraction")


def replica_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Tabulate the mean over the seeds, with half its 95 % t interval, in a row for each p (and learning rate)."""
    frame = pandas.DataFrame(rows)
    by = [name for name in ("lr", "p") if name in frame]
    labels = {metric: label_of(metric) for metric in summary_metrics(frame)}
    caption = "\n".join(filter(None, (INTERVAL, early_ends_in_words([frame]))))
    table = Table(box=SIMPLE, caption=caption, padding=0)  # within 80 columns
    lines = [
        [*(in_words(value) for value in values), str(len(group)), *(_cell(group[key], labels[key]) for key in labels)]
        for values, group in frame.groupby(by)
    ]
    headings = (*by, "n", *(label.title for label in labels.values()))
    for words, cells in zip(headings, zip(*lines, strict=True), strict=True):
        longest = max(len(part) for cell in cells for part in cell.splitlines())
        table.add_column(words, justify="right", overflow="fold", min_width=longest, max_width=max(longest, 10))
    for line in lines:
        table.add_row(*line)
    return table


def early_ends_in_words(tables: Iterable[pandas.DataFrame]) -> str:
    """Count how many replicas something else than their plan has ended, and name that; nothing if there are none.

    Example:
        >>> early_ends_in_words([pandas.DataFrame({"seed": [0, 1], "ended_by": ["budget", "EarlyStopping"]})])
        '1 of 2 replicas ended early, by EarlyStopping'
    """
    tables = list(tables)
    ends = [str(end) for rows in tables if "ended_by" in rows for end in rows["ended_by"].dropna()]
    early = [end for end in ends if end not in _PLANNED_ENDS]
    by = ", ".join(dict.fromkeys(early))
    return f"{len(early)} of {sum(map(len, tables))} replicas ended early, by {by}" if early else ""


def summary_metrics(metrics: Iterable[str]) -> list[str]:
    """Return the few metrics that a terminal has room for: errors, which neurons fire, and how many labels changed.

    Where none of these was measured, the first ones that were stand in their place.

    Example:
        >>> summary_metrics(["norm/hidden", "train/error", "train/active_neurons"])
        ['train/error', 'train/active_neurons']
    """
    measured = list(metrics)
    has_layers = any(without_threshold(name).startswith("test/active_fraction/") for name in measured)
    shown = (*_ERRORS, *(_OF_SEVERAL_LAYERS if has_layers else _OF_ONE_LAYER), "noise/measured_rate")
    return measured_as(shown, measured) or [name for name in measured if "/" in name][:_MOST_OTHERS]


def _cell(values: pandas.Series, label: Label) -> str:
    """Return a mean with its interval, and of how many replicas it is if some have no value."""
    mean, low, high, n = mean_interval(values)
    missing = f"\n({n} of {len(values)})" if n < len(values) else ""
    return (label.format_mean(mean, low, high).replace(" [", "\n[") or "nan") + missing
