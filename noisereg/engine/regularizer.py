"""What else makes networks sparse or generalise, to compare label noise with: exact terms of a training step."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from noisereg import rng
from noisereg.metrics import ActivationCounter, eval_mode, find_relus


@dataclass(frozen=True, kw_only=True)
class Regularizer:
    """What is added to the loss, and to its gradient, of each step.

    Args:
        activity_l1: this times the mean over the samples of a batch of the sum of the outputs of all ReLUs is added to
            the loss, at least 0.
        gradient_noise: standard deviation of the Gaussian noise that is added to each entry of the gradient of a step,
            before it is clipped, at least 0. It is independent from step to step and from weight to weight.

    Raises:
        ValueError: if a number is below 0.

    Source: X. Glorot, A. Bordes, Y. Bengio, "Deep sparse rectifier neural networks", 2011, section 3; A. Neelakantan
        et al., "Adding gradient noise improves learning for very deep networks", 2015.
    """

    activity_l1: float = 0.0
    gradient_noise: float = 0.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value >= 0:
                raise ValueError(f"{name} must be at least 0, got {value}")

    def watch(self, module: nn.Module) -> AbstractContextManager[list[Tensor]]:
        """Collect the sum of the outputs of each ReLU that is called in the block, if they are penalised.

        Example:
            >>> net = nn.Sequential(nn.Linear(1, 2), nn.ReLU())
            >>> _ = nn.init.ones_(net[0].weight), nn.init.zeros_(net[0].bias)
            >>> with Regularizer(activity_l1=0.1).watch(net) as sums:
            ...     _ = net(torch.tensor([[1.0], [3.0]]))
            >>> sums
            [tensor(8., grad_fn=<SumBackward0>)]
        """
        return _watch_relus(module) if self.activity_l1 else nullcontext([])

    def penalty(self, sums: Sequence[Tensor], *, batch_size: int) -> Tensor | float:
        """Return what is added to the loss.

        Args:
            sums: that `watch` collected in the forward pass.
            batch_size: samples of that pass.
        """
        return self.activity_l1 / batch_size * torch.stack(list(sums)).sum() if sums else 0.0

    def noise(self, weights: Sequence[Tensor], *, seed: int, step: int) -> list[Float[Tensor, "..."]]:
        """Draw the noise for the gradients of some weights, a function of the seed, the step and their shapes.

        Args:
            weights: that are trained, in the order of the network.
            seed: of the run.
            step: number of steps of the optimiser before this one.
        """
        generator = torch.Generator(weights[0].device)
        generator.manual_seed(rng.hash_key(seed, rng.Stream.GRADIENT_NOISE, step))
        return [
            self.gradient_noise
            * torch.randn(weight.shape, generator=generator, dtype=weight.dtype, device=weight.device)
            for weight in weights
        ]


@contextmanager
def _watch_relus(module: nn.Module) -> Iterator[list[Tensor]]:
    sums: list[Tensor] = []

    def add(layer: nn.Module, inputs: Any, output: Tensor) -> None:
        sums.append(output.sum())

    handles = [relu.register_forward_hook(add) for relu in find_relus(module).values()]
    try:
        yield sums
    finally:
        for handle in handles:
            handle.remove()


def why_not_penalised(module: nn.Module, inputs: Tensor) -> str | None:
    """Return what keeps the activations of a network from an exact penalty, or None.

    Args:
        module: any network; all its activations must be ReLUs that are modules, as hooks see no call of a function.
        inputs: of a trial.

    Example:
        >>> why_not_penalised(nn.Sequential(nn.Linear(1, 1), nn.GELU()), torch.ones(2, 1))
        'it calls 1 activation (1), of which 0 are ReLUs that are modules'
    """
    counter = ActivationCounter(module, required=False)
    with counter, _watch_relus(module) as sums, eval_mode(module), torch.no_grad():
        module(inputs)
    if len(sums) < (number := len(counter.metrics)):
        calls = f"{number} activation{'s' * (number > 1)} ({', '.join(counter.metrics)})"
        return f"it calls {calls}, of which {len(sums)} are ReLUs that are modules"
    return None if sums else "it calls no ReLU"
