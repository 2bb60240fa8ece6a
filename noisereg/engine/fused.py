"""The engine for CPUs: compiled loops, one replica after the other on each core."""

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from threading import Thread
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor
from torch.nn.functional import one_hot

from noisereg.engine import kernels
from noisereg.engine.slopes import compiled_slope
from noisereg.engine.stack import Stack
from noisereg.losses import Loss

_SPARSE_BELOW = 1 / 3  # share of inputs that are not zero; measured on MNIST (.19) and dense data
_ROWS_JUDGED = 256  # for that share, evenly spread


class Fused:
    """Train R replicas by K sequential steps of SGD, one sample a step, on all cores of a CPU.

    A replica is trained by one thread, in an order that depends on nothing else: the result is the same, bit by bit,
    for any number of threads, alone or among others, and in chunks of any even length (steps are made in pairs). Inputs
    that are mostly zero are visited where they are not.

    Args:
        loss: one that `compiled_slope` knows.
        threads: number of threads.

    Attributes:
        threads: the same number.

    Raises:
        ValueError: if the loss is not known.

    Example:
        >>> import torch
        >>> from noisereg.losses import Logistic
        >>> from noisereg.models import Neuron
        >>> stack = Stack.of([Neuron((2,), 1)])
        >>> step = {"index": torch.tensor([[0]]), "targets": torch.tensor([[[0.0, 1.0]]]), "rates": torch.ones(1)}
        >>> before = stack.output.clone()
        >>> Fused(Logistic())(stack, torch.tensor([[1.0, 0.0]]), **step)
        >>> bool(stack.output[0, 0, 0] > before[0, 0, 0])
        True
    """

    name = "fused"
    batch_size = 1

    def __init__(self, loss: Loss, *, threads: int = 1) -> None:
        slope = compiled_slope(loss)
        if slope is None:
            raise ValueError(f"the fused engine does not know {type(loss).__name__}: take the blocked one")
        self._loss, self._slope = loss, slope
        self.threads = threads
        self._pool = ThreadPoolExecutor(threads)

    def __call__(
        self,
        stack: Stack,
        inputs: Float[Tensor, "n features"],
        *,
        index: Int64[Tensor, "replicas steps"],
        targets: Shaped[Tensor, "replicas steps *classes"],
        rates: Float[Tensor, " replicas"],
    ) -> None:
        """Train in place.

        Args:
            stack: the replicas, on the CPU.
            inputs: that were made by `stack.prepare`; all replicas take theirs from here.
            index: row of `inputs` that each step of each replica trains on.
            targets: class of each step, int64, or distribution over the classes.
            rates: learning rate of each replica.
        """
        dtype = stack.output.detach().numpy().dtype
        output = stack.output.detach().numpy()
        wanted = _chances(targets, outputs=output.shape[1]).to(stack.output.dtype)
        steps = (index.contiguous().numpy(), wanted.contiguous().numpy(), rates.numpy().astype(dtype))
        if stack.hidden is None:
            kernel = kernels.neuron(output.shape[2], slope=self._slope)
            self._share(kernel, output, inputs.numpy(), *steps)
            return
        has_bias, trains_output = stack.output_bias is not None, stack.output.requires_grad
        bias = np.zeros(output.shape[:2], dtype) if stack.output_bias is None else stack.output_bias.detach().numpy()
        trains = kernels.Trains(stack.hidden.requires_grad, trains_output, has_bias and trains_output)
        shape = (*stack.hidden.shape[1:], output.shape[1])
        kernel = kernels.network(*shape, slope=self._slope, trains=trains, sparse=_mostly_zero(inputs))
        self._share(kernel, stack.hidden.detach().numpy(), output, bias, inputs.numpy(), *steps)

    def prepare(self, stack: Stack, inputs: Float[Tensor, "n features"]) -> Thread:
        """Begin to compile what a call with such networks and inputs needs, some seconds of work.

        Args:
            stack: the replicas; they are left as they are.
            inputs: some of those to come.

        Returns:
            The thread that compiles; a call that comes before its end waits for it.
        """
        one = torch.tensor([0])
        sample = {
            "index": torch.zeros(1, 1, dtype=torch.int64),
            "targets": torch.zeros(1, 1, dtype=torch.int64),
            "rates": torch.zeros(1, dtype=torch.float64),
        }
        thread = Thread(target=Fused(self._loss), args=(stack.select(one), inputs), kwargs=sample, daemon=True)
        thread.start()
        return thread

    def _share(self, kernel: Callable[..., Any], *arguments: Any) -> None:
        """Share the replicas: each thread takes one of the parts again and again, until none is left."""
        parts = list(pairwise(_guided_cuts(len(arguments[0]), self.threads)))
        if len(parts) == 1:
            kernel(*parts[0], *arguments)
        else:
            list(self._pool.map(lambda part: kernel(*part, *arguments), parts))


def _guided_cuts(count: int, threads: int) -> list[int]:
    """Divide a count among threads of which some may be slow: the parts get smaller, so that all threads end together.

    Each part is half of what a thread's share of the rest would be.

    Example:
        >>> _guided_cuts(20, threads=2)
        [0, 5, 9, 12, 14, 16, 17, 18, 19, 20]

    Source: Polychronopoulos, Kuck, "Guided self-scheduling", IEEE Transactions on Computers 36, 1987.
    """
    cuts = [0]
    while cuts[-1] < count:
        rest = count - cuts[-1]
        cuts.append(cuts[-1] + (rest if threads == 1 else math.ceil(rest / (2 * threads))))
    return cuts


def _mostly_zero(inputs: Float[Tensor, "n features"]) -> bool:
    """Return whether so many inputs are zero that it is worth to look for the others."""
    some = inputs[:: -(-len(inputs) // _ROWS_JUDGED)]
    return int(some.count_nonzero()) < _SPARSE_BELOW * some.numel()


def _chances(targets: Tensor, *, outputs: int) -> Shaped[Tensor, "replicas steps outputs"]:
    """Return the probability that the label of each output is +1."""
    if targets.ndim == 3:
        return targets[..., 1:] if outputs == 1 else targets
    return targets.unsqueeze(-1) if outputs == 1 else one_hot(targets, outputs)
