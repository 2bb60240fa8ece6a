"""The curves of a run: one row a step, one column a metric."""

import csv
import io
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from noisereg.files.atomic import write_atomically
from noisereg.runs.environment import is_first_process
from noisereg.runs.nameless_logger import NamelessLogger

_SECONDS_BETWEEN_WRITES = 5.0


class CurveTable(NamelessLogger, Callback):
    """A Lightning logger that keeps every logged value in memory, and in a csv file if it is given one.

    Values logged at one step share a row. Rows begin with step, epoch, p and seed. The file is written whole, at most
    every few seconds and at the end, so a reader never sees half a row.

    As a callback of the same trainer it keeps its rows in the checkpoint, so a resumed run has no gap and no row twice.

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
        self.rows: list[dict[str, Any]] = []

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add values to the row of a step."""
        self.rows = self._with(metrics, step)
        if time.monotonic() - self._written > _SECONDS_BETWEEN_WRITES:
            self.write()

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Keep the rows, and what the end of an epoch has measured, which is logged after the checkpoint."""
        results = trainer._results if trainer.state.fn == TrainerFn.FITTING else None
        pending = dict(results.metrics(on_step=False)["log"]) if results else {}
        step = pending.pop("step", None)
        checkpoint["curves"] = self.rows if step is None else self._with(pending, int(step))

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Take up the rows of the run that is resumed."""
        self.rows = checkpoint["curves"]

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

    def selected(self, metric: str, *, by: str) -> dict[str, float]:
        """Give the value of a metric at the first of the smallest values of another, and its epoch, by such names."""
        seen = [(row[by], row["epoch"], row[metric]) for row in self.rows if by in row and metric in row]
        if not seen:
            return {}
        _, epoch, value = min(seen)
        return {f"selected/{metric}": value, f"selected/{metric}/epoch": epoch}

    def _with(self, metrics: Mapping[str, Any], step: int | None) -> list[dict[str, Any]]:
        values = dict(metrics)
        place = {"step": int(step or 0), "epoch": int(values.pop("epoch", 0))}
        digits = {key: float(f"{float(value):.7g}") for key, value in values.items()}  # float32 has no more
        *before, last = self.rows or [{}]
        if last.get("step") == place["step"]:
            return [*before, {**last, **digits}]
        return [*self.rows, {**place, **self._constants, **digits}]


_INDEX = ("step", "epoch", "p", "seed")
