"""Softmax cross-entropy."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import log_softmax, logsigmoid

from noisereg.losses.loss import Loss


class CrossEntropy(Loss):
    """-log of the probability of the label: softmax over the outputs, or a sigmoid of the one output.

    With the targets of `Resample(p, expected=True)` this is torch's cross-entropy with label_smoothing=p.

    Example:
        >>> round(float(CrossEntropy()(torch.zeros(1, 10), torch.tensor([3]))), 4)  # log 10
        2.3026
    """

    def per_class(self, logits: Float[Tensor, "batch outputs"]) -> Float[Tensor, "batch classes"]:
        return -log_probabilities(logits)

    def slope(
        self, logits: Float[Tensor, "batch outputs"], target: Float[Tensor, "batch classes"]
    ) -> Float[Tensor, "batch outputs"]:
        return logits.sigmoid() - target[:, 1:] if logits.shape[1] == 1 else logits.softmax(dim=1) - target


def log_probabilities(logits: Float[Tensor, "batch outputs"]) -> Float[Tensor, "batch classes"]:
    """Compute the log-probability of each class: log-softmax, or for one output N the log-sigmoids of -N and N.

    Example:
        >>> log_probabilities(torch.zeros(1, 1)).exp().tolist()
        [[0.5, 0.5]]
    """
    if logits.shape[1] == 1:
        return logsigmoid(torch.cat([-logits, logits], dim=1))
    return log_softmax(logits, dim=1)
