"""What the replicas of a run came to, as a table for the terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas
from rich.box import SIMPLE
from rich.table import Table

from noisereg.statistics import Interval, mean_interval

_SHOWN = {  # metric: (words, heading of a column, factor, unit, digits)
    "test/error": ("test error", "test\nerror %", 100, " %", 2),
    "val/error": ("validation error", "valid.\nerror %", 100, " %", 2),
    "train/error": ("train error, clean labels", "train\nerror %", 100, " %", 2),
    "train/loss": ("train loss, as trained", "train\nloss", 1, "", 4),
    "test/active_neurons": ("active neurons, test", "active,\ntest", 1, "", 1),
    "train/active_neurons": ("active neurons, train", "active,\ntrain", 1, "", 1),
    "test/active_fraction": ("active fraction, test", "active\n%, test", 100, " %", 1),
    "train/active_fraction": ("active fraction, train", "active\n%, train", 100, " %", 1),
    "test/dead_fraction": ("never active, test", "never\nactive %", 100, " %", 1),
    "train/associated_neurons": ("associated with a class, train", "associ-\nated", 1, "", 0),
    "noise/measured_rate": ("labels that changed", "labels\nchanged %", 100, " %", 1),
}
_COLUMNS = (
    "test/error",
    "train/error",
    "test/active_neurons",
    "train/active_neurons",
    "train/associated_neurons",
    "noise/measured_rate",
)


def in_words(metric: str, value: float) -> str:
    """Return a value with its name and unit, as in "test error 5.20 %".

    Example:
        >>> in_words("test/error", 0.052)
        'test error 5.20 %'
    """
    words, _, factor, unit, digits = _SHOWN[metric]
    return f"{words} {factor * value:,.{digits}f}{unit}"


def replica_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Lay out the mean over the seeds, with half its 95 % t interval, in a row for each p (and learning rate).

    Args:
        rows: of the replicas, as in result.json.
    """
    frame = pandas.DataFrame(rows)
    by = [name for name in ("lr", "p") if name in frame]
    shown = {metric: _SHOWN[metric] for metric in _COLUMNS if metric in frame}
    table = Table(box=SIMPLE, caption="mean ± 95 % t interval", padding=0)  # within 80 columns
    for words in (*by, "seeds", *(heading for _, heading, *_ in shown.values())):
        table.add_column(words, justify="right", overflow="fold")
    for values, group in frame.groupby(by):
        cells = [
            _cell(mean_interval(factor * group[metric].dropna()), digits)
            for metric, (_, _, factor, _, digits) in shown.items()
        ]
        table.add_row(*(f"{value:g}" for value in values), str(len(group)), *cells)
    return table


def _cell(interval: Interval, digits: int) -> str:
    half = f"±{interval.high - interval.mean:.{digits}f}" if interval.n > 1 else ""
    return f"{interval.mean:,.{digits}f}{half}"
