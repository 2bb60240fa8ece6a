"""The symmetric rule of much of the literature: a redrawn label is another one."""

from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from noisereg.noise.rule import Rule


@dataclass(frozen=True, kw_only=True)
class Flip(Rule):
    """With probability p, move the label to a uniform one of the C - 1 others.

    Note:
        `Resample(p)` is `Flip(p (C - 1) / C)`. For two classes p = 1 inverts every label, which is no noise at all.

    Example:
        >>> Flip(p=1.0).transition(2).tolist()
        [[0.0, 1.0], [1.0, 0.0]]
        >>> Flip(p=0.5).effective_rate(10)
        0.5

    Source: arXiv 2111.02154, appendix A (two classes); Damian, Ma, Lee, 2021 (C classes).
    """

    def redraw_law(self, num_classes: int) -> Float64[Tensor, "classes classes"]:
        others = 1 - torch.eye(num_classes, dtype=torch.float64)
        return others / (num_classes - 1)
