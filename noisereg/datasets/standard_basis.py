"""Pure label noise on the standard basis."""

import torch
from jaxtyping import Float32
from torch import Tensor

from noisereg import rng
from noisereg.datasets.pure_noise import PureNoise
from noisereg.datasets.split import Split
from noisereg.rng import Stream


class StandardBasis(PureNoise):
    """x ~ U{e_1, ..., e_d} with a uniform label: what theorems 3 and 4 are about.

    Both evaluated splits are the d basis vectors, each once, in order.

    Args are those of `PureNoise`.

    Example:
        >>> data = StandardBasis(d=3, train_size=5)
        >>> data.epoch_samples(epoch=0).inputs.sum(dim=1)
        tensor([1., 1., 1., 1., 1.])
    """

    source = "basis vectors, fresh in every epoch"

    def load(self) -> tuple[Split, Split]:
        """Return the basis twice, with labels of their own."""
        basis = torch.eye(self.d)
        return (
            Split(basis, self.draw_labels(self.d, Stream.TRAIN_LABEL, step=0)),
            Split(basis, self.draw_labels(self.d, Stream.TEST_LABEL, step=0)),
        )

    def draw_inputs(self, n: int, *, stream: Stream, step: int) -> Float32[Tensor, "n d"]:
        """Draw n basis vectors."""
        place = (self.d * rng.uniform(self.seed, stream, step, torch.arange(n))).long()
        return torch.eye(self.d)[place]
