"""How far a training of replicas is: a bar with steps a second and the time that is left, or plain lines."""

import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

_LINES = 20


class StepsProgress(Callback):
    """Show the epochs done, the steps a second of all replicas together, and the time left.

    On a terminal this is a bar; elsewhere it is a line after a measurement, some twenty in all.

    Args:
        console: to print on.
        num_epochs: of the whole training.
        num_replicas: that make a step at once.
        metric: whose mean over the replicas is shown.
    """

    def __init__(self, console: Console, num_epochs: int, *, num_replicas: int, metric: str = "test/error") -> None:
        self._console, self._num_epochs, self._num_replicas, self._metric = console, num_epochs, num_replicas, metric
        self._bar: Progress | None = None
        self._began, self._before, self._resumed, self._said = 0.0, 0, 0.0, 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock, and the bar on a terminal."""
        self._began, self._before, self._resumed = time.monotonic(), _steps(pl_module), _epochs(pl_module)
        self._said = self._share(pl_module)
        if self._console.is_terminal:
            columns = [
                TextColumn("epoch {task.completed:,.0f} of {task.total:,}"),
                BarColumn(),
                TextColumn("{task.fields[speed]}"),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
            ]
            self._bar = Progress(*columns, console=self._console)
            self._bar.add_task("", total=self._num_epochs, completed=int(_epochs(pl_module)), speed="")
            self._bar.start()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Move the bar."""
        if self._bar:
            self._bar.update(self._bar.task_ids[0], completed=_epochs(pl_module), speed=self._speed(pl_module))

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say how far the training is, with what was measured last."""
        share = self._share(pl_module)
        if self._bar or share == self._said:
            return
        self._said = share
        done = _epochs(pl_module)
        left = (time.monotonic() - self._began) * (self._num_epochs - done) / (done - self._resumed)
        value = trainer.callback_metrics.get(self._metric)
        words = "" if value is None else f", mean {self._metric} {100 * float(value):.2f} %"
        self._console.print(
            f"epoch {done:,.0f} of {self._num_epochs:,}{words}; {self._speed(pl_module)}, {left:,.0f} s left",
            highlight=False,
        )

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the bar."""
        self._stop()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Stop the bar."""
        self._stop()

    def _share(self, pl_module: LightningModule) -> int:
        """Count the lines that are due."""
        return int(_LINES * _epochs(pl_module) / self._num_epochs)

    def _speed(self, pl_module: LightningModule) -> str:
        seconds = max(time.monotonic() - self._began, 1e-9)
        speed = (_steps(pl_module) - self._before) * self._num_replicas / seconds
        return f"{speed / 1e6:,.2f} M steps/s" if speed >= 1e5 else f"{speed:,.0f} steps/s"

    def _stop(self) -> None:
        if self._bar:
            self._bar.stop()
            self._bar = None


def _steps(module: Any) -> int:
    return module.steps_done


def _epochs(module: Any) -> float:
    return module.epochs_done
