"""Small transformers: one for images, and one for text."""

import math

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn.functional import embedding, pad

from noisereg.errors import require_positive
from noisereg.models.acts import build_act
from noisereg.models.checks import describe_tokens
from noisereg.models.init import initialize
from noisereg.rng import Stream, normal

_POSITIONS = 1_000_000  # step of the draws of positions and tokens, beyond those of all layers
_SPREAD = 0.02  # standard deviation of what is embedded


class Block(nn.Module):
    """Add attention and a feed-forward layer to tokens, each after a layer norm.

    Args:
        width: of a token.
        heads: of the attention; they share the width.
        hidden: units of the feed-forward layer.
        act: its activation, see `build_act`.
        causal: whether a token attends to itself and those before it only.

    Example:
        >>> Block(8, heads=2, hidden=16, act="relu", causal=False)(torch.zeros(1, 3, 8)).shape
        torch.Size([1, 3, 8])
    """

    def __init__(self, width: int, *, heads: int, hidden: int, act: str, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention, self.merge = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.linear1, self.act, self.linear2 = nn.Linear(width, hidden), build_act(act), nn.Linear(hidden, width)

    def forward(self, tokens: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch tokens width"]:
        """Compute the block."""
        parts = self.attention(self.norm1(tokens)).unflatten(-1, (3, self.heads, -1))
        query, key, value = parts.movedim(-3, 0).transpose(-2, -3).unbind(0)
        scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])  # torch.func cannot stack torch's own
        if self.causal:
            later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(diagonal=1)
            scores = scores.masked_fill(later, -math.inf)
        attended = scores.softmax(dim=-1) @ value
        tokens = tokens + self.merge(attended.transpose(-2, -3).flatten(-2))
        return tokens + self.linear2(self.act(self.linear1(self.norm2(tokens))))


class ViT(nn.Module):
    """Classify images by a transformer over their patches, of which the mean is taken at the end.

    Images are padded by zeros to whole patches. The activations are blocks.0.act, blocks.1.act, ...

    Args:
        input_shape: (channels, height, width).
        num_outputs: 1 for two classes, else the number of classes.
        patch: height and width of a patch.
        width: of a token.
        depth: number of blocks.
        heads: of the attention; they share the width.
        hidden: units of a feed-forward layer.
        act: activation of the feed-forward layers: relu, relu2 (squared), leaky_relu, gelu or silu.
        seed: of the weights.

    Raises:
        ValueError: if the shape is not that of images, a size is below 1, or the heads do not divide the width.

    Example:
        >>> ViT((1, 28, 28), 10, patch=8)(torch.zeros(2, 1, 28, 28)).shape
        torch.Size([2, 10])

    Source: Dosovitskiy et al., "An image is worth 16x16 words", 2021.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        num_outputs: int,
        *,
        patch: int = 8,
        width: int = 64,
        depth: int = 4,
        heads: int = 4,
        hidden: int = 256,
        act: str = "relu",
        seed: int = 0,
    ) -> None:
        super().__init__()
        if len(input_shape) != 3 or min(input_shape) < 1:
            raise ValueError(f"input_shape must be (channels, height, width), got {input_shape}; an MLP takes vectors")
        _check_sizes(width, heads, num_outputs=num_outputs, patch=patch, depth=depth, hidden=hidden)
        channels, height, image_width = input_shape
        self.patch = patch
        self.rows, self.columns = math.ceil(height / patch), math.ceil(image_width / patch)
        self.embed = nn.Linear(channels * patch**2, width)
        self.positions = nn.Parameter(_draw(self.rows * self.columns, width, seed=seed, step=_POSITIONS))
        self.blocks = nn.Sequential(
            *(Block(width, heads=heads, hidden=hidden, act=act, causal=False) for _ in range(depth))
        )
        self.norm, self.output = nn.LayerNorm(width), nn.Linear(width, num_outputs)
        initialize(self, init="torch", bias="zero", seed=seed)

    def forward(self, inputs: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch outputs"]:
        """Compute the logits."""
        missing = (self.columns * self.patch - inputs.shape[3], self.rows * self.patch - inputs.shape[2])
        images = pad(inputs, (0, missing[0], 0, missing[1]))
        patches = images.unflatten(3, (self.columns, self.patch)).unflatten(2, (self.rows, self.patch))
        tokens = self.embed(patches.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)) + self.positions
        return self.output(self.norm(self.blocks(tokens)).mean(dim=1))


class GPT(nn.Module):
    """Predict the token that follows a sequence of tokens, by a causal transformer.

    The activations are blocks.0.act, blocks.1.act, ...

    Args:
        input_shape: (context,), the number of tokens before the one that is predicted.
        num_outputs: number of different tokens, at least 3.
        width: of a token.
        depth: number of blocks.
        heads: of the attention; they share the width.
        hidden: units of a feed-forward layer.
        act: activation of the feed-forward layers: relu, relu2 (squared), leaky_relu, gelu or silu.
        seed: of the weights.

    Raises:
        ValueError: if the inputs are no tokens, a size is below 1, or the heads do not divide the width.

    Example:
        >>> GPT((16,), 27)(torch.zeros(2, 16, dtype=torch.int64)).shape
        torch.Size([2, 27])

    Source: Radford et al., "Language models are unsupervised multitask learners", 2019.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        num_outputs: int,
        *,
        width: int = 64,
        depth: int = 2,
        heads: int = 4,
        hidden: int = 256,
        act: str = "relu",
        seed: int = 0,
    ) -> None:
        super().__init__()
        if len(input_shape) != 1 or num_outputs < 3:
            raise ValueError(
                "input_shape must be (context,) of at least 3 kinds of tokens, as those of characters, "
                f"got {input_shape} and {num_outputs} outputs"
            )
        _check_sizes(width, heads, depth=depth, hidden=hidden)
        self.tokens = nn.Parameter(_draw(num_outputs, width, seed=seed, step=_POSITIONS + 1))
        self.positions = nn.Parameter(_draw(input_shape[0], width, seed=seed, step=_POSITIONS))
        self.blocks = nn.Sequential(
            *(Block(width, heads=heads, hidden=hidden, act=act, causal=True) for _ in range(depth))
        )
        self.norm, self.output = nn.LayerNorm(width), nn.Linear(width, num_outputs)
        initialize(self, init="torch", bias="zero", seed=seed)

    def forward(self, inputs: Shaped[Tensor, "batch context"]) -> Float[Tensor, "batch outputs"]:
        """Compute the logits of the next token.

        Args:
            inputs: numbers of tokens in [0, num_outputs), of any type.

        Returns:
            (batch, num_outputs).

        Raises:
            ValueError: if a number is out of range.
        """
        numbers = inputs.long()
        try:
            tokens = embedding(numbers, self.tokens) + self.positions
        except IndexError:
            raise ValueError(describe_tokens(numbers, len(self.tokens))) from None
        return self.output(self.norm(self.blocks(tokens)[:, -1]))


def _check_sizes(width: int, heads: int, **sizes: int) -> None:
    require_positive(width=width, heads=heads, **sizes)
    if width % heads:
        raise ValueError(f"width must be a multiple of heads={heads}, got {width}")


def _draw(num: int, width: int, *, seed: int, step: int) -> Float[Tensor, "num width"]:
    values = normal(seed, Stream.INIT, step, torch.arange(num * width)).view(num, width)
    return (_SPREAD * values).to(torch.get_default_dtype())
