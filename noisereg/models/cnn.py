"""A plain convolutional network."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from noisereg.errors import require_positive
from noisereg.models.acts import build_act
from noisereg.models.init import initialize, make_layer


class CNN(nn.Module):
    """Stack 3 x 3 convolutions, each with an activation and a pooling by two, before one hidden layer.

    The layers are conv1, norm1 (with batch norm), act1, pool1, ..., flatten, linear, act, output.

    Args:
        input_shape: (channels, height, width).
        num_outputs: 1 for two classes, else the number of classes.
        channels: of the convolutions, first to last.
        hidden: units of the hidden layer.
        act: activation: relu, relu2 (squared), leaky_relu, gelu or silu.
        batch_norm: whether a batch norm stands before the activation of each convolution.
        seed: of the weights.

    Raises:
        ValueError: if the shape is not that of images, a size is below 1, or the images are too small for the poolings.

    Example:
        >>> import torch
        >>> CNN((1, 28, 28), 10)(torch.zeros(2, 1, 28, 28)).shape
        torch.Size([2, 10])
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        num_outputs: int,
        *,
        channels: Sequence[int] = (32, 64),
        hidden: int = 128,
        act: str = "relu",
        batch_norm: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if len(input_shape) != 3 or min(input_shape) < 1:
            raise ValueError(f"input_shape must be (channels, height, width), got {input_shape}; an MLP takes vectors")
        require_positive(num_outputs=num_outputs, hidden=hidden, channels=min(channels, default=0))
        sizes = [size // 2 ** len(channels) for size in input_shape[1:]]
        if not all(sizes):
            raise ValueError(f"channels must halve images of {input_shape[1]} x {input_shape[2]}, got {len(channels)}")
        previous = input_shape[0]
        for number, wide in enumerate(channels, start=1):
            self.add_module(f"conv{number}", make_layer(nn.Conv2d, previous, wide, 3, padding=1, bias=not batch_norm))
            if batch_norm:
                self.add_module(f"norm{number}", nn.BatchNorm2d(wide))
            self.add_module(f"act{number}", build_act(act))
            self.add_module(f"pool{number}", nn.MaxPool2d(2))
            previous = wide
        self.flatten = nn.Flatten()
        self.linear, self.act = make_layer(nn.Linear, previous * sizes[0] * sizes[1], hidden), build_act(act)
        self.output = make_layer(nn.Linear, hidden, num_outputs)
        initialize(self, init="he", bias="zero", seed=seed)

    def forward(self, inputs: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch outputs"]:
        """Compute the logits."""
        hidden = inputs
        for layer in self.children():
            hidden = layer(hidden)
        return hidden
