"""Surrogates of the 0-1 loss, one for each output: the losses of the paper."""

from abc import abstractmethod

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from noisereg.losses.loss import Loss


class Surrogate(Loss):
    """A loss that is a sum over the outputs of phi(-y_j z_j), where y_j is +1 for the label's output and -1 elsewhere.

    phi is increasing and convex with a positive right derivative at 0. A net with one output has the loss phi(-y N(x)).

    Example:
        >>> class Exponential(Surrogate):
        ...     def phi(self, xi):
        ...         return xi.exp()
        >>> Exponential()(torch.zeros(1, 10), torch.tensor([3]))
        tensor(10.)

    Source: Cornacchia, Hazla, Nachum, Yehudayoff, arXiv 2111.02154, section 3 and equation (3). phi is their L.
    """

    @abstractmethod
    def phi(self, xi: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Compute the penalty of xi = -y N(x), the negative margin."""

    def per_sample(
        self, logits: Float[Tensor, "*batch outputs"], target: Shaped[Tensor, "*shape"]
    ) -> Float[Tensor, "*batch"]:
        is_sum = type(self).per_class is Surrogate.per_class  # a derived class may weigh the classes, say
        if not (is_sum and logits.ndim == 2 and target.shape == logits.shape[:1]):
            return super().per_sample(logits, target)
        # The other classes are not asked for. Gathered, so that a label of no class is an error.
        if logits.shape[1] == 1:
            return self.phi(logits.squeeze(1) * logits.new_tensor([1, -1]).gather(0, target))
        own = target.unsqueeze(1)
        return self.phi(logits.scatter(1, own, -logits.gather(1, own))).sum(dim=1)

    def per_class(self, logits: Float[Tensor, "batch outputs"]) -> Float[Tensor, "batch classes"]:
        if_plus, if_minus = self.phi(-logits), self.phi(logits)
        if logits.shape[1] == 1:
            return torch.cat([if_minus, if_plus], dim=1)
        return if_minus.sum(dim=1, keepdim=True) - if_minus + if_plus
