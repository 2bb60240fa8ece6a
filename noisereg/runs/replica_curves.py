"""The curves of many replicas: one row a replica and measurement, one column a metric."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import torch
from jaxtyping import Bool, Float
from lightning.pytorch import Callback
from torch import Tensor

from noisereg.files.atomic import write_atomically
from noisereg.runs.nameless_logger import NamelessLogger

_INDEX = ("step", "epoch")
_SHARE_OF_TIME = 0.02  # that writing the file may take


class ReplicaCurves(NamelessLogger, Callback):
    """A Lightning logger that keeps what is measured of every replica, and writes it to a csv file if given one.

    Rows begin with step, epoch and what names the replica (p, seed and, if there are several, lr). A replica that has
    stopped has no more rows. The file is written whole, so a reader never sees half a row.

    As a callback of the same trainer it keeps its rows in the checkpoint, so a resumed run has no gap and no row twice.

    Args:
        path: of the csv file; None to keep the rows in memory only.
        replicas: what names each, column by column.

    Example:
        >>> import torch
        >>> table = ReplicaCurves(None, [{"p": 0.0, "seed": 0}, {"p": 0.2, "seed": 0}])
        >>> values = {"test/error": torch.tensor([0.5, 0.25])}
        >>> table.log_replicas(values, step=240, epoch=1, running=torch.tensor([True, True]))
        >>> table.frame()[["step", "p", "test/error"]].values.tolist()
        [[240.0, 0.0, 0.5], [240.0, 0.2, 0.25]]
    """

    def __init__(self, path: Path | None, replicas: Sequence[Mapping[str, Any]]) -> None:
        super().__init__()
        self.path = path
        self._names = pandas.DataFrame(replicas)
        self._blocks: list[pandas.DataFrame] = []
        self._written, self._price = time.monotonic(), 0.1

    def log_replicas(
        self,
        values: Mapping[str, Float[Tensor, " replicas"]],
        *,
        step: int,
        epoch: int,
        running: Bool[Tensor, " replicas"],
    ) -> None:
        """Add a row for each running replica."""
        columns = {key: _seven_digits(value.double().cpu().numpy()) for key, value in values.items()}
        place = {"step": step, "epoch": epoch}
        block = pandas.concat([self._names.assign(**place)[[*place, *self._names]], pandas.DataFrame(columns)], axis=1)
        self._blocks.append(block[running.cpu().numpy()])
        if time.monotonic() - self._written > self._price / _SHARE_OF_TIME:
            self.write()

    def finalize(self, status: str) -> None:
        """Write the file a last time."""
        self.write()

    def write(self) -> None:
        """Write all rows."""
        began = time.monotonic()
        if self.path is not None and self._blocks:
            text = self.frame().to_csv(index=False, lineterminator="\n")
            write_atomically(self.path, lambda file: file.write(text.encode()))
        self._written = time.monotonic()
        self._price = max(self._written - began, 0.1)

    def state_dict(self) -> dict[str, Any]:
        """Give all rows, as plain tensors."""
        frame = self.frame()
        return {"columns": {key: torch.tensor(frame[key].to_numpy()) for key in frame}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the rows of the run that is resumed."""
        frame = pandas.DataFrame({key: values.numpy() for key, values in state_dict["columns"].items()})
        self._blocks = [block for _, block in frame.groupby("step")]

    def frame(self) -> pandas.DataFrame:
        """Give all rows."""
        return pandas.concat(self._blocks, ignore_index=True) if self._blocks else self._names.iloc[:0]

    def results(self, metric: str) -> list[dict[str, Any]]:
        """Give the newest value of every metric for each replica, and the smallest of one metric with its epoch."""
        frame, names = self.frame(), list(self._names)
        groups = frame.groupby(names, sort=False)
        last = groups.last(skipna=False).drop(columns=list(_INDEX))
        best = frame.loc[groups[metric].idxmin(), [*names, metric, "epoch"]].set_index(names)
        table = last.join(best.set_axis([f"best/{metric}", f"best/{metric}/epoch"], axis=1))
        rows = table.reset_index().to_dict("records")
        return [{key: value for key, value in row.items() if not pandas.isna(value)} for row in rows]


def _seven_digits(values: Float[np.ndarray, " replicas"]) -> Float[np.ndarray, " replicas"]:
    """Round to the digits that float32 has."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        scale = 10.0 ** (6 - np.floor(np.log10(np.abs(values))))
        rounded = np.round(values * scale) / scale
    return np.where(np.isfinite(rounded) & (values != 0), rounded, values)
