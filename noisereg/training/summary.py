"""What a grid of replicas came to, as a table for the terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas
from rich.box import SIMPLE
from rich.table import Table

from noisereg.statistics import Interval, mean_interval

_SHOWN = {  # metric: (words, factor, digits)
    "test/error": ("test\nerror %", 100, 2),
    "train/error": ("train\nerror %", 100, 2),
    "test/active_neurons": ("active,\ntest", 1, 1),
    "train/active_neurons": ("active,\ntrain", 1, 1),
    "train/associated_neurons": ("associ-\nated", 1, 0),
    "noise/measured_rate": ("labels\nchanged %", 100, 1),
}


def replica_summary(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Set the mean over the seeds, with half its 95 % t interval, in a row for each p (and learning rate).

    Args:
        rows: of the replicas, as in result.json.
    """
    frame = pandas.DataFrame(rows)
    by = [name for name in ("lr", "p") if name in frame]
    shown = {metric: form for metric, form in _SHOWN.items() if metric in frame}
    table = Table(box=SIMPLE, caption="mean ± 95 % t interval", padding=0)  # within 80 columns
    for words in (*by, "seeds", *(words for words, _, _ in shown.values())):
        table.add_column(words, justify="right", overflow="fold")
    for values, group in frame.groupby(by):
        cells = [_cell(mean_interval(factor * group[metric]), digits) for metric, (_, factor, digits) in shown.items()]
        table.add_row(*(f"{value:g}" for value in values), str(len(group)), *cells)
    return table


def _cell(interval: Interval, digits: int) -> str:
    half = f"±{interval.high - interval.mean:.{digits}f}" if interval.n > 1 else ""
    return f"{interval.mean:,.{digits}f}{half}"
