"""From outputs of a network to classes."""

from jaxtyping import Float, Int64
from torch import Tensor


def predictions(logits: Float[Tensor, "batch outputs"]) -> Int64[Tensor, "batch"]:
    """Return the predicted class: the greatest output, or for one output N whether it is positive.

    Example:
        >>> import torch
        >>> predictions(torch.tensor([[-0.5], [2.0]]))
        tensor([0, 1])
    """
    return (logits.squeeze(1) > 0).long() if logits.shape[1] == 1 else logits.argmax(dim=1)
