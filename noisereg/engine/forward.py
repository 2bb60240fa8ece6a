"""What each network of a stack does with samples: one matrix product into the hidden layer, read a part at a time.

The product is torch's. What follows it reads each pre-activation for the logits, for the firings of its unit, and on
some splits for three sums of its sample: operations of torch on any device, one compiled loop for networks on a CPU.
Memory that was just written is quick: all parts of the samples take turns in the same space.
"""

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, cast

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn.functional import one_hot

from noisereg.engine import forward_kernels
from noisereg.engine.kept_kernels import compile_beside
from noisereg.engine.stack import Stack

_ROWS_AT_ONCE = 1024  # pre-activations of these stay in a core's cache

_Read = Callable[[Tensor, slice], None]


class Passed(NamedTuple):
    """What a network does with n samples. A unit fires where it is above 0, so never where it is nan.

    Attributes:
        logits: (n, outputs).
        fires: how often each hidden unit fires for each class, (classes, hidden), int64; no units for neurons.
        active: how many units fire for each sample, (n,); this and what follows is empty where it is not asked for.
        activity: sum of the squares of a sample's activations, (n,).
        reach: sum of the squares of the output weights of the units that fire for a sample, (n,).
    """

    logits: Float[Tensor, "n outputs"]
    fires: Int64[Tensor, "classes hidden"]
    active: Float[Tensor, " m"]
    activity: Float[Tensor, " m"]
    reach: Float[Tensor, " m"]


@torch.no_grad()
def run_networks(
    stack: Stack,
    replicas: Sequence[int],
    inputs: Float[Tensor, "n features"],
    labels: Int64[Tensor, " n"],
    *,
    num_classes: int,
    by_sample: bool = False,
    compiled: bool = False,
) -> list[Passed]:
    """Run some of the networks on the same samples.

    Args:
        stack: the networks.
        replicas: their numbers.
        inputs: that were made by `stack.prepare`.
        labels: classes whose firings are counted apart, in [0, num_classes).
        num_classes: C.
        by_sample: whether the sums of each sample are asked for too.
        compiled: whether the compiled loop reads the pre-activations, where it can.

    Example:
        >>> from noisereg.models import TwoLayer
        >>> stack = Stack.of([TwoLayer((2,), 1, hidden=3, seed=0)])
        >>> (passed,) = run_networks(stack, [0], stack.prepare(torch.ones(5, 2)), torch.zeros(5).long(), num_classes=2)
        >>> passed.logits.shape, passed.fires.shape, passed.active.shape
        (torch.Size([5, 1]), torch.Size([2, 3]), torch.Size([0]))
    """
    n = len(inputs)
    hidden = 0 if stack.hidden is None else stack.hidden.shape[2]
    space = inputs.new_empty(min(_ROWS_AT_ONCE, n), hidden)
    make_reader = _compiled_reader if compiled and can_compile(stack) else _torch_reader
    found = []
    for replica in replicas:
        output = stack.output[replica]
        sums = inputs.new_zeros(3, n if by_sample else 0)
        passed = Passed(inputs.new_empty(n, len(output)), labels.new_zeros(num_classes, hidden), *sums)
        found.append(passed)
        if stack.hidden is None:
            torch.mm(inputs, output.T, out=passed.logits)
            continue
        read = make_reader(passed, output, labels)
        for first in range(0, n, _ROWS_AT_ONCE):
            part = slice(first, min(n, first + _ROWS_AT_ONCE))
            read(torch.mm(inputs[part], stack.hidden[replica], out=space[: part.stop - first]), part)
        if stack.output_bias is not None:
            passed.logits.add_(stack.output_bias[replica])
    return found


def begin_compiling_reader(stack: Stack) -> threading.Thread | None:
    """Begin to compile the loop that `run_networks` takes for such networks; return the thread, None without a loop."""
    if not can_compile(stack):
        return None
    one, labels = stack.select(torch.tensor([0])), torch.zeros(1, dtype=torch.int64)
    inputs = one.output.new_zeros(1, cast(Tensor, one.hidden).shape[1])
    return compile_beside(partial(run_networks, one, [0], inputs, labels, num_classes=1, compiled=True))


def can_compile(stack: Stack) -> bool:
    """Return whether the compiled loop knows such networks: a hidden layer, on a CPU, in single or double precision."""
    known = stack.output.dtype in (torch.float32, torch.float64)
    return stack.hidden is not None and stack.output.device.type == "cpu" and known


def _compiled_reader(passed: Passed, output: Tensor, labels: Tensor) -> _Read:
    run = forward_kernels.compile_reader(output.shape[1], len(output))
    arrays = [tensor.numpy() for tensor in (labels.contiguous(), output.contiguous(), *passed)]

    def read(z: Tensor, part: slice) -> None:
        run(z.numpy(), part.start, *arrays)

    return read


def _torch_reader(passed: Passed, output: Tensor, labels: Tensor) -> _Read:
    logits, fires, *by_sample = passed
    classes, squares = one_hot(labels, len(fires)).to(output.dtype).T, output.square().sum(dim=0)

    def read(z: Tensor, part: slice) -> None:
        activations = z.relu_()
        torch.mm(activations, output.T, out=logits[part])
        if len(by_sample[0]):
            active, activity, reach = (values[part] for values in by_sample)
            activity.copy_(torch.linalg.vector_norm(activations, dim=1).square_())
        firing = activations.sign_()
        fires.add_((classes[:, part] @ firing).long())  # whole numbers below 2**24 are exact
        if len(by_sample[0]):
            active.copy_(firing.sum(dim=1))
            reach.copy_(firing @ squares)

    return read
