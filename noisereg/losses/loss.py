"""What every loss shares: it is a function of the logits alone, one value for each class that the label could be."""

from abc import ABC, abstractmethod
from inspect import getattr_static
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor


class Loss(ABC):
    """The loss of each sample if its label were c, for every class c.

    A sampled label takes entry c of that row, a distribution over labels takes its mean under it. So training on
    distributions is the exact expectation of training on labels drawn from them, for every loss.

    A net for two classes may have one output N(x), whose sign is the prediction: class 0 stands for -1, class 1 for +1.

    Example:
        >>> class AbsoluteError(Loss):  # of the probabilities, for several outputs
        ...     def per_class(self, logits):
        ...         return 2 * (1 - logits.softmax(dim=1))
        >>> AbsoluteError()(torch.zeros(1, 4), torch.tensor([3]))
        tensor(1.5000)
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Leave the formula of a parent's derivative to the parent, unless all else that the parent has is as it was.

        A class that computes another loss has another derivative, and what a method of the parent is for is not known.
        A method that the parent does not have is no part of its loss.
        """
        super().__init_subclass__(**kwargs)
        owner = next(parent for parent in cls.__mro__ if "slope" in vars(parent))
        names = [name for name in dir(owner) if name != "slope" and not name.startswith(("__", "_abc_"))]
        if any(getattr_static(cls, name) is not getattr_static(owner, name) for name in names):  # of cls itself none is
            cls.slope = Loss.slope  # type: ignore[method-assign]

    @abstractmethod
    def per_class(self, logits: Float[Tensor, "batch outputs"]) -> Float[Tensor, "batch classes"]:
        """Compute the loss of each sample for each class that its label could be.

        Args:
            logits: outputs of the net, (batch, C), or (batch, 1) for two classes.

        Returns:
            (batch, C), or (batch, 2) for a net with one output.
        """

    def per_sample(
        self, logits: Float[Tensor, "*batch outputs"], target: Shaped[Tensor, "*shape"]
    ) -> Float[Tensor, "*batch"]:
        """Compute the loss of each sample, or of each token.

        Args:
            logits: outputs of the net, (batch, C), or (batch, 1) for two classes; or (batch, tokens, C).
            target: labels, int64 (batch,), or distributions over labels, (batch, C); or these of each token.

        Raises:
            ValueError: if the targets of samples or tokens have another shape.
        """
        if logits.ndim > 2:
            classes = target.shape[logits.ndim - 1 :]
            flat = self.per_sample(logits.flatten(end_dim=-2), target.reshape(-1, *classes))
            return flat.view(logits.shape[:-1])
        losses = self.per_class(logits)
        if target.shape not in (losses.shape[:1], losses.shape):  # which torch would broadcast, or cut short
            known = f"labels ({len(losses)},) or distributions {tuple(losses.shape)}"
            raise ValueError(f"target must be {known}, got {tuple(target.shape)}")
        if target.ndim == 1:
            return losses.gather(1, target.unsqueeze(1)).squeeze(1)
        return (losses * target.to(losses.dtype)).sum(dim=1)

    def slope(
        self, logits: Float[Tensor, "batch outputs"], target: Float[Tensor, "batch classes"]
    ) -> Float[Tensor, "batch outputs"]:
        """Compute the derivative of `per_sample` with respect to the logits, not to be differentiated again.

        A loss that is trained by the thousand steps may define a formula in place of this. Classes derived from it that
        have another `per_class`, or anything else of it in another way, do not inherit the formula.

        Args:
            logits: outputs of the net, (batch, C), or (batch, 1) for two classes.
            target: distributions over labels, (batch, C).
        """
        with torch.enable_grad():
            leaf = logits.detach().requires_grad_()
            (slope,) = torch.autograd.grad(self.per_sample(leaf, target).sum(), leaf)
        return slope

    def __call__(
        self, logits: Float[Tensor, "*batch outputs"], target: Shaped[Tensor, "*shape"], *, ignore_index: int = -100
    ) -> Float[Tensor, ""]:
        """Compute the mean of `per_sample` over the batch, or over its tokens.

        Args:
            logits: see `per_sample`.
            target: see `per_sample`.
            ignore_index: a label that marks a token that has no part in the mean; distributions mark it by zeros.
        """
        if logits.ndim == 2:
            return self.per_sample(logits, target).mean()
        return self.per_sample(*known_rows(logits, target, ignore_index=ignore_index)).mean()


def known_rows(
    logits: Float[Tensor, "*batch outputs"], target: Shaped[Tensor, "*shape"], *, ignore_index: int
) -> tuple[Float[Tensor, "rows outputs"], Shaped[Tensor, "rows *classes"]]:
    """Return the logits and the targets of the samples or tokens that have a label.

    Example:
        >>> logits, labels = known_rows(torch.zeros(1, 3, 5), torch.tensor([[4, -100, 2]]), ignore_index=-100)
        >>> logits.shape, labels
        (torch.Size([2, 5]), tensor([4, 2]))
    """
    flat = target.reshape(-1, *target.shape[logits.ndim - 1 :])
    kept = flat != ignore_index if flat.ndim == 1 else (flat != 0).any(dim=1)
    return logits.flatten(end_dim=-2)[kept], flat[kept]
