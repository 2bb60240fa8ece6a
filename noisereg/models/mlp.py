"""A fully connected network of any depth."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from noisereg import rng
from noisereg.errors import require_positive
from noisereg.models.acts import build_act
from noisereg.models.checks import check_append_one
from noisereg.models.dropout import Dropout
from noisereg.models.init import initialize, make_layer
from noisereg.models.vector import ToVector


class MLP(nn.Module):
    """Stack linear layers with an activation between each two.

    The layers are named linear1, relu1, linear2, relu2, ..., output; other activations act1, act2, ... A batch norm
    norm1 stands between linear1 and its activation, a dropout1 behind the activation.

    Args:
        input_shape: of one input; it is flattened.
        num_outputs: 1 for two classes, else the number of classes.
        hidden: widths of the hidden layers, first to last; a single int for `depth` layers of one width.
        depth: number of hidden layers where `hidden` is an int.
        act: activation: relu, relu2 (squared), leaky_relu, gelu or silu.
        batch_norm: whether a batch norm stands before each activation.
        dropout: probability with which an activation is set to zero in training, in [0, 1); see `Dropout`.
        init: law of the weights, see `initialize`.
        bias: law of the biases, see `initialize`; "none" for a network without.
        append_one: whether the input is (x, 1), the network of equation (2). Asks for `bias` "none".
        seed: of the weights.

    Raises:
        ValueError: no hidden layer, a width below 1, a dropout out of range, an unknown law or activation, `depth`
            beside a list of widths, or `append_one` beside biases.

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
        depth: int = 1,
        act: str = "relu",
        batch_norm: bool = False,
        dropout: float = 0.0,
        init: str = "torch",
        bias: str = "same",
        append_one: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        require_positive(num_outputs=num_outputs, depth=depth)
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {dropout}")
        if depth > 1 and not isinstance(hidden, int):
            raise ValueError(f"depth={depth} needs one width in hidden, such as 512, got {list(hidden)}")
        widths = [hidden] * depth if isinstance(hidden, int) else list(hidden)
        require_positive(hidden=min(widths, default=0))
        check_append_one(append_one, bias)
        self.vector = ToVector(input_shape, append_one=append_one)
        fan_ins = [self.vector.num_features, *widths]
        for number, (fan_in, width) in enumerate(zip(fan_ins, widths, strict=False), start=1):
            self.add_module(f"linear{number}", make_layer(nn.Linear, fan_in, width, bias=bias != "none"))
            if batch_norm:
                self.add_module(f"norm{number}", nn.BatchNorm1d(width))
            self.add_module(f"{'relu' if act == 'relu' else 'act'}{number}", build_act(act))
            if dropout:
                self.add_module(f"dropout{number}", Dropout(dropout, seed=_dropout_seed(seed, number)))
        self.output = make_layer(nn.Linear, fan_ins[-1], num_outputs, bias=bias != "none")
        initialize(self, init=init, bias=bias, seed=seed)

    def forward(self, inputs: Float[Tensor, "batch *shape"]) -> Float[Tensor, "batch outputs"]:
        """Compute the logits."""
        hidden = inputs
        for layer in self.children():
            hidden = layer(hidden)
        return hidden


def _dropout_seed(seed: int, number: int) -> int:
    """Return a seed of its own for each layer."""
    return rng.hash_key(seed, rng.Stream.DROPOUT, number) >> 1
