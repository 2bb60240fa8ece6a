"""Metrics whose sums stay in their own type, whatever the weights of a network are converted to."""

from collections.abc import Callable, Sequence

from torch import Tensor, nn
from torchmetrics import MeanMetric, Metric


class OwnType(Metric):
    """A metric whose states keep their type in a module that is converted, and move with it to its device.

    torchmetrics keeps them but where a module is converted by `to`, as under bf16-true: sums in bfloat16 stop growing
    at a few thousand samples.

    Example:
        >>> import torch
        >>> nn.Sequential(SampleMean()).to(torch.bfloat16)[0].weight.dtype
        torch.float32
    """

    def _apply(self, fn: Callable[[Tensor], Tensor], exclude_state: Sequence[str] = "") -> nn.Module:
        return super()._apply(lambda state: state.to(fn(state).device), exclude_state)


class SampleMean(OwnType, MeanMetric):
    """The mean of numbers of samples, such as their losses, in float32; a nan is let through, and no step waits for it.

    Example:
        >>> import torch
        >>> mean = SampleMean()
        >>> mean.update(torch.tensor([1.0, 2.0]))
        >>> mean.compute()
        tensor(1.5000)
    """

    def __init__(self) -> None:
        super().__init__(nan_strategy="disable")
        MeanMetric._apply(self, Tensor.float)  # what is made in a step under bf16-true begins in bfloat16
