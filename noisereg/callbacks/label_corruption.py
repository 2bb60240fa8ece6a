"""Train on corrupted labels, with any LightningModule and any data."""

import operator
from collections.abc import Collection, Sequence
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float64, Int64
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch import Tensor

from noisereg.callbacks.only_one import check_only_one
from noisereg.datasets import InMemory
from noisereg.engine.replicas import Replicas
from noisereg.metrics import gather_parts, own_part
from noisereg.noise import Constant, Corruption, Rule, Schedule, check_schedule, token_index

_NEEDS = (
    "LabelCorruption needs a dict batch with an int64 'label' (and, for exact noise, an 'index'), or the list batch "
    "[input, label] or [input, label, index] that PyTorch's default collate makes of a dataset's tuples"
)


class LabelCorruption(Callback):
    """Replace the labels of each training batch by targets drawn under a noise rule, or by their laws.

    A dict batch gets a new entry "target" and keeps its "label". In a list batch the target takes the place of the
    label during the training step, and the clean label comes back after it. The labels of the data set are never
    written to. Outside training nothing is changed.

    The noise of a sample depends on the seed, the epoch and its "index" alone (or on the entry "draw" in place of the
    epoch, where a loader samples with replacement): not on batch size, order, workers, devices or a restart. An index
    is int64, one number a sample: the "index" of a dict batch, or the third entry of a list batch if it is that.
    Without one the noise depends on the number of the batch since the start and the place in it.

    Labels may be one a token, (batch, tokens), beside an index of the samples; the noise of a token then depends on the
    seed, the epoch, the sample's index and the place in the sample alone, and not on what the batch is padded to.

    Where a sample has one label throughout, as under frozen noise, and the datamodule is one of ours, the batches of
    its training samples that are evaluated get an entry "given", so that what the network does on right and on wrong
    labels is measured apart.

    Logs `noise/effective_rate`, the probability that a label changes where classes are equally frequent, and
    `noise/measured_rate`, the share that did since the last evaluation, or in this epoch where there is none (in
    expected mode the mean mass that left the label).

    A trainer takes one of these: what two rules do one after the other is one rule, whose matrix is their product.

    The R networks of `Replicas` have a rule and a seed each, which differ in p alone; the noise of each is that of a
    run of its own.

    Args:
        rule: the noise rule, or one for each replica.
        seed: of the noise, in [0, 2**63), or one for each replica.
        num_classes: C; None to ask the datamodule, the module or the training data set (`num_classes`, or the list
            `classes`).
        schedule: factor of the rule's strength in each epoch; None for a constant 1.
        ignore_index: a label outside [0, C) that marks samples to leave alone (in expected mode their law is zero
            everywhere); None if there is none. That of torch's cross-entropy is -100.
        batch_first: whether labels by token are (batch, tokens); False for (tokens, batch).

    Raises:
        ValueError: if there is not one seed a rule; at the start, if there are two in the trainer, the number of
            classes is not known, or a schedule has no end to go by or leaves [0, 1]; in a step, if a label is outside
            [0, C) or one index stands for all samples of a batch.
        TypeError: in the first step, if the batch is of another form.

    Example:
        >>> from noisereg.noise import Resample
        >>> noise = LabelCorruption(Resample(p=0.1), seed=0, num_classes=10)
        >>> trainer = Trainer(callbacks=[noise], logger=False, accelerator="cpu")

    Source: Cornacchia, Hazla, Nachum, Yehudayoff, arXiv 2111.02154, section 3.
    """

    def __init__(
        self,
        rule: Rule | Sequence[Rule],
        *,
        seed: int | Sequence[int] = 0,
        num_classes: int | None = None,
        schedule: Schedule | None = None,
        ignore_index: int | None = None,
        batch_first: bool = True,
    ) -> None:
        self._is_one = isinstance(rule, Rule)
        self.rules = [rule] if isinstance(rule, Rule) else list(rule)
        self.seeds = [operator.index(value) for value in (seed if isinstance(seed, Sequence) else [seed])]
        if len(self.seeds) != len(self.rules):
            raise ValueError(f"seed must be one a rule, got {len(self.seeds)} seeds for {len(self.rules)} rules")
        if ignore_index is not None and self.rules[0].assigned:
            raise ValueError("ignore_index must be None for labels that are assigned to samples: assign clean ones")
        self.num_classes = num_classes
        self.schedule = schedule or Constant()
        self.ignore_index = ignore_index
        self.batch_first = batch_first
        self._corruption: Corruption | None = None
        self._clean: Tensor | None = None
        self._num_batches = 0
        self._outside = torch.zeros((), dtype=torch.bool)
        # of each replica: labels changed, labels seen, sum of the factors of the strength
        self._counts = torch.zeros(len(self.rules), 3, dtype=torch.float64)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse a second one in the trainer."""
        check_only_one(
            trainer, LabelCorruption, mend="give both rules as one, a Transition with the product of matrices"
        )

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Find the number of classes, before the first batch."""
        if self.num_classes is None:
            self.num_classes = _find_num_classes(trainer, pl_module)
        if not isinstance(self.schedule, Constant) and (trainer.max_epochs or -1) < 0:
            raise ValueError(
                f"{type(self.schedule).__name__} needs the length of the training: give trainer.max_epochs"
            )
        replicas = pl_module if isinstance(pl_module, Replicas) else None
        check_schedule(self.schedule, replicas.timeline.num_epochs if replicas else trainer.max_epochs or 0)
        self._corruption = Corruption(
            self.rules[0] if self._is_one else self.rules,
            num_classes=self.num_classes,
            seed=self.seeds[0] if self._is_one else self.seeds,
        )
        if isinstance(pl_module, Replicas) and any(map(self._keeps_labels, self.rules)):
            pl_module.given_labels = lambda replica, labels, index, epoch: self._given_labels(
                labels, index, replica=replica, epoch=epoch, num_epochs=pl_module.timeline.num_epochs
            )

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Add the labels that training gives to a batch of training samples, if they stay: the entry "given"."""
        data = trainer.datamodule  # type: ignore[attr-defined]
        stays = isinstance(data, InMemory) and not data.fresh_each_epoch and self._keeps_labels(self.rules[0])
        if not stays or data.eval_splits[dataloader_idx] != "train":
            return
        self.num_classes = self.num_classes or data.num_classes
        rows = data.eval_index("train")
        index = batch["index"] if rows is None else rows.to(batch["index"].device)[batch["index"]]
        last = (trainer.max_epochs or 1) - 1  # the one before, when the training has ended
        epoch = {"epoch": min(trainer.current_epoch, last), "num_epochs": trainer.max_epochs or -1}
        batch["given"] = self._given_labels(batch["label"], index, **epoch)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Add the targets to the batch."""
        corruption = cast(Corruption, self._corruption)
        if isinstance(pl_module, Replicas):
            factor = self._factors(batch["epoch"], pl_module.timeline.num_epochs)
            batch["target"] = corruption(batch["label"], batch["draw"], batch["index"], factor=factor)
            self._count(batch["target"], batch["label"], factor)
            return
        given, index = _labels(batch), self._index(batch, first=batch_idx == 0)
        by_sample = given if self.batch_first else given.T
        draw = batch.get("draw", trainer.current_epoch) if isinstance(batch, dict) else trainer.current_epoch
        if index is None:
            draw = self._num_batches
            index = torch.arange(len(by_sample), device=given.device) * trainer.world_size + trainer.global_rank
        self._num_batches += 1
        if by_sample.ndim > 1 and self.rules[0].assigned:
            raise TypeError(f"{type(self.rules[0]).__name__} has a label a sample, and the batch has one a token")
        labels, draw, index = _flatten_tokens(by_sample, draw, index)
        kept = labels == self.ignore_index if self.ignore_index is not None else None
        known = labels if kept is None else labels.masked_fill(kept, 0)
        self._check_range(known, wait=batch_idx == 0)
        factor = self.schedule.factor(trainer.current_epoch, trainer.max_epochs or -1)
        target = corruption(known, draw, index, factor=factor)
        if kept is None:
            self._count(target[None], labels[None], factor)
        else:
            self._count(target[None, ~kept], labels[None, ~kept], factor)
            target = torch.where(kept, labels, target) if target.ndim == 1 else target * ~kept[:, None]
        if target.is_floating_point():
            target = target.to(torch.get_default_dtype())
        target = target.unflatten(0, by_sample.shape)
        target = target if self.batch_first or given.ndim == 1 else target.transpose(0, 1)
        if isinstance(batch, dict):
            batch["target"] = target
        else:
            self._clean, batch[1] = given, target

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Restore the clean labels of a list batch."""
        if isinstance(batch, list):
            batch[1], self._clean = self._clean, None

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the rate in theory beside the rate in fact, over all processes."""
        if self._outside:
            raise ValueError(
                f"labels must be in [0, {self.num_classes}), and some were not in epoch {trainer.current_epoch}"
            )
        changed, seen, factors = trainer.strategy.reduce(self._counts, reduce_op="sum").unbind(dim=1)
        every = trainer.check_val_every_n_epoch if trainer.enable_validation else None
        if (trainer.current_epoch + 1) % (every or 1) == 0:
            self._counts = torch.zeros_like(self._counts)
        effective = cast(Corruption, self._corruption).effective_rate().to(seen.device) * (factors / seen)
        rates = {"noise/effective_rate": effective.float(), "noise/measured_rate": (changed / seen).float()}
        if isinstance(pl_module, Replicas):
            pl_module.note(rates)
        else:
            pl_module.log_dict({key: rate[0] for key, rate in rates.items()}, sync_dist=True)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add to the checkpoint what each process has counted so far, and the number of batches."""
        counts = gather_parts(self._counts.to(trainer.strategy.root_device))
        checkpoint["callbacks"][self.state_key] = {"counts": counts.cpu(), "num_batches": self._num_batches}

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Restore what this process had counted, and the number of batches."""
        if state := checkpoint["callbacks"].get(self.state_key):
            self._counts = own_part(state["counts"]).to(trainer.strategy.root_device)
            self._num_batches = state["num_batches"]

    def _keeps_labels(self, rule: Rule) -> bool:
        """Return whether a sample has one label throughout: where the strength moves, under frozen noise alone."""
        return rule.frozen or (rule.keeps_labels and isinstance(self.schedule, Constant))

    def _given_labels(
        self, labels: Int64[Tensor, " n"], index: Int64[Tensor, " n"], *, epoch: int, num_epochs: int, replica: int = 0
    ) -> Int64[Tensor, " n"] | None:
        """Return the labels that samples have throughout, under the strength of an epoch; None if they have none."""
        rule = self.rules[replica]
        if not self._keeps_labels(rule):
            return None
        corruption = Corruption(rule, num_classes=cast(int, self.num_classes), seed=self.seeds[replica])
        return corruption(labels, 0, index, factor=self.schedule.factor(epoch, num_epochs))

    def _index(self, batch: Any, *, first: bool) -> Int64[Tensor, " batch"] | None:
        """Return the index of each sample, if the batch has it; what takes its place is said in the first batch."""
        given, labels = batch.get("index") if isinstance(batch, dict) else _entry(batch, 2), _labels(batch)
        by_sample = labels if self.batch_first else labels.T
        if not (isinstance(given, Tensor) and given.dtype == torch.int64 and given.shape == by_sample.shape[:1]):
            if self.rules[0].frozen or self.rules[0].assigned:
                what = "frozen noise needs" if self.rules[0].frozen else "labels of samples need"
                raise TypeError(f"{what} the index of each sample in the batch. {_NEEDS}")
            if self._num_batches == 0:
                entry = "has none" if given is None else f"has {_describe(given)} in its place"
                rank_zero_info(
                    "LabelCorruption draws by the number of the batch and the place in it: an index is int64 and one "
                    f"number a sample, and the batch {entry}"
                )
            return None
        if first and "draw" not in batch and (distinct := len(given.unique())) < len(given):
            if distinct == 1:
                raise ValueError(
                    f"the index of every sample in the batch is {int(given[0])}, so all would share one draw: give "
                    "the place of each sample in its data set, or leave the entry out"
                )
            rank_zero_warn("an index comes twice in a batch: samples of one index share their draw in an epoch")
        return given

    def _check_range(self, labels: Int64[Tensor, " batch"], *, wait: bool) -> None:
        """Refuse labels outside [0, C): at once on a CPU; a device is waited for in the first batch of an epoch."""
        num_classes = cast(int, self.num_classes)
        if labels.device.type == "cpu":
            there = labels.numpy()
            outside = there[(there < 0) | (there >= num_classes)]
        else:
            is_outside = (labels < 0) | (labels >= num_classes)
            self._outside = self._outside.to(labels.device) | is_outside.any()
            outside = labels[is_outside].cpu().numpy() if wait else np.empty(0)
        if len(outside):
            mend = f"ignore_index={outside[0]} leaves such samples alone"
            raise ValueError(f"labels must be in [0, {num_classes}), got {outside[0]}; {mend}")

    def _count(self, target: Tensor, labels: Int64[Tensor, "replicas draws"], factor: Tensor | float) -> None:
        changes = _count_changes(target, labels)
        sum_ = factor.sum() if isinstance(factor, Tensor) else torch.tensor(factor * labels.shape[1])
        factors = sum_.to(changes).expand(len(changes), 1)
        self._counts = self._counts.to(changes.device) + torch.cat([changes, factors], dim=1)

    def _factors(self, epoch: Tensor, num_epochs: int) -> Float64[Tensor, " draws"] | float:
        """Return the factor of each draw, or the one of all."""
        epochs, which = epoch.unique(return_inverse=True)
        factors = [self.schedule.factor(number, num_epochs) for number in epochs.tolist()]
        if len(set(factors)) == 1:
            return factors[0]
        return torch.tensor(factors, dtype=torch.float64, device=epoch.device)[which]


def _labels(batch: Any) -> Tensor:
    label = batch.get("label") if isinstance(batch, dict) else _entry(batch, 1)
    if not isinstance(label, Tensor) or label.dtype != torch.int64 or label.ndim not in (1, 2):
        raise TypeError(f"{_NEEDS}; got a {type(batch).__name__} batch with {_describe(label)} as label")
    return label


def _flatten_tokens(
    labels: Int64[Tensor, "batch *tokens"], draw: int | Tensor, index: Int64[Tensor, " batch"]
) -> tuple[Int64[Tensor, " rows"], int | Tensor, Int64[Tensor, " rows"]]:
    """Return labels, draws and indices of all tokens one after the other, where labels are by token."""
    if labels.ndim == 1:
        return labels, draw, index
    draws = draw.repeat_interleave(labels.shape[1]) if isinstance(draw, Tensor) else draw
    return labels.flatten(), draws, token_index(index, labels.shape[1]).flatten()


def _entry(batch: Any, place: int) -> Any:
    return batch[place] if isinstance(batch, list) and len(batch) > place else None


def _describe(value: Any) -> str:
    return f"{value.dtype} of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__


def _count_changes(target: Tensor, labels: Int64[Tensor, "*stack draws"]) -> Float64[Tensor, "*stack 2"]:
    """Count the labels that a target changed (or the mass of them, where it is their law), and all labels."""
    draws = labels.shape[-1]
    if target.ndim == labels.ndim:
        changed = (target != labels).sum(dim=-1)
    else:
        changed = draws - target.gather(-1, labels.unsqueeze(-1)).sum(dim=(-2, -1))
    return torch.stack([changed.double(), torch.full_like(changed, draws, dtype=torch.float64)], dim=-1)


def _find_num_classes(trainer: Trainer, pl_module: LightningModule) -> int:
    owners: list[Any] = [getattr(trainer, "datamodule", None), pl_module]
    for owner in [*owners, getattr(trainer.train_dataloader, "dataset", None)]:
        if isinstance(found := getattr(owner, "num_classes", None), int):
            return found
        if isinstance(names := getattr(owner, "classes", None), Collection) and not isinstance(names, str):
            return len(names)
    raise ValueError(
        "the number of classes is not known: no num_classes that is a whole number and no list of classes is found in "
        "the datamodule, the module or the data set; give LabelCorruption(..., num_classes=C)"
    )
