"""Parities of bits: tasks of which the small ones have a sparse solution, and the large ones look like pure noise."""

from typing import Unpack

import torch

from noisereg import rng
from noisereg.datasets.in_memory import Common, InMemory
from noisereg.datasets.split import Split
from noisereg.errors import require_positive
from noisereg.rng import Stream


class Parity(InMemory):
    """Uniform points of {-1, 1}^d; the label is 1 if the product of the first k coordinates is 1, else 0.

    Args:
        d: dimension of the inputs.
        k: coordinates that the label depends on, in [1, d].
        train_size: training samples, made anew for each seed.
        test_size: test samples.
        common: see `InMemory`.

    Raises:
        ValueError: if k is not in [1, d].

    Example:
        >>> data = Parity(d=5, k=2, train_size=8)
        >>> data.setup()
        >>> train = data.splits["train"]
        >>> torch.equal(train.labels, (train.inputs[:, 0] == train.inputs[:, 1]).long())
        True

    Source: Abbe, Sandon, "On the universality of deep learning", NeurIPS 2020, on large parities; Barak et al., "Hidden
        Progress in Deep Learning: SGD Learns Parities Near the Computational Limit", NeurIPS 2022, on sparse ones.
    """

    source = "parity"
    num_classes = 2

    def __init__(
        self, d: int = 30, k: int = 2, *, train_size: int = 240, test_size: int = 10_000, **common: Unpack[Common]
    ) -> None:
        require_positive(d=d, k=k, train_size=train_size, test_size=test_size)
        if k > d:
            raise ValueError(f"k must be in [1, d], got {k} of d={d}")
        super().__init__(train_size=train_size, test_size=test_size, **common)
        self.d, self.k, self.input_shape = d, k, (d,)
        self.num_train, self.num_test = train_size, test_size

    def load(self) -> tuple[Split, Split]:
        """Draw both splits; a larger one begins with the samples of a smaller one."""
        return self._draw(self.num_train, Stream.TRAIN_DATA), self._draw(self.num_test, Stream.TEST_DATA)

    def _draw(self, n: int, stream: Stream) -> Split:
        bits = rng.uniform(self.seed, stream, 0, torch.arange(n * self.d)).view(n, self.d) < 0.5
        inputs = 1 - 2 * bits.float()
        return Split(inputs, (inputs[:, : self.k].prod(dim=1) > 0).long())
