"""From outputs of a network to classes."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

NO_CLASS = -1


def predictions(logits: Float[Tensor, "batch outputs"]) -> Int64[Tensor, "batch"]:
    """Return the predicted class: the greatest output, the first of equal ones, or for one output N its sign.

    An N of exactly 0 has no sign and is no class, -1: a mistake for either label, as to the hinge loss. So is nan, of
    several outputs that of any.

    Args:
        logits: (batch, C), or (batch, 1) for two classes.

    Example:
        >>> predictions(torch.tensor([[-0.5], [2.0], [0.0]]))
        tensor([ 0,  1, -1])
    """
    if logits.shape[1] > 1:
        greatest, predicted = logits.max(dim=1)
        return torch.where(greatest.isnan(), NO_CLASS, predicted)
    output = logits.squeeze(1)
    return torch.where(output < 0, 0, torch.where(output > 0, 1, NO_CLASS))
