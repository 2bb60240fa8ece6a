"""The values that a run logs, by name: means with their bands, the same names for every logger."""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas

from noisereg.engine.measurement import Measurement
from noisereg.labels import measured_as, name_replica
from noisereg.runs.curves import PLACE, Curves
from noisereg.runs.run_logger import RunLogger
from noisereg.runs.signals import held_signals
from noisereg.runs.summary import have_diverged
from noisereg.secrets import hide_secrets
from noisereg.statistics import cell_means

_LIVE = ("test/error", "train/error", "train/loss", "test/active_fraction")  # of one replica among others


class LoggedBands:
    """Log the mean over the seeds and the ends of its 95 % t interval, for each p and learning rate.

    `test/error/p=0.2` is the mean, `test/error/p=0.2/low` and `/high` are the ends. Over training they are those of the
    replicas that still train, whose number is `training/p=0.2` once others have stopped. Of one p and one learning rate
    the mean is logged as `test/error` too, by which a sweep of such runs is drawn against p; of one replica it is all.
    Where replicas are trained in parts, the main metrics of each are logged as they come, as in
    `test/error/p=0.2/seed=3`, and the means when all are trained.

    A logger that raises an error is warned of and left out from then on: a server that is gone ends no training.

    Args:
        loggers: that write the values.
        replicas: what names each replica, column by column.
        at_once: whether a measurement is of all replicas that still run.
    """

    def __init__(
        self, loggers: Sequence[RunLogger], replicas: Sequence[Mapping[str, Any]], *, at_once: bool = True
    ) -> None:
        self._loggers, self._at_once = list(loggers), at_once or len(replicas) == 1
        self._names = pandas.DataFrame(replicas)
        self._by = [name for name in self._names if name != "seed"]
        self._sizes = {values: len(own) for values, own in self._names.groupby(self._by)}
        self._is_one_cell = len(self._sizes) == 1

    def observe(self, measurement: Measurement) -> None:
        """Log what was measured."""
        names = self._names.loc[list(measurement.replicas)].reset_index(drop=True)
        if self._at_once:
            values = self._of_a_step(names.join(pandas.DataFrame(dict(measurement.values))))
        else:
            live = measured_as(_LIVE, measurement.values)
            values = {
                f"{key}/{name_replica(name, between='/')}": float(measurement.values[key][place])
                for place, name in enumerate(names.to_dict("records"))
                for key in live
            }
        self._log(values, step=measurement.step, epoch=measurement.epoch)

    def finish(self, curves: Curves, rows: Sequence[Mapping[str, Any]], figures: Sequence[Path]) -> None:
        """Log how the run ended, and close the loggers.

        Args:
            curves: of all replicas.
            rows: of the replicas, as in result.json; those that stopped early have their last values.
            figures: paths of pictures.
        """
        frame = curves.frame()
        if not self._at_once:
            for (step, epoch), measured in frame.groupby(list(PLACE)):
                self._log(self._of_a_step(measured.drop(columns=list(PLACE))), step=step, epoch=epoch)
        table = pandas.DataFrame(rows)
        ends: Mapping[str, Any] = rows[0] if len(rows) == 1 else self._bands(table.select_dtypes("number"))
        summary = {**ends, **self._count_diverged(table)}
        step = int(frame["step"].max()) if len(frame) else 0
        self._call_each(lambda logger: logger.finish(summary, replicas=table, figures=figures, step=step))

    @contextmanager
    def closed_on_failure(self) -> Iterator[None]:
        """Close the loggers as failed, or as stopped, if an error ends what is within."""
        try:
            yield
        except BaseException as error:
            with held_signals(dropped=True):
                stopped = not isinstance(error, Exception)
                self._call_each(lambda logger: logger.fail(stopped=stopped))
            raise

    def _log(self, values: Mapping[str, float], *, step: int, epoch: int) -> None:
        self._call_each(lambda logger: logger.log(values, step=step, epoch=epoch))

    def _call_each(self, act: Callable[[RunLogger], None]) -> None:
        """Let each logger act; one that raises an error is left out from then on."""
        for logger in list(self._loggers):
            try:
                act(logger)
            except Exception as error:
                self._loggers.remove(logger)
                text = hide_secrets(" ".join(str(error).split())) or type(error).__name__
                warnings.warn(f"{logger.key}: {text}; nothing more is logged there", stacklevel=1)

    def _of_a_step(self, replicas: pandas.DataFrame) -> dict[str, float]:
        """Return means and ends by name, and over how many replicas they are where others of a cell have stopped."""
        numbers = {}
        for values, own in replicas.groupby(self._by):
            if len(own) < self._sizes[values]:
                place = name_replica(dict(zip(self._by, values, strict=True)), between="/")
                numbers[f"training/{place}"] = len(own)
        return {**self._bands(replicas), **numbers}

    def _count_diverged(self, table: pandas.DataFrame) -> dict[str, int]:
        """Return how many replicas of each cell diverged and how many there are, by name, if any did."""
        failed = have_diverged(table)
        counts: dict[str, int] = {}
        for values, own in failed.groupby([table[column] for column in self._by]) if failed.any() else ():
            place = name_replica(dict(zip(self._by, values, strict=True)), between="/")
            counts |= {f"diverged/{place}": int(own.sum()), f"replicas/{place}": len(own)}
        return counts

    def _bands(self, replicas: pandas.DataFrame) -> dict[str, float]:
        """Return means and ends by name, from a row for each replica."""
        metrics = [name for name in replicas if name not in self._names]
        table = cell_means(replicas, metrics, by=self._by)
        logged: dict[str, float] = {}
        for row in table[table["n"] > 0].to_dict("records"):
            place = name_replica({column: row[column] for column in self._by}, between="/")
            name = f"{row['metric']}/{place}"
            if self._is_one_cell:
                logged[row["metric"]] = row["mean"]
            if len(self._names) > 1:
                ends = {f"{name}/low": row["low"], f"{name}/high": row["high"]} if row["n"] > 1 else {}
                logged |= {name: row["mean"], **ends}
        return logged
