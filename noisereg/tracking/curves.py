"""The curves of a run: one row a step, one column a metric."""

import csv
import io
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import ModelCheckpoint

from noisereg.tracking.environment import is_first_process
from noisereg.tracking.files import write_atomically
from noisereg.tracking.nameless_logger import NamelessLogger

_SECONDS_BETWEEN_WRITES = 5.0


class CurveTable(NamelessLogger):
    """A Lightning logger that keeps every logged value in memory, and in a csv file if it is given one.

    Values logged at one step share a row. Rows begin with step, epoch, p and seed. The file is written whole, at most
    every few seconds and at the end, so a reader never sees half a row. A table that finds its file goes on after
    the step from which a resumed run starts.

    Args:
        path: of the csv file; None to keep the rows in memory only.
        p: strength of the noise, in every row.
        seed: of the run, in every row.

    Attributes:
        rows: a mapping from column to value for each step.

    Example:
        >>> table = CurveTable(None, p=0.1, seed=0)
        >>> table.log_metrics({"test/error": 0.5, "epoch": 0}, step=240)
        >>> table.log_metrics({"train/error": 0.25, "epoch": 0}, step=240)
        >>> table.rows
        [{'step': 240, 'epoch': 0, 'p': 0.1, 'seed': 0, 'test/error': 0.5, 'train/error': 0.25}]
    """

    def __init__(self, path: Path | None, *, p: float, seed: int) -> None:
        super().__init__()
        self.path = path
        self._constants = {"p": p, "seed": seed}
        self._written = time.monotonic()
        self.rows: list[dict[str, Any]] = _read(path) if path and path.exists() else []

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add values to the row of a step."""
        values = dict(metrics)
        step, epoch = int(step or 0), int(values.pop("epoch", 0))
        while self.rows and self.rows[-1]["step"] > step:  # of the run that was cut off, to be made again
            self.rows.pop()
        if not self.rows or self.rows[-1]["step"] != step:
            self.rows.append({"step": step, "epoch": epoch, **self._constants})
        self.rows[-1].update(
            (key, float(f"{value:.7g}")) for key, value in values.items()
        )  # float32 has no more digits
        if time.monotonic() - self._written > _SECONDS_BETWEEN_WRITES:
            self.write()

    def after_save_checkpoint(self, checkpoint_callback: ModelCheckpoint) -> None:
        """See to it that the file goes as far as the checkpoint: it is written with the next values."""
        self._written = -math.inf

    def finalize(self, status: str) -> None:
        """Write the file a last time."""
        self.write()

    def write(self) -> None:
        """Write all rows."""
        self._written = time.monotonic()
        if self.path is None or not is_first_process():  # each process has all rows
            return
        columns = list(dict.fromkeys(column for row in self.rows for column in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_atomically(self.path, lambda file: file.write(text.getvalue().encode()))

    def last(self) -> dict[str, float]:
        """Give the newest value of every metric."""
        return {key: value for row in self.rows for key, value in row.items() if key not in _INDEX}

    def best(self, metric: str) -> dict[str, float]:
        """Give the smallest value of a metric and the epoch it was first seen in, by names that say so."""
        seen = [(row[metric], row["epoch"]) for row in self.rows if metric in row]
        if not seen:
            return {}
        value, epoch = min(seen)
        return {f"best/{metric}": value, f"best/{metric}/epoch": epoch}


_INDEX = ("step", "epoch", "p", "seed")


def _read(path: Path) -> list[dict[str, Any]]:
    with path.open(newline="") as file:
        return [{key: _number(value) for key, value in row.items() if value} for row in csv.DictReader(file)]


def _number(text: str) -> float:
    return int(text) if text.lstrip("-").isdigit() else float(text)
