"""The logistic loss: the paper's binary cross-entropy, and its loss (3) for several outputs."""

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import logsigmoid

from noisereg.losses.surrogate import Surrogate


class Logistic(Surrogate):
    """phi(xi) = log(1 + exp(xi)), summed over the outputs.

    Example:
        >>> import torch
        >>> round(float(Logistic()(torch.zeros(1, 10), torch.tensor([3]))), 4)  # 10 log 2
        6.9315

    Source: arXiv 2111.02154, section 3 and equation (3).
    """

    def phi(self, xi: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return -logsigmoid(-xi)  # torch's softplus is cut off at 20

    def slope(
        self, logits: Float[Tensor, "batch outputs"], target: Float[Tensor, "batch classes"]
    ) -> Float[Tensor, "batch outputs"]:
        return logits.sigmoid() - (target[:, 1:] if logits.shape[1] == 1 else target)
