"""How the strength of the noise moves over a training: each schedule gives the factor of p, in [0, 1], epoch by epoch.

A factor belongs to a whole epoch, so that the label of a sample in an epoch is the same for every batch size.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass


class Schedule(ABC):
    """The factor of p as a function of the epoch. One of your own defines `factor`.

    Example:
        >>> class OnlyFirst(Schedule):
        ...     def factor(self, epoch, max_epochs):
        ...         return 1.0 if epoch == 0 else 0.0
        >>> [OnlyFirst().factor(epoch, 3) for epoch in range(3)]
        [1.0, 0.0, 0.0]
    """

    @abstractmethod
    def factor(self, epoch: int, max_epochs: int) -> float:
        """Return the factor in [0, 1].

        Args:
            epoch: number of the epoch, from 0 to max_epochs - 1.
            max_epochs: length of the training.
        """


@dataclass(frozen=True)
class Constant(Schedule):
    """Full strength throughout.

    Example:
        >>> Constant().factor(3, 10)
        1.0
    """

    def factor(self, epoch: int, max_epochs: int) -> float:
        return 1.0


@dataclass(frozen=True)
class Linear(Schedule):
    """Move evenly from `start` in the first epoch to `end` in the last.

    Args:
        start: factor of the first epoch, in [0, 1].
        end: factor of the last epoch, in [0, 1].

    Raises:
        ValueError: if one is out of range.

    Example:
        >>> [Linear(start=0, end=1).factor(epoch, 5) for epoch in range(5)]
        [0.0, 0.25, 0.5, 0.75, 1.0]
    """

    start: float = 0.0
    end: float = 1.0

    def __post_init__(self) -> None:
        _check_factors(start=self.start, end=self.end)

    def factor(self, epoch: int, max_epochs: int) -> float:
        return self.start + (self.end - self.start) * _progress(epoch, max_epochs)


@dataclass(frozen=True)
class Cosine(Schedule):
    """Move from `start` in the first epoch to `end` in the last along half a cosine wave.

    Args:
        start: factor of the first epoch, in [0, 1].
        end: factor of the last epoch, in [0, 1].

    Raises:
        ValueError: if one is out of range.

    Example:
        >>> [round(Cosine(start=1, end=0).factor(epoch, 5), 3) for epoch in range(5)]
        [1.0, 0.854, 0.5, 0.146, 0.0]
    """

    start: float = 1.0
    end: float = 0.0

    def __post_init__(self) -> None:
        _check_factors(start=self.start, end=self.end)

    def factor(self, epoch: int, max_epochs: int) -> float:
        return self.end + (self.start - self.end) * (1 + math.cos(math.pi * _progress(epoch, max_epochs))) / 2


@dataclass(frozen=True)
class Step(Schedule):
    """Jump from `before` to `after` when the share `at` of the epochs is done.

    Args:
        at: share of the epochs, in [0, 1].
        before: factor until then, in [0, 1].
        after: factor from then on, in [0, 1].

    Raises:
        ValueError: if one is out of range.

    Example:
        >>> [Step(at=0.5).factor(epoch, 4) for epoch in range(4)]
        [1.0, 1.0, 0.0, 0.0]
    """

    at: float = 0.5
    before: float = 1.0
    after: float = 0.0

    def __post_init__(self) -> None:
        _check_factors(at=self.at, before=self.before, after=self.after)

    def factor(self, epoch: int, max_epochs: int) -> float:
        return self.before if epoch / max_epochs < self.at else self.after  # 0.55 * 100 is above 55


@dataclass(frozen=True)
class SquareWave(Schedule):
    """Switch on and off: each `period` epochs begin with noise in the share `duty` of them.

    Args:
        period: in epochs, at least 1.
        duty: share of the epochs of a period that have noise, in [0, 1].

    Raises:
        ValueError: if one is out of range.

    Example:
        >>> [SquareWave(period=4).factor(epoch, 8) for epoch in range(8)]
        [1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0]
    """

    period: int = 2
    duty: float = 0.5

    def __post_init__(self) -> None:
        _check_factors(duty=self.duty)
        if self.period < 1:
            raise ValueError(f"period must be at least 1 epoch, got {self.period}")

    def factor(self, epoch: int, max_epochs: int) -> float:
        return 1.0 if epoch % self.period / self.period < self.duty else 0.0  # as in `Step`


def check_schedule(schedule: Schedule, max_epochs: int) -> None:
    """Raise ValueError if a schedule gives a factor outside of [0, 1] in some epoch of a training.

    Args:
        schedule: any.
        max_epochs: length of the training, at least 0.

    Example:
        >>> check_schedule(Linear(start=0, end=1), max_epochs=5)
    """
    for epoch in range(max_epochs):
        if not 0 <= (factor := schedule.factor(epoch, max_epochs)) <= 1:
            raise ValueError(f"{type(schedule).__name__} must give factors in [0, 1], got {factor} in epoch {epoch}")


def _progress(epoch: int, max_epochs: int) -> float:
    """Return 0 in the first epoch and 1 in the last."""
    return epoch / max(max_epochs - 1, 1)


def _check_factors(**factors: float) -> None:
    for name, value in factors.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{name} must be in [0, 1], got {value}")
