"""The base of pure label noise: inputs of some law, labels that know nothing of them, fresh samples each epoch."""

from abc import abstractmethod
from typing import ClassVar, TypedDict

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from noisereg import rng
from noisereg.datasets.in_memory import InMemory
from noisereg.datasets.split import Split
from noisereg.errors import require_positive
from noisereg.rng import Stream


class Drawn(TypedDict, total=False):
    """The keywords that every data set of fresh samples takes; `PureNoise` says what they mean."""

    train_size: int
    train_eval_size: int | None
    batch_size: int
    eval_batch_size: int
    seed: int


class PureNoise(InMemory):
    """Labels uniform on {0, 1}, independent of the inputs and of each other: there is nothing to learn.

    An epoch is `train_size` samples that no other epoch has. A subclass says how inputs are drawn.

    Args:
        d: dimension of the inputs.
        train_size: samples of an epoch.
        train_eval_size: how many of the evaluated training samples are taken, evenly spread; None for all.
        batch_size: of training, over all processes together.
        eval_batch_size: of evaluation, over all processes together.
        seed: of the samples.

    Source: Cornacchia, Hazla, Nachum, Yehudayoff, "Regularization by Misclassification in ReLU Neural Networks",
        2021, definition 2.
    """

    num_classes = 2
    fresh_each_epoch: ClassVar[bool] = True

    def __init__(
        self,
        d: int = 30,
        *,
        train_size: int = 1000,
        train_eval_size: int | None = None,
        batch_size: int = 1,
        eval_batch_size: int = 1000,
        seed: int = 0,
    ) -> None:
        require_positive(d=d, train_size=train_size)
        super().__init__(
            train_eval_size=train_eval_size, batch_size=batch_size, eval_batch_size=eval_batch_size, seed=seed
        )
        self.d, self.input_shape, self.epoch_size = d, (d,), train_size

    @abstractmethod
    def draw_inputs(self, n: int, *, stream: Stream, step: int) -> Float[Tensor, "n d"]:
        """Draw n inputs from the stream at the step."""

    def epoch_samples(self, epoch: int) -> Split:
        """Draw the samples of an epoch."""
        return self.draw(self.epoch_size, Stream.TRAIN_DATA, Stream.TRAIN_LABEL, step=epoch).to(self.device)

    def draw(self, n: int, data: Stream, label: Stream, *, step: int) -> Split:
        """Draw n inputs, and a label for each."""
        return Split(self.draw_inputs(n, stream=data, step=step).float(), self.draw_labels(n, label, step=step))

    def draw_labels(self, n: int, stream: Stream, *, step: int) -> Int64[Tensor, " n"]:
        """Draw n labels, each 0 or 1 with probability 1/2."""
        return (rng.uniform(self.seed, stream, step, torch.arange(n)) < 0.5).long()
