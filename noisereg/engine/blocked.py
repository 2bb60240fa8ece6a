"""The engine for any device: PyTorch operations on blocks of steps."""

from typing import cast

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor
from torch.nn.functional import one_hot

from noisereg.engine.stack import Stack
from noisereg.losses import Loss

_ROWS_IN_A_BLOCK = 32


class Blocked:
    """Train R replicas by K sequential steps of SGD, exactly, with few passes over the weights.

    Within a block of steps the pre-activation of a sample x is W_0 x + sum_s delta_s <x_s, x>, where s runs over the
    samples of the steps before, delta_s is the step that sample s made its pre-activations take, and W_0 are the
    weights at the start of the block. So the weights are read and written once a block, and a step costs the sum over
    what little came before it.

    Args:
        loss: any.
        batch_size: samples of a step. The last step of a call may have fewer.
        activity_l1: this times the mean over a step's samples of the sum of the activations is added to the loss.

    Example:
        >>> from noisereg.losses import Logistic
        >>> from noisereg.models import Neuron
        >>> stack = Stack.of([Neuron((2,), 1)])
        >>> step = {"index": torch.tensor([[0]]), "targets": torch.tensor([[[0.0, 1.0]]]), "rates": torch.ones(1)}
        >>> before = stack.output.clone()
        >>> Blocked(Logistic())(stack, torch.tensor([[1.0, 0.0]]), **step)
        >>> bool(stack.output[0, 0, 0] > before[0, 0, 0])
        True
    """

    name = "blocked"

    def __init__(self, loss: Loss, *, batch_size: int = 1, activity_l1: float = 0.0) -> None:
        self._loss, self._activity_l1 = loss, activity_l1
        self.batch_size = batch_size
        self._width = max(_ROWS_IN_A_BLOCK // batch_size, 1) * batch_size

    @torch.no_grad()
    def __call__(
        self,
        stack: Stack,
        inputs: Float[Tensor, "n features"],
        *,
        index: Int64[Tensor, "replicas draws"],
        targets: Shaped[Tensor, "replicas draws *classes"],
        rates: Float[Tensor, " replicas"],
    ) -> None:
        """Train in place.

        Args:
            stack: the replicas.
            inputs: that were made by `stack.prepare`; all replicas take theirs from here.
            index: row of `inputs` of each draw of each replica; `batch_size` of them make a step.
            targets: class of each draw, int64, or distribution over the classes.
            rates: learning rate of each replica.
        """
        train = self._neurons if stack.hidden is None else self._networks
        if targets.ndim == 2:
            targets = one_hot(targets, max(stack.output.shape[1], 2))
        targets, rates = targets.to(inputs.dtype), -rates.to(inputs.dtype)[:, None, None]
        for rows, target in zip(index.split(self._width, 1), targets.split(self._width, 1), strict=True):
            train(stack, inputs[rows], target, rates)

    def _networks(self, stack: Stack, x: Tensor, target: Tensor, rates: Tensor) -> None:
        hidden, output, bias = cast(Tensor, stack.hidden), stack.output, stack.output_bias
        trains_hidden, trains_output = hidden.requires_grad, output.requires_grad
        at_start, gram = x @ hidden, x @ x.mT
        delta = torch.empty_like(at_start)
        parts = (tensor.split(self.batch_size, 1) for tensor in (at_start, gram, delta, target))
        first = 0
        for begun, products, move, wanted in zip(*parts, strict=True):
            z = begun
            if first and trains_hidden:
                z = torch.baddbmm(begun, products[:, :, :first], delta[:, :first])
            activations = z.relu()
            logits = torch.bmm(output, activations.mT).mT
            if bias is not None:
                logits += bias[:, None]
            back = self._back(logits, wanted, rates)
            if trains_hidden:
                spread = _spread(back, output)
                if self._activity_l1:
                    spread = spread + self._activity_l1 * rates / z.shape[1]
                torch.ops.aten.threshold_backward(spread, z, 0, grad_input=move)
            if trains_output:
                _add_outer(output, back, activations)
                if bias is not None:
                    bias.add_(back.sum(dim=1))
            first += z.shape[1]
        if trains_hidden:
            hidden.baddbmm_(x.mT, delta)

    def _neurons(self, stack: Stack, x: Tensor, target: Tensor, rates: Tensor) -> None:
        at_start = x @ stack.output.mT
        gram = x @ x.mT
        back = torch.empty_like(at_start)
        for first in range(0, x.shape[1], self.batch_size):
            step = slice(first, first + self.batch_size)
            logits = torch.baddbmm(at_start[:, step], gram[:, step, :first], back[:, :first])
            back[:, step] = self._back(logits, target[:, step], rates)
        stack.output.baddbmm_(back.mT, x)

    def _back(self, logits: Tensor, target: Tensor, rates: Tensor) -> Tensor:
        """Compute the step that the logits of each sample would take: -rate / (size of the step) dL/dlogits."""
        slope = self._loss.slope(logits.flatten(0, 1), target.flatten(0, 1)).view_as(logits)
        size = logits.shape[1]
        return slope * (rates if size == 1 else rates / size)


def _spread(back: Tensor, output: Tensor) -> Float[Tensor, "replicas rows hidden"]:
    """Multiply (R, rows, outputs) by (R, outputs, H); ten times as quick without matrix products for one output."""
    return back * output if output.shape[1] == 1 else back @ output


def _add_outer(output: Tensor, back: Tensor, activations: Tensor) -> None:
    """Add the sum over the rows of their outer products; a single row is quicker without a matrix product."""
    if activations.shape[1] == 1:
        output.addcmul_(back.mT, activations)
    else:
        output.baddbmm_(back.mT, activations)
