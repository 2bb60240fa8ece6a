"""How far a run is: a bar with steps a second and the time that is left, or plain lines."""

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from noisereg.labels import label_of, measured_as, name_replica
from noisereg.terminal import print_lines

_LINES = 20
_MOST_CELLS = 4  # of p and learning rate, beyond which a line shows the first and the last
_MOST_PLACES = 4  # of trainings at once, beyond which the bar counts them
SHOWN = ("test/error", "val/error", "test/active_fraction")


@runtime_checkable
class Display(Protocol):
    """What is told how far each training of a run is, by its place among them: a number from 0."""

    def begin(self, place: int, epochs: float, steps: int, *, goes_on: bool) -> None:
        """Begin with a training that has made so many epochs and steps already."""

    def move(self, place: int, epochs: float, steps: int) -> None:
        """Show how far a training is."""

    def print_values(
        self, place: int, epochs: float, steps: int, means: Mapping[str, Any], measured: Mapping[str, Any]
    ) -> None:
        """Print how far a training is, with what was measured: the means, and the values of replicas at once."""

    def end(self, place: int) -> None:
        """End with a training, however many epochs it has made."""

    def stop(self) -> None:
        """Take away what is shown."""


class RunDisplay:
    """Print the epochs done, the steps a second of all replicas together, and the time left for the whole run.

    On a terminal this is a bar; elsewhere it is a line after a measurement, some twenty in all. One display serves all
    trainings of a run, one after the other or several at a time.

    Args:
        console: to print on.
        num_epochs: of one training.
        parts: the numbers of the replicas of each training.
        names: what names each replica: p, seed and, if there are several learning rates, lr. Values are then printed by
            p and learning rate.
    """

    def __init__(
        self,
        console: Console,
        num_epochs: int,
        *,
        parts: Sequence[Sequence[int]] = ((0,),),
        names: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        self._console, self._num_epochs, self._parts, self._names = console, num_epochs, parts, names
        self._num_trainings = len(parts)
        self._bar: Progress | None = None
        self._began = 0.0
        self._epochs: dict[int, float] = {}  # done, by place
        self._resumed: dict[int, float] = {}  # those of them that were done before
        self._steps: dict[int, int] = {}  # made here
        self._steps_before: dict[int, int] = {}
        self._under_way: set[int] = set()
        self._line = -1

    def skip(self, place: int) -> None:
        """Count a training that was finished before."""
        self._epochs[place] = self._resumed[place] = self._num_epochs

    def begin(self, place: int, epochs: float, steps: int, *, goes_on: bool = False) -> None:
        """Start the clock, and the bar on a terminal; print where a training goes on."""
        self._began = self._began or time.monotonic()
        self._epochs[place] = self._resumed[place] = epochs
        self._steps_before[place] = steps - self._steps.get(place, 0)
        self._under_way.add(place)
        self._line = self._due_lines()
        if goes_on:
            words = f"goes on {self._which(place)}at epoch {epochs:,.0f} of {self._num_epochs:,}"
            print_lines(self._console, words)
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
            total = self._num_epochs * self._num_trainings
            self._bar.add_task("", total=total, speed="", epoch=0, epochs=self._num_epochs)
            self._bar.start()

    def move(self, place: int, epochs: float, steps: int) -> None:
        """Move the bar."""
        self._count(place, epochs, steps)
        if self._bar:
            self._bar.update(
                self._bar.task_ids[0],
                completed=self._done(),
                description=self._which(*sorted(self._under_way)),
                epoch=min((self._epochs[other] for other in self._under_way), default=epochs),
                speed=self._speed(),
            )

    def print_values(
        self, place: int, epochs: float, steps: int, means: Mapping[str, Any], measured: Mapping[str, Any]
    ) -> None:
        """Print a line, if one is due and there is no bar.

        Args:
            place: of the training.
            epochs: that it has made.
            steps: that it has made.
            means: of what was measured.
            measured: the values of each replica that is trained at once.
        """
        self._count(place, epochs, steps)
        line = self._due_lines()
        if self._bar or line == self._line:
            return
        self._line = line
        done, total = self._done(), self._num_epochs * self._num_trainings
        words = self._describe_values(means, measured, self._parts[place])
        left = (time.monotonic() - self._began) * (total - done) / max(done - sum(self._resumed.values()), 1e-9)
        mean = ": mean " if len(self._parts[place]) > 1 and words else ": " if words else ""
        print_lines(
            self._console,
            f"{self._which(place)}epoch {epochs:,.0f} of {self._num_epochs:,}{mean}{', '.join(words)}; "
            f"{self._speed()}, {left:,.0f} s left",
        )

    def pause(self, place: int) -> None:
        """Show a training as none that is under way, until it begins again."""
        self._under_way.discard(place)

    def end(self, place: int) -> None:
        """Count a training as done, however many epochs it has made; stop the bar after the last one."""
        self._epochs[place] = self._num_epochs
        self._under_way.discard(place)
        if len(self._epochs) == self._num_trainings and not self._under_way:
            self.stop()

    def stop(self) -> None:
        """Stop the bar, and remove it."""
        if self._bar:
            self._bar.stop()
            self._bar = None

    def _count(self, place: int, epochs: float, steps: int) -> None:
        self._epochs[place], self._steps[place] = epochs, steps - self._steps_before[place]

    def _describe_values(
        self, means: Mapping[str, Any], measured: Mapping[str, Any], replicas: Sequence[int]
    ) -> list[str]:
        """Return the values in words: those of each p and learning rate, or the first and the last of many."""
        names = [self._names[replica] for replica in replicas] if self._names else []
        cells = [name_replica({key: name[key] for key in name if key != "seed"}) for name in names]
        distinct = list(dict.fromkeys(cells))
        if len(distinct) > _MOST_CELLS:
            distinct = [distinct[0], distinct[-1]]
        words = []
        for key in measured_as(SHOWN, means):
            label = label_of(key)
            values = [label.format(float(means[key]))]
            if len(replicas) > 1 and len(distinct) > 1 and key in measured:
                rows = {cell: [number for number, other in enumerate(cells) if other == cell] for cell in distinct}
                values_of = torch.as_tensor(measured[key])
                of_cells = {cell: float(values_of[chosen].nanmean()) for cell, chosen in rows.items()}
                values = [
                    f"{label.format(value)} ({cell})" for cell, value in of_cells.items() if not math.isnan(value)
                ]
            words.append(f"{label.words} {', '.join(values)}")
        return words

    def _which(self, *places: int) -> str:
        """Return which of several trainings are at these places."""
        if self._num_trainings == 1 or not places:
            return ""
        kind = "replica" if all(len(part) == 1 for part in self._parts) else "part"
        if len(places) > 1:
            numbers = ", ".join(str(place + 1) for place in places)
            which = f"{kind}s {numbers}" if len(places) <= _MOST_PLACES else f"{len(places)} {kind}s"
            return f"{which} of {self._num_trainings}, "
        return f"{self.name_training(places[0])}, "

    def name_training(self, place: int) -> str:
        """Return the name of one of several trainings, as in "replica 2 of 4 (p = 0, seed = 1)"."""
        numbers, count = self._parts[place], self._num_trainings
        if all(len(part) == 1 for part in self._parts):
            return f"replica {place + 1} of {count}" + (f" ({name_replica(self._names[place])})" if self._names else "")
        return f"part {place + 1} of {count} (replicas {_name_ranges(numbers)} of {sum(map(len, self._parts))})"

    def _done(self) -> float:
        """Count the epochs of all trainings so far."""
        return sum(self._epochs.values())

    def _due_lines(self) -> int:
        return int(_LINES * self._done() / (self._num_epochs * self._num_trainings))

    def _speed(self) -> str:
        seconds = max(time.monotonic() - self._began, 1e-9)
        speed = sum(steps * len(self._parts[place]) for place, steps in self._steps.items()) / seconds
        return f"{speed / 1e6:,.2f} M steps/s" if speed >= 1e5 else f"{speed:,.0f} steps/s"


class RunProgress(Callback):
    """Show how far a training of the run is.

    Args:
        display: of the whole run.
        place: of the training among those of the run, from 0.
    """

    def __init__(self, display: Display, *, place: int = 0) -> None:
        self._display, self._place = display, place

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin with the training."""
        goes_on = bool(trainer.ckpt_path) and trainer.is_global_zero
        self._display.begin(self._place, *_done_by(pl_module), goes_on=goes_on)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Show the step."""
        self._display.move(self._place, *_done_by(pl_module))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print how far the training is, with what was measured."""
        if trainer.state.fn == TrainerFn.FITTING:
            self._print_values(trainer, pl_module)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print how far the training is, with what was measured last."""
        if not trainer.enable_validation:
            self._print_values(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End with the training."""
        self._display.end(self._place)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Take away what is shown."""
        self._display.stop()

    def _print_values(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero:
            measured = getattr(pl_module, "measured", {})
            self._display.print_values(self._place, *_done_by(pl_module), trainer.callback_metrics, measured)


def _name_ranges(numbers: Sequence[int]) -> str:
    """Return ascending numbers, counted from 1, with those that follow one another as ranges.

    Example:
        >>> _name_ranges([0, 1, 2, 5, 8, 9])
        '1-3, 6, 9-10'
    """
    ends: list[list[int]] = []
    for number in numbers:
        if ends and number == ends[-1][1] + 1:
            ends[-1][1] = number
        else:
            ends.append([number, number])
    return ", ".join(f"{first + 1}-{last + 1}" if first < last else f"{first + 1}" for first, last in ends)


def _done_by(module: Any) -> tuple[float, int]:
    """Return the epochs and the steps that a module has made."""
    return module.epochs_done, module.steps_done
