"""Samples of pure label noise for the verifiers."""

import torch
from jaxtyping import Float64
from torch import Tensor

from noisereg import rng
from noisereg.rng import Stream


def gaussian_noise(
    seed: int, step: int, *, count: int, d: int
) -> tuple[Float64[Tensor, "count d"], Float64[Tensor, "count 2"]]:
    """Draw inputs of N(0, I_d), and for each a fair label that knows nothing of it.

    Args:
        seed: of the run.
        step: number of the chunk; each has samples of its own.
        count: of samples.
        d: dimension.

    Returns:
        The inputs, and the targets that an engine takes.

    Example:
        >>> inputs, targets = gaussian_noise(0, 0, count=3, d=2)
        >>> inputs.shape, targets.sum(dim=1).tolist()
        (torch.Size([3, 2]), [1.0, 1.0, 1.0])

    Source: arXiv 2111.02154, definition 2.
    """
    inputs = rng.normal(seed, Stream.TRAIN_DATA, step, torch.arange(count * d)).view(count, d)
    plus = (rng.uniform(seed, Stream.TRAIN_LABEL, step, torch.arange(count)) < 0.5).double()
    return inputs, torch.stack([1 - plus, plus], dim=1)
