"""Two concentric cubes: the paper's example of a task that a network learns better under label noise."""

from typing import Unpack

import torch
from jaxtyping import Float64
from torch import Tensor

from noisereg import rng
from noisereg.datasets.in_memory import Common, InMemory
from noisereg.datasets.split import Split
from noisereg.errors import require_positive
from noisereg.rng import Stream

_ROWS_AT_ONCE = 512  # what is made of these stays in a core's cache


class Hypercube(InMemory):
    """Points on the surfaces of two cubes, told apart by their size alone.

    Label 1 (the paper's +1) is uniform on {x: |x|_inf = 1}, label 0 (its -1) on {x: |x|_inf = 1 - eps}; each sample
    is of either with probability 1/2. A point of the surface is a uniform point of the cube over its largest |x_i|.

    Args:
        d: dimension of the inputs.
        eps: distance of the two surfaces, in (0, 1).
        train_size: training samples, made anew for each seed.
        test_size: test samples.
        common: see `InMemory`.

    Raises:
        ValueError: if eps is not in (0, 1), or a number is below 1.

    Example:
        >>> data = Hypercube(d=5, train_size=8)
        >>> data.setup()
        >>> data.splits["train"].inputs.shape
        torch.Size([8, 5])

    Source: Cornacchia, Hazla, Nachum, Yehudayoff, "Regularization by Misclassification in ReLU Neural Networks",
        2021, section 6.3.
    """

    source = "hypercube"
    num_classes = 2

    def __init__(
        self,
        d: int = 60,
        eps: float = 0.3,
        *,
        train_size: int = 240,
        test_size: int = 10_000,
        **common: Unpack[Common],
    ) -> None:
        require_positive(d=d, train_size=train_size, test_size=test_size)
        if not 0 < eps < 1:
            raise ValueError(f"eps must be in (0, 1), got {eps}")
        super().__init__(train_size=train_size, test_size=test_size, **common)
        self.d, self.eps, self.input_shape = d, eps, (d,)
        self.num_train, self.num_test = train_size, test_size

    def load(self) -> tuple[Split, Split]:
        """Draw both splits; a larger one begins with the samples of a smaller one."""
        return (
            self._draw(self.num_train, Stream.TRAIN_DATA, Stream.TRAIN_LABEL),
            self._draw(self.num_test, Stream.TEST_DATA, Stream.TEST_LABEL),
        )

    def _draw(self, n: int, data: Stream, label: Stream) -> Split:
        labels = (rng.uniform(self.seed, label, 0, torch.arange(n)) < 0.5).long()
        radius = 1 - self.eps * (1 - labels.double())
        inputs = torch.empty(n, self.d)
        for part, of_part in zip(inputs.split(_ROWS_AT_ONCE), radius.split(_ROWS_AT_ONCE), strict=True):
            place = part.storage_offset() + torch.arange(part.numel()).view_as(part)
            part.copy_(surface_points(2 * rng.uniform(self.seed, data, 0, place) - 1, of_part))
        return Split(inputs, labels)


def surface_points(cube: Float64[Tensor, "n d"], radius: Float64[Tensor, " n"]) -> Float64[Tensor, "n d"]:
    """Move points of the cube [-1, 1]^d outwards to the surface of the cube of the given radius (half its edge).

    Example:
        >>> surface_points(torch.tensor([[0.25, -0.5]]).double(), torch.tensor([2.0]).double())
        tensor([[ 1., -2.]], dtype=torch.float64)
    """
    return cube / cube.abs().amax(dim=1, keepdim=True) * radius[:, None]
