"""Generalized cross-entropy: a loss made to withstand wrong labels."""

import torch
from jaxtyping import Float
from torch import Tensor

from noisereg.losses.cross_entropy import log_probabilities
from noisereg.losses.loss import Loss


class GeneralizedCrossEntropy(Loss):
    """(1 - P(label)^q) / q: between cross-entropy (q to 0) and the mean absolute error (q = 1).

    Args:
        q: in (0, 1].

    Raises:
        ValueError: for any other q.

    Example:
        >>> GeneralizedCrossEntropy(q=1.0)(torch.zeros(1, 10), torch.tensor([3]))
        tensor(0.9000)

    Source: Zhang, Sabuncu, "Generalized cross entropy loss for training deep neural networks with noisy labels", 2018.
    """

    def __init__(self, q: float = 0.7) -> None:
        if not 0 < q <= 1:
            raise ValueError(f"q must be in (0, 1], got {q}")
        self.q = q

    def per_class(self, logits: Float[Tensor, "batch outputs"]) -> Float[Tensor, "batch classes"]:
        return -torch.expm1(self.q * log_probabilities(logits)) / self.q
