"""Squared error of the outputs."""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from noisereg.losses.loss import Loss


class SquaredError(Loss):
    """Sum over the outputs of (z_j - t_j)^2, with t the one-hot code of the label; (N - y)^2, y = +-1, for one output.

    Note:
        The field has two codes of the label: 0/1 is used for several outputs, -1/+1 for one. There is no factor 1/2.

    Example:
        >>> SquaredError()(torch.tensor([[0.5, 0.0, 0.0]]), torch.tensor([0]))
        tensor(0.2500)

    Source: Hui, Belkin, "Evaluation of neural architectures trained with square loss vs cross-entropy", 2021 (one-hot).
    """

    def per_sample(
        self, logits: Float[Tensor, "*batch outputs"], target: Shaped[Tensor, "*shape"]
    ) -> Float[Tensor, "*batch"]:
        is_own = type(self).per_class is SquaredError.per_class
        if not (is_own and logits.ndim == 2 and logits.shape[1] > 1 and target.shape == logits.shape[:1]):
            return super().per_sample(logits, target)
        own = target.unsqueeze(1)
        # Of a sum of squares near 1 less 2 z + 1, nothing is left but rounding once the labels are fitted.
        return logits.scatter_add(1, own, -torch.ones_like(own, dtype=logits.dtype)).square().sum(dim=1)

    def per_class(self, logits: Float[Tensor, "batch outputs"]) -> Float[Tensor, "batch classes"]:
        if logits.shape[1] == 1:
            return (logits - torch.tensor([-1.0, 1.0], dtype=logits.dtype, device=logits.device)).square()
        return logits.square().sum(dim=1, keepdim=True) + 1 - 2 * logits
