"""Label noise for chunks of stacked replicas."""

from collections.abc import Sequence
from typing import Any, cast

import torch
from jaxtyping import Float64
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from noisereg.callbacks.label_corruption import LabelCorruption, count_changes
from noisereg.noise import Corruption, Rule, Schedule


class ReplicaCorruption(LabelCorruption):
    """`LabelCorruption` on the chunks of `Replicas`: each replica has its own strength and its own seed.

    The noise of replica r is, draw by draw, that of `LabelCorruption(rules[r], seed=seeds[r])` in a run of its own.
    `noise/effective_rate` and `noise/measured_rate` of each replica, since the measurement before, become part of the
    next one.

    Args:
        rules: of each replica; they differ in p alone.
        seeds: of each replica.
        schedule: factor of the strengths in each epoch; None for a constant 1.

    Raises:
        ValueError: at the start of training, if the rules do not fit the number of classes.
    """

    def __init__(self, rules: Sequence[Rule], seeds: Sequence[int], *, schedule: Schedule | None = None) -> None:
        super().__init__(rules[0], seed=seeds[0], schedule=schedule)
        self._rules, self._seeds = rules, seeds
        self._stacked: Corruption | None = None
        self._counts = torch.zeros(len(rules), 3, dtype=torch.float64)  # labels changed, labels seen, sum of factors

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Find the number of classes, before the first chunk."""
        num_classes = trainer.datamodule.num_classes  # type: ignore[attr-defined]
        self._stacked = Corruption(self._rules, num_classes=num_classes, seed=self._seeds)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Do nothing: the strength is set for each draw."""

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Put the targets into the chunk."""
        factor = self._factors(batch["epoch"], trainer.datamodule.num_epochs)  # type: ignore[attr-defined]
        stacked = cast(Corruption, self._stacked)
        batch["target"] = stacked(batch["label"], batch["draw"], batch["index"], factor=factor)
        changes = count_changes(batch["target"], batch["label"])
        sum_ = factor.sum() if isinstance(factor, Tensor) else torch.tensor(factor * len(batch["draw"]))
        factors = sum_.to(changes).expand(len(changes), 1)
        self._counts = self._counts.to(changes.device) + torch.cat([changes, factors], dim=1)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note the rate in theory beside the rate in fact."""
        changed, seen, factors = self._counts.unbind(dim=1)
        self._counts = torch.zeros_like(self._counts)
        effective = cast(Corruption, self._stacked).effective_rate().to(seen.device) * factors / seen
        rates = {"noise/effective_rate": effective.float(), "noise/measured_rate": (changed / seen).float()}
        cast(Any, pl_module).note(rates)

    def _factors(self, epoch: Tensor, num_epochs: int) -> Float64[Tensor, " draws"] | float:
        """Give the factor of each draw, or the one of all."""
        epochs, which = epoch.unique(return_inverse=True)
        factors = [self.schedule.factor(number, num_epochs) for number in epochs.tolist()]
        if len(set(factors)) == 1:
            return factors[0]
        return torch.tensor(factors, dtype=torch.float64, device=epoch.device)[which]
