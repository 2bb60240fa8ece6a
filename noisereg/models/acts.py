"""The activations that models can be built with."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from noisereg.models.checks import check_choice


class ReluSquared(nn.Module):
    """Compute max(x, 0)^2.

    Example:
        >>> ReluSquared()(torch.tensor([-1.0, 3.0]))
        tensor([0., 9.])

    Source: So et al., "Primer: searching for efficient transformers for language modeling", 2021.
    """

    def forward(self, inputs: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Square what is positive."""
        return torch.relu(inputs).square()


ACTS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "relu2": ReluSquared,
    "leaky_relu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
}


def build_act(act: str) -> nn.Module:
    """Build an activation by its name.

    Raises:
        ValueError: if there is none of that name.

    Example:
        >>> build_act("gelu")
        GELU(approximate='none')
    """
    check_choice("act", act, ACTS)
    return ACTS[act]()
