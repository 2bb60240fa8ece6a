"""What W&B is shown of a grid of replicas: means with their band, the table of replicas and the figures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas
import wandb
from jaxtyping import Bool, Float
from torch import Tensor

from noisereg.report import bands
from noisereg.tracking import NamelessLogger


class WandbBands(NamelessLogger):
    """Log the mean over the seeds and the ends of its 95 % t interval, for each p (and learning rate).

    `test/error/p=0.2` is the mean, `test/error/p=0.2/low` and `/high` are the ends. A run of one replica logs
    `test/error` alone.

    Args:
        run: of W&B.
        replicas: what names each replica, column by column.
    """

    def __init__(self, run: Any, replicas: Sequence[Mapping[str, Any]]) -> None:
        super().__init__()
        self._run = run
        self._names = pandas.DataFrame(replicas)
        self._by = [name for name in self._names if name != "seed"]

    def log_replicas(
        self,
        values: Mapping[str, Float[Tensor, " replicas"]],
        *,
        step: int,
        epoch: int,
        running: Bool[Tensor, " replicas"],
    ) -> None:
        """Log what was measured of the running replicas."""
        logged: dict[str, float] = {"trainer/global_step": step, "epoch": epoch}
        if len(self._names) == 1:
            logged |= {key: float(value[0]) for key, value in values.items()}
        else:
            logged |= self._bands({key: value[running].cpu().numpy() for key, value in values.items()}, running)
        self._run.log(logged)

    def finish(self, rows: Sequence[Mapping[str, Any]], figures: Sequence[Path]) -> None:
        """Log the table of all replicas, and the figures."""
        images = {f"figures/{path.stem}": wandb.Image(str(path)) for path in figures}
        self._run.log({"replicas": wandb.Table(dataframe=pandas.DataFrame(rows)), **images})

    def _bands(self, values: Mapping[str, Any], running: Bool[Tensor, " replicas"]) -> dict[str, float]:
        frame = pandas.DataFrame(values).set_index(
            pandas.MultiIndex.from_frame(self._names[self._by][running.tolist()])
        )
        table = frame.melt(var_name="metric", ignore_index=False).reset_index()
        logged: dict[str, float] = {}
        for row in bands(table, "value", by=["metric", *self._by]).to_dict("records"):
            name = "/".join([row["metric"], *(f"{column}={row[column]:g}" for column in self._by)])
            ends = {f"{name}/low": row["low"], f"{name}/high": row["high"]} if row["n"] > 1 else {}
            logged |= {name: row["mean"], **ends}
        return logged
