"""How far a run is: a bar with steps a second and the time that is left, or plain lines."""

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from noisereg.labels import label_of, measured_as

_LINES = 20
_MOST_CELLS = 4  # of p and learning rate, beyond which a line shows the first and the last
_SHOWN = ("test/error", "val/error", "test/active_fraction")


class RunProgress(Callback):
    """Print the epochs done, the steps a second of all replicas together, and the time left for the whole run.

    On a terminal this is a bar; elsewhere it is a line after a measurement, some twenty in all. One display serves all
    trainers of a run, one after the other.

    Args:
        console: to print on.
        num_epochs: of one training.
        num_replicas: of the run.
        at_once: how many of them a trainer trains.
        names: what names each replica: p, seed and, if there are several learning rates, lr. Values are then printed by
            p and learning rate.

    Attributes:
        place: number of the first replica that is being trained, from 0.
    """

    def __init__(
        self,
        console: Console,
        num_epochs: int,
        *,
        num_replicas: int = 1,
        at_once: int = 1,
        names: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        self._console, self._num_epochs, self._names = console, num_epochs, names
        self._num_trainers, self._at_once = num_replicas // at_once, at_once
        self.place = 0
        self._bar: Progress | None = None
        self._began, self._resumed = 0.0, 0.0
        self._steps_before, self._steps = 0, 0
        self._line = -1

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock, and the bar on a terminal; print where a training goes on."""
        if not self._began:
            self._began, self._resumed = time.monotonic(), self._done(pl_module)
        self._steps_before = _steps(pl_module)
        self._line = self._due_lines(pl_module)
        if trainer.ckpt_path and trainer.is_global_zero:
            words = f"goes on {self._which()}at epoch {_epochs(pl_module):,.0f} of {self._num_epochs:,}"
            self._console.print(words, highlight=False, soft_wrap=True)
        if self._console.is_terminal and not self._bar:
            columns = [
                TextColumn("{task.description}epoch {task.fields[epoch]:,.0f} of {task.fields[epochs]:,}"),
                BarColumn(),
                TextColumn("{task.fields[speed]}"),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
            ]
            self._bar = Progress(*columns, console=self._console)
            total = self._num_epochs * self._num_trainers
            self._bar.add_task("", total=total, speed="", epoch=0, epochs=self._num_epochs)
            self._bar.start()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Move the bar."""
        if self._bar:
            self._bar.update(
                self._bar.task_ids[0],
                completed=self._done(pl_module),
                description=self._which(),
                epoch=_epochs(pl_module),
                speed=self._speed(pl_module),
            )

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print how far the training is, with what was measured."""
        if trainer.state.fn == TrainerFn.FITTING:
            self._print_line(trainer, pl_module)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print how far the training is, with what was measured last."""
        if not trainer.enable_validation:
            self._print_line(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the bar after the last training."""
        self._steps += (_steps(pl_module) - self._steps_before) * self._at_once
        self._steps_before = _steps(pl_module)
        if self.place + self._at_once >= self._num_trainers * self._at_once:
            self.stop()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Stop the bar."""
        self.stop()

    def stop(self) -> None:
        """Stop the bar, and remove it."""
        if self._bar:
            self._bar.stop()
            self._bar = None

    def _print_line(self, trainer: Trainer, pl_module: LightningModule) -> None:
        line = self._due_lines(pl_module)
        if self._bar or line == self._line or not trainer.is_global_zero:
            return
        self._line = line
        done, total = self._done(pl_module), self._num_epochs * self._num_trainers
        words = self._describe_values(trainer.callback_metrics, getattr(pl_module, "measured", {}))
        left = (time.monotonic() - self._began) * (total - done) / max(done - self._resumed, 1e-9)
        mean = ": mean " if self._at_once > 1 and words else ": " if words else ""
        self._console.print(
            f"{self._which()}epoch {_epochs(pl_module):,.0f} of {self._num_epochs:,}{mean}{', '.join(words)}; "
            f"{self._speed(pl_module)}, {left:,.0f} s left",
            markup=False,
            emoji=False,
            highlight=False,
            soft_wrap=True,
        )

    def _describe_values(self, means: Mapping[str, Any], measured: Mapping[str, Any]) -> list[str]:
        """Return the values in words: those of each p and learning rate, or the first and the last of many."""
        cells = [_format_name(name, without="seed") for name in self._names]
        distinct = list(dict.fromkeys(cells))
        if len(distinct) > _MOST_CELLS:
            distinct = [distinct[0], distinct[-1]]
        words = []
        for key in measured_as(_SHOWN, means):
            label = label_of(key)
            values = [label.format(float(means[key]))]
            if self._at_once > 1 and len(distinct) > 1 and key in measured:
                rows = {cell: [number for number, other in enumerate(cells) if other == cell] for cell in distinct}
                of_cells = {cell: float(measured[key][chosen].nanmean()) for cell, chosen in rows.items()}
                values = [
                    f"{label.format(value)} ({cell})" for cell, value in of_cells.items() if not math.isnan(value)
                ]
            words.append(f"{label.words} {', '.join(values)}")
        return words

    def _which(self) -> str:
        if self._num_trainers == 1:
            return ""
        name = f" ({_format_name(self._names[self.place])})" if self._names else ""
        return f"replica {self.place + 1} of {self._num_trainers}{name}, "

    def _done(self, pl_module: LightningModule) -> float:
        """Count the epochs of all trainings so far."""
        return self.place // self._at_once * self._num_epochs + _epochs(pl_module)

    def _due_lines(self, pl_module: LightningModule) -> int:
        return int(_LINES * self._done(pl_module) / (self._num_epochs * self._num_trainers))

    def _speed(self, pl_module: LightningModule) -> str:
        seconds = max(time.monotonic() - self._began, 1e-9)
        speed = (self._steps + (_steps(pl_module) - self._steps_before) * self._at_once) / seconds
        return f"{speed / 1e6:,.2f} M steps/s" if speed >= 1e5 else f"{speed:,.0f} steps/s"


def _format_name(name: Mapping[str, Any], *, without: str = "") -> str:
    return " ".join(f"{key}={value:g}" for key, value in name.items() if key != without)


def _steps(module: Any) -> int:
    return module.steps_done


def _epochs(module: Any) -> float:
    return module.epochs_done
