"""What the replicas of a run came to, as a table for the terminal."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas
from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text

from noisereg.labels import DIVERGED, INTERVAL, Label, in_words, label_of, measured_as, without_threshold
from noisereg.statistics import mean_interval

_ERRORS = ("test/error", "val/error", "train/error")
_PLANNED_ENDS = ("budget", "zero train error", *DIVERGED)
_OF_ONE_LAYER = ("test/active_neurons", "train/active_neurons", "train/associated_neurons")
LESS = "less"  # in front of what a line of differences is to
_MOST_OTHERS = 3  # metrics, where none of these was measured
_OF_SEVERAL_LAYERS = ("test/active_fraction", "train/active_fraction", "test/dead_fraction")


def replica_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Tabulate the mean over the seeds, with half its 95 % t interval, in a row for each p (and learning rate)."""
    frame = pandas.DataFrame(rows)
    by = [name for name in ("lr", "p") if name in frame]
    labels = {metric: label_of(metric) for metric in summary_metrics(frame)}
    lines = [
        [*map(in_words, values), str(len(group)), *(_cell(group[key], labels[key]) for key in labels)]
        for values, group in frame.groupby(by)
    ]
    table = table_of_lines(lines, (*by, "n", *(label.title for label in labels.values())), settings=len(by))
    table.caption = "\n".join(filter(None, (INTERVAL, early_ends_in_words([frame]))))
    return table


def table_of_lines(lines: Sequence[Sequence[str]], headings: Sequence[str], *, settings: int, title: str = "") -> Table:
    """Return a table within 80 columns in which no number is cut: some settings, n, then a column for each metric.

    Args:
        lines: of cells; one of differences, in which a setting is "less" another, is faint.
        headings: of the columns.
        settings: how many columns come before n.
        title: of the table.
    """
    table = Table(title=Text(title) if title else None, title_justify="left", box=SIMPLE, padding=0)
    lines = [[cell.replace(" [", "\n[") for cell in line] for line in lines]  # the ends of an interval
    for column, words in enumerate(headings):
        longest = max((len(part) for line in lines for part in line[column].splitlines()), default=0)
        is_metric = column > settings  # whose numbers stay whole
        heading = words if is_metric else words.replace(".", ".\n")  # noise.p, callbacks.sparsity.every_n_epochs
        limits: dict[str, Any] = {"max_width": longest if longest > 8 else 10} if is_metric else {}
        shown = longest if is_metric else max(longest, *map(len, heading.splitlines()))
        limits |= {"min_width": shown} if column != settings else {}
        table.add_column(heading, justify="right", overflow="fold", **limits)
    for line in lines:
        is_difference = any(cell.startswith(f"{LESS} ") for cell in line[:settings])
        table.add_row(*map(Text, line), style="dim" if is_difference else "")
    return table


def have_diverged(rows: pandas.DataFrame) -> pandas.Series:
    """Return of each replica whether its training ended with infinite or nan weights or losses.

    Example:
        >>> have_diverged(pandas.DataFrame({"seed": [0, 1], "ended_by": ["budget", "non-finite loss"]})).tolist()
        [False, True]
    """
    return rows["ended_by"].isin(DIVERGED) if "ended_by" in rows else pandas.Series(False, index=rows.index, dtype=bool)


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
    return (label.format_mean(mean, low, high) or "nan") + missing
