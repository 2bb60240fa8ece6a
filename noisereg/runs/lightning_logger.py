"""The one Lightning logger of a run: what is measured goes to its curves, dashboard and progress display."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import Logger
from lightning.pytorch.trainer.states import TrainerFn

from noisereg.engine.measurement import Measurement, Observer
from noisereg.runs.curves import Curves


class ObserverLogger(Logger, Callback):
    """Log what is measured to the observers of a run, and save its curves with the checkpoint.

    An engine of many replicas calls `observe`. What Lightning logs of one network is the measurement of one replica.
    As a callback of the same trainer it keeps the curves in the checkpoint, so a resumed run has no gap and no row
    twice.

    Args:
        curves: of what the trainer trains.
        others: observers of the whole run.
        replicas: numbers of what the trainer trains among the replicas of the whole run, for the others; None for all.

    Example:
        >>> logger = ObserverLogger(Curves(None, [{"p": 0.1, "seed": 0}]))
        >>> logger.log_metrics({"test/error": 0.5, "epoch": 0}, step=240)
        >>> logger.log_metrics({"train/error": 0.25, "epoch": 0}, step=240)
        >>> logger.curves.last()
        [{'test/error': 0.5, 'train/error': 0.25}]
    """

    def __init__(
        self, curves: Curves, others: Sequence[Observer] = (), *, replicas: Sequence[int] | None = None
    ) -> None:
        super().__init__()
        self.curves = curves
        self._others, self._numbers = others, replicas
        self._splits: tuple[str, ...] = ()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Learn the names of the splits that are evaluated."""
        self._splits = tuple(getattr(trainer.datamodule, "eval_splits", ()))  # type: ignore[attr-defined]

    def observe(self, measurement: Measurement) -> None:
        """Pass a measurement on to the curves and the other observers."""
        self.curves.observe(measurement)
        if self._numbers is not None:
            measurement = measurement._replace(replicas=[self._numbers[own] for own in measurement.replicas])
        for observer in self._others:
            observer.observe(measurement)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Pass on what Lightning logs of one network."""
        self.observe(self._measurement(metrics, step or 0))

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add to the checkpoint the rows, and what the end of an epoch has measured, which is logged after it."""
        # Lightning has no public way to ask for what it is about to log: `logged_metrics` mixes it with what it logged.
        results = trainer._results if trainer.state.fn == TrainerFn.FITTING else None
        pending = dict(results.metrics(on_step=False)["log"]) if results else {}
        step = pending.pop("step", None)
        checkpoint["curves"] = self.curves.state(None if step is None else self._measurement(pending, int(step)))

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Restore the rows of the run that is resumed."""
        self.curves.load_state(checkpoint["curves"])

    def finalize(self, status: str) -> None:
        """Write the curves a last time."""
        self.curves.write()

    @property
    def name(self) -> str:
        """Return an empty name, as Lightning asks every logger for one."""
        return ""

    @property
    def version(self) -> str:
        """Return an empty version, as Lightning asks every logger for one."""
        return ""

    def log_hyperparams(self, *arguments: Any, **keywords: Any) -> None:
        """Skip what Lightning would log: the configuration is in result.json."""

    def _measurement(self, metrics: Mapping[str, Any], step: int) -> Measurement:
        values = {self._name(key): np.array([float(value)]) for key, value in metrics.items() if key != "epoch"}
        return Measurement(step, int(metrics.get("epoch", 0)), [0], values)

    def _name(self, key: str) -> str:
        """Return the name of a metric; Lightning tells what a callback logs of each split by the loader's number."""
        name, _, number = key.rpartition("/dataloader_idx_")
        return f"{self._splits[int(number)]}/{name}" if name and int(number) < len(self._splits) else key
