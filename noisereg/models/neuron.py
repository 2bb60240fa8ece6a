"""A single linear neuron."""

from jaxtyping import Float
from torch import Tensor, nn

from noisereg.models.init import initialize, make_layer
from noisereg.models.vector import ToVector


class Neuron(nn.Module):
    """Compute N(x) = V.x, with a bias on request and without activation.

    Args:
        input_shape: of one input; it is flattened.
        num_outputs: 1. A neuron separates two classes.
        init: law of the weights, see `initialize`.
        bias: law of the bias, see `initialize`; "none" for no bias.
        seed: of the weights.

    Raises:
        ValueError: more than one output is asked for, or a law is unknown.

    Example:
        >>> import torch
        >>> Neuron((30,), 1)(torch.zeros(4, 30)).shape
        torch.Size([4, 1])

    Source:
        The paper's theorem 2 and figure 2.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        num_outputs: int,
        *,
        init: str = "uniform",
        bias: str = "none",
        seed: int = 0,
    ) -> None:
        super().__init__()
        if num_outputs != 1:
            raise ValueError(
                f"num_outputs must be 1, got {num_outputs}: a neuron separates two classes; "
                "take a data set of two classes, or another model"
            )
        self.vector = ToVector(input_shape)
        self.output = make_layer(nn.Linear, self.vector.num_features, 1, bias=bias != "none")
        initialize(self, init=init, bias=bias, seed=seed)

    def forward(self, inputs: Float[Tensor, "batch *shape"]) -> Float[Tensor, "batch 1"]:
        """Compute the logits, positive for the class +1."""
        return self.output(self.vector(inputs))
