"""The paper's rule: a redrawn label is uniform over all classes."""

from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from noisereg.noise.rule import Rule


@dataclass(frozen=True, kw_only=True)
class Resample(Rule):
    """With probability p, replace the label by a uniform one of all C classes.

    The label changes with probability p (C - 1) / C. The expected mode is label smoothing with strength p.

    Example:
        >>> Resample(p=0.2).transition(2).tolist()
        [[0.9, 0.1], [0.1, 0.9]]
        >>> Resample(p=0.5).effective_rate(10)
        0.45

    Source: Cornacchia, Hazla, Nachum, Yehudayoff, arXiv 2111.02154, sections 1 and 3; smoothing: Szegedy et al., 2016.
    """

    def redraw_law(self, num_classes: int) -> Float64[Tensor, "classes classes"]:
        return torch.full((num_classes, num_classes), 1 / num_classes, dtype=torch.float64)
