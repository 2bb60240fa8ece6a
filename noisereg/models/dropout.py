"""Dropout whose masks are named draws, so that networks with it can be trained at once and alone to the same result."""

import torch
from jaxtyping import Float
from torch import Tensor, distributed, nn

from noisereg import rng

_SHARE = 2**40  # of the numbers of the draws in a step that a process has


class Dropout(nn.Module):
    """Zero each unit with probability p in training, and multiply the others by 1 / (1 - p).

    The mask is a function of the seed, the number of the call in training mode, the row in the batch and the unit, and
    of no generator: torch's own dropout draws in the order of the calls, and cannot be mapped over networks.

    Args:
        p: probability, in [0, 1).
        seed: of the masks, in [0, 2**63); layers of one network take different ones.

    Raises:
        ValueError: if p is out of range.

    Example:
        >>> layer = Dropout(0.5)
        >>> sorted(set(layer(torch.ones(4, 100)).flatten().tolist()))
        [0.0, 2.0]
        >>> layer.eval()(torch.ones(1, 2))
        tensor([[1., 1.]])

    Source: N. Srivastava, G. Hinton, A. Krizhevsky, I. Sutskever, R. Salakhutdinov, "Dropout: a simple way to prevent
        neural networks from overfitting", 2014.
    """

    seed: Tensor
    calls: Tensor

    def __init__(self, p: float, *, seed: int = 0) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"p must be in [0, 1), got {p}")
        self.p = p
        self.register_buffer("seed", torch.tensor(seed))
        self.register_buffer("calls", torch.tensor(0))

    def forward(self, activations: Float[Tensor, "batch *units"]) -> Float[Tensor, "batch *units"]:
        """Return the activations that are left, scaled; outside training all as they are."""
        if not self.training or self.p == 0:
            return activations
        rank = distributed.get_rank() if distributed.is_available() and distributed.is_initialized() else 0
        place = torch.arange(activations.numel(), device=activations.device) + rank * _SHARE
        draws = rng.traceable_uniform(self.seed, rng.Stream.DROPOUT, self.calls, place)
        self.calls += 1
        return activations * (draws >= self.p).view(activations.shape) / (1 - self.p)

    def extra_repr(self) -> str:
        """Return the probability, for the description of a network."""
        return f"p={self.p}"
