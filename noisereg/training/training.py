"""What a run needs of a training, whichever way its networks are trained."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from rich.table import Table

from noisereg.noise import Rule
from noisereg.runs.curves import CurveTable
from noisereg.runs.replica_curves import ReplicaCurves


class Training(ABC):
    """A trainer, a module and their data, ready to begin.

    Attributes:
        trainer: with its callbacks and loggers.
        module: that is trained.
        folder: of the run.
        curves: the logger that keeps all values of the run.
    """

    trainer: Trainer
    module: LightningModule
    folder: Path
    curves: CurveTable | ReplicaCurves  # each kind of training says which

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.folder / "checkpoints"

    @abstractmethod
    def headlines(self) -> list[str]:
        """Say in a few lines what is about to be trained."""

    @abstractmethod
    def train(self) -> None:
        """Train from the start, or from the last checkpoint in the run's folder, and save the end."""

    @abstractmethod
    def results(self) -> list[dict[str, Any]]:
        """Give a flat row of values for each replica."""

    @abstractmethod
    def summary(self) -> Table:
        """Set the main results in a table."""

    @property
    @abstractmethod
    def source(self) -> str:
        """Where the data came from, in words."""

    @property
    @abstractmethod
    def steps(self) -> int:
        """Steps of SGD that were made."""

    def finish(self, *, figures: bool) -> None:  # noqa: B027 - there may be nothing to do
        """Leave behind what is made of a whole run.

        Args:
            figures: whether to draw them; an arm of an experiment leaves that to the experiment.
        """


def describe(rule: Rule) -> str:
    """Name a rule and its mode.

    Example:
        >>> from noisereg.noise import Flip
        >>> describe(Flip(p=0.1))
        'Flip, drawn anew each time,'
    """
    mode = "in expectation" if rule.expected else "drawn once a sample" if rule.frozen else "drawn anew each time"
    return f"{type(rule).__name__}, {mode},"
