"""Residual networks for small images: depth 6n+2, three stages, shortcuts without parameters."""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, pad
from torch.nn.utils import skip_init

from noisereg.errors import require_positive
from noisereg.models.init import initialize

_WIDTHS = (16, 32, 64)


class ResNet(nn.Module):
    """Compute the residual network that its authors built for CIFAR-10.

    A convolution, three stages of n blocks with 16, 32 and 64 channels, mean over the positions, a linear layer. With
    32 x 32 images the last ReLU has 64 x 8 x 8 = 4096 units. Weights are drawn from He's normal law, the linear bias
    from torch's default law.

    Args:
        input_shape: (channels, height, width).
        num_outputs: 1 for two classes, else the number of classes.
        depth: 6n+2 for a whole n >= 1, such as 20, 32, 44, 56, 110.
        seed: of the weights.

    Raises:
        ValueError: the input is no image, or the depth is not of that form.

    Example:
        >>> model = ResNet((3, 32, 32), 10, depth=20)
        >>> sum(parameter.numel() for parameter in model.parameters())
        269722

    Source:
        K. He, X. Zhang, S. Ren, J. Sun, "Deep residual learning for image recognition", CVPR 2016, section 4.2,
        option A.
    """

    def __init__(self, input_shape: tuple[int, ...], num_outputs: int, *, depth: int = 20, seed: int = 0) -> None:
        super().__init__()
        require_positive(num_outputs=num_outputs)
        if len(input_shape) != 3 or min(input_shape) < 1:
            raise ValueError(f"input_shape must be (channels, height, width), got {input_shape}; an MLP takes vectors")
        num_blocks, rest = divmod(depth - 2, 6)
        if num_blocks < 1 or rest:
            raise ValueError(f"depth must be 6n+2 with n >= 1, such as 20, 32, 44, 56 or 110, got {depth}")
        self.conv1 = _build_convolution(input_shape[0], _WIDTHS[0])
        self.bn1 = nn.BatchNorm2d(_WIDTHS[0])
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = _build_stage(_WIDTHS[0], _WIDTHS[0], num_blocks=num_blocks, stride=1)
        self.layer2 = _build_stage(_WIDTHS[0], _WIDTHS[1], num_blocks=num_blocks, stride=2)
        self.layer3 = _build_stage(_WIDTHS[1], _WIDTHS[2], num_blocks=num_blocks, stride=2)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = skip_init(nn.Linear, _WIDTHS[2], num_outputs)
        initialize(self, init="he", bias="torch", seed=seed)

    def forward(self, inputs: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch outputs"]:
        """Compute the logits."""
        hidden = self.relu(self.bn1(self.conv1(inputs)))
        hidden = self.layer3(self.layer2(self.layer1(hidden)))
        return self.fc(self.pool(hidden).flatten(start_dim=1))


class BasicBlock(nn.Module):
    """Add two convolutions to a shortcut: ReLU(f(x) + shortcut(x)).

    ReLUs and the sum write in place: on a CPU it is memory that takes the time.

    Args:
        in_channels: of the input.
        out_channels: of the output, at least as many.
        stride: of the first convolution and the shortcut.

    Example:
        >>> import torch
        >>> BasicBlock(16, 32, stride=2)(torch.zeros(1, 16, 8, 8)).shape
        torch.Size([1, 32, 4, 4])
    """

    def __init__(self, in_channels: int, out_channels: int, *, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv1 = _build_convolution(in_channels, out_channels, stride=stride)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv2 = _build_convolution(out_channels, out_channels)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.relu2 = nn.ReLU(inplace=True)

    def forward(self, inputs: Float[Tensor, "batch in_channels _ _"]) -> Float[Tensor, "batch out_channels _ _"]:
        """Compute the block; height and width are divided by the stride and rounded up."""
        hidden = self.relu1(self.bn1(self.conv1(inputs)))
        hidden = self.bn2(self.conv2(hidden))
        hidden += shortcut(inputs, num_channels=hidden.shape[1], stride=self.stride)
        return self.relu2(hidden)


def shortcut(
    inputs: Float[Tensor, "batch in_channels _ _"], *, num_channels: int, stride: int
) -> Float[Tensor, "batch out_channels _ _"]:
    """Return every stride-th position, with channels of zeros added on both sides (option A).

    The positions are taken by a pooling over one each: its gradient keeps a channels_last layout, which that of a slice
    does not, and all that is computed from a gradient of another layout takes ten times as long on a CPU.

    Args:
        inputs: whose height and width are divided by the stride and rounded up.
        num_channels: of the result, at least those of the inputs.
        stride: in both directions.

    Example:
        >>> import torch
        >>> shortcut(torch.ones(1, 2, 3, 3), num_channels=4, stride=2)[0, :, 0, 0]
        tensor([0., 1., 1., 0.])
    """
    missing = num_channels - inputs.shape[1]
    if stride == 1 and missing == 0:
        return inputs
    return pad(avg_pool2d(inputs, kernel_size=1, stride=stride), (0, 0, 0, 0, missing // 2, missing - missing // 2))


def _build_stage(in_channels: int, out_channels: int, *, num_blocks: int, stride: int) -> nn.Sequential:
    first = BasicBlock(in_channels, out_channels, stride=stride)
    return nn.Sequential(first, *(BasicBlock(out_channels, out_channels, stride=1) for _ in range(num_blocks - 1)))


def _build_convolution(in_channels: int, out_channels: int, *, stride: int = 1) -> nn.Conv2d:
    return skip_init(nn.Conv2d, in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
