"""The hinge loss with a margin; without one it is the perceptron's."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from noisereg.losses.surrogate import Surrogate


class Hinge(Surrogate):
    """phi(xi) = max(beta + xi, 0), summed over the outputs.

    At the kink beta + xi = 0 the derivative is 1, the right one: an output of exactly 0 counts as an error at beta = 0,
    as in the perceptron. `kink="left"` takes 0, the convention of torch's ReLU.

    Args:
        beta: margin, finite and at least 0.
        kink: which of its two derivatives to take at the kink, "right" or "left".

    Raises:
        ValueError: for any other beta or kink.

    Example:
        >>> Hinge(beta=1.0)(torch.tensor([[0.25]]), torch.tensor([1]))
        tensor(0.7500)

    Source: arXiv 2111.02154, section 3.
    """

    def __init__(self, beta: float = 0.0, kink: str = "right") -> None:
        if not (math.isfinite(beta) and beta >= 0):
            raise ValueError(f"beta must be finite and at least 0, got {beta}")
        if kink not in ("right", "left"):
            raise ValueError(f"kink must be 'right' or 'left', got {kink!r}")
        self.beta = beta
        self.kink = kink

    def phi(self, xi: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        distance = xi + self.beta
        outside = distance < 0 if self.kink == "right" else distance <= 0
        return torch.where(outside, 0, distance)  # where it is nan, it stays nan

    def slope(
        self, logits: Float[Tensor, "batch outputs"], target: Float[Tensor, "batch classes"]
    ) -> Float[Tensor, "batch outputs"]:
        plus = target[:, 1:] if logits.shape[1] == 1 else target
        inside = torch.ge if self.kink == "right" else torch.gt
        slope = (1 - plus) * inside(self.beta + logits, 0) - plus * inside(self.beta - logits, 0)
        return torch.where(logits.isnan(), logits, slope)
