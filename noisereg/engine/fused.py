"""The engine for CPUs: compiled loops, one replica after the other on each core."""

import math
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor
from torch.nn.functional import one_hot

from noisereg.engine import batch_kernels, kernels, momentum_kernels
from noisereg.engine.kept_kernels import compile_beside
from noisereg.engine.sgd import PLAIN, Sgd
from noisereg.engine.slopes import compiled_slope
from noisereg.engine.stack import Stack
from noisereg.losses import Loss

_SPARSE_BELOW = 1 / 3  # share of inputs that are not zero; measured on MNIST (.19) and dense data
_ROWS_JUDGED = 256  # for that share, evenly spread


class Fused:
    """Train R replicas by K sequential steps of SGD, on all cores of a CPU.

    A replica is trained by one thread, in an order that depends on nothing else: the result is the same, bit by bit,
    for any number of threads, alone or among others, and in chunks of whole passes (`STEPS_IN_A_PASS` share one where a
    step is one sample). Under plain SGD, one sample a step, inputs that are mostly zero are visited where they are not.

    Args:
        loss: one that `compiled_slope` knows.
        threads: number of threads.
        batch_size: samples of a step, whose mean gradient it follows. The last step of a call may have fewer.
        sgd: momentum and weight decay.
        activity_l1: this times the mean over a step's samples of the sum of the activations is added to the loss.

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

    def __init__(
        self, loss: Loss, *, threads: int = 1, batch_size: int = 1, sgd: Sgd = PLAIN, activity_l1: float = 0.0
    ) -> None:
        slope = compiled_slope(loss)
        if slope is None:
            raise ValueError(f"the fused engine does not know {type(loss).__name__}: take the blocked one")
        self._loss, self._slope, self._sgd, self._activity_l1 = loss, slope, sgd, activity_l1
        self.threads, self.batch_size = threads, batch_size
        self._pool = ThreadPoolExecutor(threads)

    def __call__(
        self,
        stack: Stack,
        inputs: Float[Tensor, "n features"],
        *,
        index: Int64[Tensor, "replicas steps"],
        targets: Shaped[Tensor, "replicas steps *classes"],
        rates: Float[Tensor, " replicas"],
        momenta: Stack | None = None,
    ) -> None:
        """Train in place.

        Args:
            stack: the replicas, on the CPU.
            inputs, index, targets, rates: see `Blocked`.
            momenta: that `start` made and the calls before have left; None to begin. Trained in place too.
        """
        dtype = stack.output.detach().numpy().dtype
        wanted = _label_probabilities(targets, outputs=stack.output.shape[1]).to(stack.output.dtype)
        draws = (inputs.numpy(), index.contiguous().numpy(), wanted.contiguous().numpy())
        weights = _arrays(stack)
        penalty = [] if stack.hidden is None else [dtype.type(self._activity_l1)]
        if self._sgd.is_plain and self.batch_size == 1:
            self._share(self._plain_kernel(stack, inputs), *weights, *draws, rates.numpy().astype(dtype), *penalty)
            return
        moving = _arrays(momenta or self.start(stack) or stack)  # without momentum they are not used
        table = self._sgd.coefficients(rates.double().numpy()).astype(dtype)
        batch_size = [] if stack.hidden is not None and self.batch_size == 1 else [self.batch_size]
        self._share(self._kernel(stack), *weights, *moving, *draws, table, *penalty, *batch_size)

    def start(self, stack: Stack) -> Stack | None:
        """Return momenta of zero for replicas that are yet to be trained; None if none are needed."""
        if self._sgd.is_plain:
            return None
        momenta = stack.select(torch.arange(len(stack)))
        for tensor in momenta.parameters():
            tensor.detach().zero_()
        return momenta

    def _plain_kernel(self, stack: Stack, inputs: Tensor) -> Callable[..., Any]:
        if stack.hidden is None:
            return kernels.compile_neuron(stack.output.shape[2], slope=self._slope)
        return kernels.compile_network(
            *_shape(stack), slope=self._slope, trains=_find_trained(stack), sparse=_mostly_zero(inputs)
        )

    def _kernel(self, stack: Stack) -> Callable[..., Any]:
        slope, momentum = self._slope, self._sgd.momentum != 0
        if stack.hidden is None:
            return batch_kernels.compile_neuron(stack.output.shape[2], slope=slope, momentum=momentum)
        shape, trains = _shape(stack), _find_trained(stack)
        if self.batch_size == 1:
            return momentum_kernels.compile_network(*shape, slope=slope, trains=trains)
        return batch_kernels.compile_network(*shape, slope=slope, trains=trains, momentum=momentum)

    def prepare(self, stack: Stack, inputs: Float[Tensor, "n features"]) -> threading.Thread:
        """Begin to compile what a call with such networks and inputs needs, some seconds of work.

        Args:
            stack: the replicas; they are left as they are.
            inputs: some of those to come.

        Returns:
            The thread that compiles; a call that comes before its end waits for it.
        """
        one = torch.tensor([0])
        sample: dict[str, Any] = {
            "index": torch.zeros(1, 1, dtype=torch.int64),
            "targets": torch.zeros(1, 1, dtype=torch.int64),
            "rates": torch.zeros(1, dtype=torch.float64),
        }
        alike = Fused(self._loss, batch_size=self.batch_size, sgd=self._sgd)
        return compile_beside(partial(alike, stack.select(one), inputs, **sample))

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


def _arrays(stack: Stack) -> list[np.ndarray]:
    """Return what the kernels take of a stack: for networks all three parts, a missing bias as zeros."""
    output = stack.output.detach().numpy()
    if stack.hidden is None:
        return [output]
    no_bias = np.zeros(output.shape[:2], output.dtype)
    bias = no_bias if stack.output_bias is None else stack.output_bias.detach().numpy()
    return [stack.hidden.detach().numpy(), output, bias]


def _shape(stack: Stack) -> tuple[int, int, int]:
    """Return the numbers of features, hidden neurons and outputs of networks."""
    num_features, hidden = cast(Tensor, stack.hidden).shape[1:]
    return num_features, hidden, stack.output.shape[1]


def _find_trained(stack: Stack) -> kernels.Trains:
    """Return which weights of networks a step moves."""
    trains_output = stack.output.requires_grad
    trains_bias = stack.output_bias is not None and trains_output
    return kernels.Trains(cast(Tensor, stack.hidden).requires_grad, trains_output, trains_bias)


def _mostly_zero(inputs: Float[Tensor, "n features"]) -> bool:
    """Return whether so many inputs are zero that it is worth to look for the others."""
    some = inputs[:: -(-len(inputs) // _ROWS_JUDGED)]
    return int(some.count_nonzero()) < _SPARSE_BELOW * some.numel()


def _label_probabilities(targets: Tensor, *, outputs: int) -> Shaped[Tensor, "replicas steps outputs"]:
    """Return the probability that the label of each output is +1."""
    if targets.ndim == 3:
        return targets[..., 1:] if outputs == 1 else targets
    return targets.unsqueeze(-1) if outputs == 1 else one_hot(targets, outputs)
