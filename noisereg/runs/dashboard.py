"""What W&B is shown of a grid of replicas: means with their band, the table of replicas and the figures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas
import wandb
from jaxtyping import Bool, Float
from torch import Tensor

from noisereg.runs.nameless_logger import NamelessLogger
from noisereg.statistics import bands


class WandbBands(NamelessLogger):
    """Log the mean over the seeds and the ends of its 95 % t interval, for each p and learning rate.

    `test/error/p=0.2` is the mean, `test/error/p=0.2/low` and `/high` are the ends. Of one p and one learning rate the
    mean is logged as `test/error` too, by which a sweep of such runs is drawn against p; of one replica it is all.

    Args:
        run: of W&B.
        replicas: what names each replica, column by column.
    """

    def __init__(self, run: Any, replicas: Sequence[Mapping[str, Any]]) -> None:
        super().__init__()
        self._run = run
        self._names = pandas.DataFrame(replicas)
        self._by = [name for name in self._names if name != "seed"]
        self._is_one_cell = len(self._names[self._by].drop_duplicates()) == 1

    def log_replicas(
        self,
        values: Mapping[str, Float[Tensor, " replicas"]],
        *,
        step: int,
        epoch: int,
        running: Bool[Tensor, " replicas"],
    ) -> None:
        """Log what was measured of the running replicas."""
        columns = {key: value[running].cpu().numpy() for key, value in values.items()}
        names = self._names[running.tolist()].reset_index(drop=True)
        means = self._bands(pandas.concat([names, pandas.DataFrame(columns)], axis=1))
        self._run.log({"trainer/global_step": step, "epoch": epoch, **means})

    def finish(self, rows: Sequence[Mapping[str, Any]], figures: Sequence[Path]) -> None:
        """Log the table of all replicas and the figures, and take the means of the table for the run's summary.

        Args:
            rows: of the replicas, as in result.json; those that stopped early have their last values.
            figures: paths of pictures.
        """
        table = pandas.DataFrame(rows)
        images = {f"figures/{path.stem}": wandb.Image(str(path)) for path in figures}
        self._run.log({"replicas": wandb.Table(dataframe=table), **images})
        self._run.summary.update(self._bands(table.select_dtypes("number")))

    def _bands(self, replicas: pandas.DataFrame) -> dict[str, float]:
        """Give means and ends by name, from a row for each replica."""
        table = replicas.drop(columns=[*self._names.columns.difference(self._by)]).melt(self._by, var_name="metric")
        logged: dict[str, float] = {}
        for row in bands(table.dropna(), "value", by=["metric", *self._by]).to_dict("records"):
            name = "/".join([row["metric"], *(f"{column}={row[column]:g}" for column in self._by)])
            if self._is_one_cell:
                logged[row["metric"]] = row["mean"]
            if len(self._names) > 1:
                ends = {f"{name}/low": row["low"], f"{name}/high": row["high"]} if row["n"] > 1 else {}
                logged |= {name: row["mean"], **ends}
        return logged
