"""What every noise rule shares: strength, mode, and the transition matrix that follows from its redraw law."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from noisereg.noise.assigned import Assigned

_TOLERANCE = 1e-5  # of a sum of probabilities in float32
_MOST_SHOWN = 5  # entries of a row in an error


@dataclass(frozen=True, kw_only=True)
class Rule(ABC):
    """A law of the corrupted label given the clean one, for any number of classes.

    With probability p the label is redrawn from row y of the matrix M that the rule defines, so the corrupted label of
    y follows row y of T = (1 - p) I + p M. A new rule defines M alone, in `redraw_law`. Any row-stochastic T is a rule:
    take M = T and p = 1.

    Args:
        p: strength, the probability that a label is redrawn, in [0, 1].
        expected: give the distribution T[y] as the target in place of a sample of it. For cross-entropy and `Resample`
            this is label smoothing.
        frozen: draw once for each sample, the same in every epoch, in place of anew in each epoch or step.

    Raises:
        ValueError: if p is no number in [0, 1], or both modes are asked for.

    Example:
        >>> class ToFirst(Rule):
        ...     def redraw_law(self, num_classes):
        ...         law = torch.zeros(num_classes, num_classes, dtype=torch.float64)
        ...         law[:, 0] = 1
        ...         return law
        >>> ToFirst(p=0.5).transition(2).tolist(), ToFirst(p=0.5).effective_rate(2)
        ([[1.0, 0.0], [0.5, 0.5]], 0.25)
    """

    p: float
    expected: bool = False
    frozen: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.p, bool) or not isinstance(self.p, int | float) or not 0 <= self.p <= 1:
            raise ValueError(f"p must be in [0, 1], got {self.p!r}")
        if self.expected and self.frozen:
            raise ValueError("frozen must be false when expected is true: an expected target is never drawn")

    @property
    def assigned(self) -> Assigned | None:
        """The labels that a redraw gives samples one by one; None if it draws from the law of a class."""
        return None

    @abstractmethod
    def redraw_law(self, num_classes: int) -> Float64[Tensor, "classes classes"]:
        """Return M, the law of a redrawn label: row y is a distribution over the classes.

        Args:
            num_classes: C, at least 2.
        """

    def transition(self, num_classes: int) -> Float64[Tensor, "classes classes"]:
        """Return T = (1 - p) I + p M: row y is the law of the corrupted label of y."""
        identity = torch.eye(num_classes, dtype=torch.float64)
        return (1 - self.p) * identity + self.p * self.redraw_law(num_classes)

    def effective_rate(self, num_classes: int) -> float:
        """Return the probability that a label changes if all classes are equally frequent: p (1 - trace(M) / C)."""
        return self.p * (1 - float(self.redraw_law(num_classes).trace()) / num_classes)

    @property
    def keeps_labels(self) -> bool:
        """Whether a sample has one label throughout, which may be wrong, and not another one in each epoch."""
        return self.frozen


def checked_law(rule: Rule, num_classes: int) -> Float64[Tensor, "classes classes"]:
    """Return the redraw law of a rule, which may be another's.

    Raises:
        ValueError: if it is no matrix of that many classes, or a row is no distribution.

    Example:
        >>> from noisereg.noise import Flip
        >>> checked_law(Flip(p=0.1), 2).tolist()
        [[0.0, 1.0], [1.0, 0.0]]
    """
    law, name = rule.redraw_law(num_classes), f"{type(rule).__name__}.redraw_law"
    found = tuple(law.shape) if isinstance(law, Tensor) else type(law).__name__
    if found != (num_classes, num_classes):
        raise ValueError(f"{name} must return a tensor of shape ({num_classes}, {num_classes}), got {found}")
    law = law.double()  # as the draws are, which torch compares with their own kind alone
    is_law = (law >= 0).all(dim=1) & ((law.sum(dim=1) - 1).abs() < _TOLERANCE)
    if not is_law.all():
        row = int((~is_law).nonzero()[0])
        entries = ", ".join(f"{entry:g}" for entry in law[row, :_MOST_SHOWN].tolist())
        more = ", ..." if num_classes > _MOST_SHOWN else ""
        raise ValueError(f"each row of {name} must hold probabilities that sum to 1, row {row} is [{entries}{more}]")
    return law
