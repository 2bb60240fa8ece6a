"""Pure label noise on standard normal inputs."""

from typing import Unpack

import torch
from jaxtyping import Float64
from torch import Tensor

from noisereg import rng
from noisereg.datasets.pure_noise import Drawn, PureNoise
from noisereg.datasets.split import Split
from noisereg.errors import require_positive
from noisereg.rng import Stream


class Gaussian(PureNoise):
    """x ~ N(0, I_d) with a uniform label: what theorem 2 is about.

    The test split is one fixed sample; the training split that is evaluated is the sample of epoch 0.

    Args:
        d: dimension of the inputs.
        test_size: test samples.
        common: see `PureNoise`.

    Example:
        >>> data = Gaussian(d=3, train_size=5)
        >>> data.epoch_samples(epoch=7).inputs.shape
        torch.Size([5, 3])
    """

    source = "Gaussian inputs, fresh in every epoch"

    def __init__(self, d: int = 30, *, test_size: int = 1000, **common: Unpack[Drawn]) -> None:
        require_positive(test_size=test_size)
        super().__init__(d, **common)
        self.num_test = test_size

    def load(self) -> tuple[Split, Split]:
        """Draw epoch 0, and the test samples."""
        return self.epoch_samples(0), self.draw(self.num_test, Stream.TEST_DATA, Stream.TEST_LABEL, step=0)

    def draw_inputs(self, n: int, *, stream: Stream, step: int) -> Float64[Tensor, "n d"]:
        """Draw n points of N(0, I_d)."""
        return rng.normal(self.seed, stream, step, torch.arange(n * self.d)).view(n, self.d)
