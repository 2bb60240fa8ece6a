"""No noise: every label stays as it is."""

from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from noisereg.noise.rule import Rule


@dataclass(frozen=True, kw_only=True)
class NoNoise(Rule):
    """Keep the label.

    Example:
        >>> NoNoise().transition(2).tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """

    p: float = 0.0

    def redraw_law(self, num_classes: int) -> Float64[Tensor, "classes classes"]:
        return torch.eye(num_classes, dtype=torch.float64)
