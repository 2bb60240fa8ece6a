"""A fully connected network of any depth."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import skip_init

from noisereg.models.checks import check_append_one, check_positive
from noisereg.models.init import initialize
from noisereg.models.vector import ToVector


class MLP(nn.Module):
    """Stack linear layers with a ReLU between each two.

    The layers are named linear1, relu1, linear2, relu2, ..., output.

    Args:
        input_shape: of one input; it is flattened.
        num_outputs: 1 for two classes, else the number of classes.
        hidden: widths of the hidden layers, first to last; a single int for one hidden layer.
        init: law of the weights, see `initialize`.
        bias: law of the biases, see `initialize`; "none" for a network without.
        append_one: whether the input is (x, 1), the network of equation (2). Asks for `bias` "none".
        seed: of the weights.

    Raises:
        ValueError: no hidden layer, a width below 1, an unknown law, or `append_one` beside biases.

    Example:
        >>> model = MLP((1, 28, 28), 10, hidden=[600, 300])
        >>> [name for name, _ in model.named_children()]
        ['vector', 'linear1', 'relu1', 'linear2', 'relu2', 'output']

    Source:
        The paper's equations (1) and (2).
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        num_outputs: int,
        *,
        hidden: int | Sequence[int],
        init: str = "torch",
        bias: str = "same",
        append_one: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        widths = [hidden] if isinstance(hidden, int) else list(hidden)
        check_positive(num_outputs=num_outputs, hidden=min(widths, default=0))
        check_append_one(append_one, bias)
        self.vector = ToVector(input_shape, append_one=append_one)
        fan_ins = [self.vector.num_features, *widths]
        for number, (fan_in, width) in enumerate(zip(fan_ins, widths, strict=False), start=1):
            self.add_module(f"linear{number}", skip_init(nn.Linear, fan_in, width, bias=bias != "none"))
            self.add_module(f"relu{number}", nn.ReLU())
        self.output = skip_init(nn.Linear, fan_ins[-1], num_outputs, bias=bias != "none")
        initialize(self, init=init, bias=bias, seed=seed)

    def forward(self, inputs: Float[Tensor, "batch *shape"]) -> Float[Tensor, "batch outputs"]:
        """Compute the logits.

        Args:
            inputs: (batch, *input_shape).

        Returns:
            (batch, num_outputs).
        """
        hidden = inputs
        for layer in self.children():
            hidden = layer(hidden)
        return hidden
