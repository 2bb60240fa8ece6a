"""What a run says while it works and when it is done, as plain lines and a table."""

from collections.abc import Mapping, Sequence
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from rich.console import Console
from rich.table import Table

_SHOWN = {  # metric: (words, factor, format)
    "test/error": ("test error", 100, "{:.2f} %"),
    "val/error": ("validation error", 100, "{:.2f} %"),
    "train/error": ("train error, clean labels", 100, "{:.2f} %"),
    "train/loss": ("train loss, as trained", 1, "{:.4g}"),
    "test/active_neurons": ("active neurons, test", 1, "{:,.1f}"),
    "test/active_fraction": ("active fraction, test", 100, "{:.1f} %"),
    "train/active_neurons": ("active neurons, train", 1, "{:,.1f}"),
    "train/active_fraction": ("active fraction, train", 100, "{:.1f} %"),
    "test/dead_fraction": ("never active, test", 100, "{:.1f} %"),
    "train/associated_neurons": ("associated with a class, train", 1, "{:,.0f}"),
    "noise/measured_rate": ("labels that changed", 100, "{:.2f} %"),
}


class ProgressLines(Callback):
    """Print a line after an evaluation, some twenty in all: the progress bar of a log file.

    Args:
        console: to print on.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._said = -1

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say how far the training is."""
        share = 20 * (trainer.current_epoch + 1) // (trainer.max_epochs or 1)
        if trainer.state.fn != TrainerFn.FITTING or share == self._said or not trainer.is_global_zero:
            return
        self._said = share
        seen = {
            key: value for key in ("test/error", "test/active_fraction") if (value := _get(trainer, key)) is not None
        }
        words = ", ".join(f"{_SHOWN[key][0]} {_format(key, value)}" for key, value in seen.items())
        self._console.print(f"epoch {trainer.current_epoch + 1} of {trainer.max_epochs}: {words}", highlight=False)


def summary(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Set the first and the last value of the main metrics side by side.

    Args:
        rows: of the curves, in order.
    """
    table = Table("", "at the start", "at the end", title_justify="left")
    for key, (words, _, _) in _SHOWN.items():
        seen = [row[key] for row in rows if key in row]
        if seen:
            table.add_row(words, _format(key, seen[0]), _format(key, seen[-1]))
    return table


def _get(trainer: Trainer, key: str) -> float | None:
    return float(trainer.callback_metrics[key]) if key in trainer.callback_metrics else None


def _format(key: str, value: float) -> str:
    _, factor, form = _SHOWN[key]
    return form.format(factor * value)
