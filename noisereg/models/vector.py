"""The first step of every model on vectors: flatten the input, and append a one where equation (2) asks for it."""

import math

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import pad


class ToVector(nn.Module):
    """Flatten each input to a vector x, or to (x, 1).

    Args:
        input_shape: of one input, without the batch.
        append_one: whether a one stands at the end of each vector.

    Attributes:
        num_features: length of the vectors.

    Raises:
        ValueError: the shape is empty or holds a size below 1.

    Example:
        >>> import torch
        >>> ToVector((2,), append_one=True)(torch.tensor([[5.0, 7.0]]))
        tensor([[5., 7., 1.]])

    Source:
        The paper's equation (2), with x~ = (x, 1).
    """

    def __init__(self, input_shape: tuple[int, ...], *, append_one: bool = False) -> None:
        super().__init__()
        if not input_shape or min(input_shape) < 1:
            raise ValueError(f"input_shape must hold sizes of at least 1, got {input_shape}")
        self.append_one = append_one
        self.num_features = math.prod(input_shape) + append_one

    def forward(self, inputs: Float[Tensor, "batch *shape"]) -> Float[Tensor, "batch features"]:
        """Flatten a batch."""
        vectors = inputs.flatten(start_dim=1)
        return pad(vectors, (0, 1), value=1.0) if self.append_one else vectors

    def extra_repr(self) -> str:
        """Return the setting, for the printed model."""
        return f"append_one={self.append_one}"
