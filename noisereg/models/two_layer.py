"""A network with one hidden layer, in the variants of the paper."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from noisereg.errors import require_above_zero, require_positive
from noisereg.models.checks import check_append_one, check_choice
from noisereg.models.init import initialize, make_layer
from noisereg.models.vector import ToVector

_TRAINED = ("both", "hidden", "output")


class TwoLayer(nn.Module):
    """Compute N(x) = V.ReLU(W x + b) + c, the paper's network with one hidden layer.

    Args:
        input_shape: of one input; it is flattened.
        num_outputs: 1 for two classes, else the number of classes.
        hidden: number of hidden neurons.
        init: law of the weights, see `initialize`.
        bias: law of the biases b and c, see `initialize`; "none" for a network without.
        trained: which layers are trained, "both", "hidden" or "output"; the other keeps its initial weights.
        output_signs: whether V is fixed at +1 for the first half of the hidden neurons and -1 for the second, with
            no c (theorems 3 and 4). Asks for one output, an even `hidden` and `trained` "hidden".
        append_one: whether the input is (x, 1), the network of equation (2). Asks for `bias` "none".
        output_scale: by which the initial weights V are multiplied, above 0; it matters most where V is not trained.
        seed: of the weights.

    Raises:
        ValueError: an argument is out of range, or two of them exclude each other.

    Example:
        >>> model = TwoLayer((60,), 1, hidden=240)
        >>> sum(parameter.numel() for parameter in model.parameters())
        14881
        >>> TwoLayer((30,), 1, hidden=4, bias="none", trained="hidden", output_signs=True).output.weight
        Parameter containing:
        tensor([[ 1.,  1., -1., -1.]])

    Source:
        The paper's equations (1) and (2), theorems 3 and 4, and section 6.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        num_outputs: int,
        *,
        hidden: int,
        init: str = "uniform",
        bias: str = "zero",
        trained: str = "both",
        output_signs: bool = False,
        append_one: bool = False,
        output_scale: float = 1.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        require_positive(hidden=hidden, num_outputs=num_outputs)
        require_above_zero(output_scale=output_scale)
        check_choice("trained", trained, _TRAINED)
        check_append_one(append_one, bias)
        if output_signs:
            _check_output_signs(num_outputs, hidden, trained=trained)
        has_bias = bias != "none"
        self.vector = ToVector(input_shape, append_one=append_one)
        self.hidden = make_layer(nn.Linear, self.vector.num_features, hidden, bias=has_bias)
        self.relu = nn.ReLU()
        self.output = make_layer(nn.Linear, hidden, num_outputs, bias=has_bias and not output_signs)
        initialize(self, init=init, bias=bias, seed=seed)
        if output_signs:
            _fill_signs(self.output)
        with torch.no_grad():
            self.output.weight.mul_(output_scale)
        self.hidden.requires_grad_(trained != "output")
        self.output.requires_grad_(trained != "hidden")

    def forward(self, inputs: Float[Tensor, "batch *shape"]) -> Float[Tensor, "batch outputs"]:
        """Compute the logits."""
        return self.output(self.relu(self.hidden(self.vector(inputs))))


def _check_output_signs(num_outputs: int, hidden: int, *, trained: str) -> None:
    if num_outputs != 1:
        raise ValueError(f"output_signs=True requires num_outputs=1, got {num_outputs}; take a data set of two classes")
    if hidden % 2:
        raise ValueError(f"output_signs=True requires an even hidden, got {hidden}")
    if trained != "hidden":
        raise ValueError(f"output_signs=True fixes the output layer and requires trained='hidden', got {trained!r}")


@torch.no_grad()
def _fill_signs(layer: nn.Linear) -> None:
    positive, negative = layer.weight.chunk(2, dim=1)
    positive.fill_(1.0)
    negative.fill_(-1.0)
