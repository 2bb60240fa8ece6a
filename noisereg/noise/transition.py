"""Any rule at all: the redraw law as a matrix, or as a map from class to class."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float64
from torch import Tensor

from noisereg.noise.rule import Rule


@dataclass(frozen=True, kw_only=True)
class Transition(Rule):
    """With probability p, redraw the label y from row y of a given matrix, or send it where a given map says.

    Args:
        matrix: M, C rows of C probabilities.
        moves: a map from class to class in place of a matrix; a class that it leaves out keeps its label.

    Raises:
        ValueError: if not exactly one of the two is given, the matrix is not square and row-stochastic, or a class is
            no whole number.

    Example:
        >>> Transition(p=0.5, matrix=[[1, 0], [1, 0]]).transition(2).tolist()
        [[1.0, 0.0], [0.5, 0.5]]
        >>> Transition(p=0.4, moves={1: 0}).transition(2).tolist()
        [[1.0, 0.0], [0.4, 0.6]]

    Source: class-conditional noise, Patrini et al., 2017; the map 9->1, 2->0, 3<->5, 4->7 for CIFAR-10 is theirs.
    """

    matrix: Sequence[Sequence[float]] | None = None
    moves: Mapping[Any, Any] | None = None  # a file may have keys and values of any type

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.matrix is None) == (self.moves is None):
            raise ValueError("give either matrix or moves, one of the two")
        if self.matrix is not None:
            _check_stochastic(self.matrix)
        for source, goal in (self.moves or {}).items():
            if any(isinstance(end, bool) or not isinstance(end, int) for end in (source, goal)):
                raise ValueError(f"moves must map whole numbers to whole numbers, got {source!r} -> {goal!r}")

    def redraw_law(self, num_classes: int) -> Float64[Tensor, "classes classes"]:
        if self.matrix is not None:
            law = torch.tensor([list(row) for row in self.matrix], dtype=torch.float64)
            if len(law) != num_classes:
                raise ValueError(
                    f"matrix has {len(law)} rows, but the labels have {num_classes} classes: give one row a class"
                )
            return law
        law = torch.eye(num_classes, dtype=torch.float64)
        for source, goal in (self.moves or {}).items():
            if not (0 <= source < num_classes and 0 <= goal < num_classes):
                raise ValueError(f"moves must stay within classes 0 to {num_classes - 1}, got {source} -> {goal}")
            law[source] = torch.eye(num_classes, dtype=torch.float64)[goal]
        return law


def _check_stochastic(matrix: Sequence[Sequence[float]]) -> None:
    for number, row in enumerate(matrix):
        if len(row) != len(matrix):
            raise ValueError(
                f"matrix must be square: it has {len(matrix)} rows, but row {number} has {len(row)} entries"
            )
        if not all(0 <= entry <= 1 for entry in row) or abs(sum(row) - 1) > 1e-9:
            raise ValueError(f"each row of matrix must hold probabilities that sum to 1, row {number} is {list(row)}")
