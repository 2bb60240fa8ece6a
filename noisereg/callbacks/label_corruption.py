"""Train on corrupted labels, with any LightningModule and any data."""

from typing import Any, cast

import torch
from jaxtyping import Float64, Int64
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from noisereg.metrics import gather_parts, own_part
from noisereg.noise import Constant, Corruption, Rule, Schedule

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
    epoch, where a loader samples with replacement): not on batch size, order, workers, devices or a restart. Without an
    index it depends on the step and the place in the batch.

    Logs `noise/effective_rate`, the probability that a label changes where classes are equally frequent, and
    `noise/measured_rate`, the share that did in this epoch (in expected mode the mean mass that left the label).

    Args:
        rule: the noise rule.
        seed: of the noise, in [0, 2**63).
        num_classes: C; None to ask the datamodule, the module or the training data set (`num_classes` or `classes`).
        schedule: factor of the rule's strength in each epoch; None for a constant 1.

    Raises:
        ValueError: at the start of training, if the number of classes is not known or a schedule has no end to go by.
        TypeError: in the first step, if the batch is of another form.

    Example:
        >>> from noisereg.noise import Resample
        >>> noise = LabelCorruption(Resample(p=0.1), seed=0, num_classes=10)
        >>> trainer = Trainer(callbacks=[noise], logger=False, accelerator="cpu")

    Source: Cornacchia, Hazla, Nachum, Yehudayoff, arXiv 2111.02154, section 3.
    """

    def __init__(
        self, rule: Rule, *, seed: int = 0, num_classes: int | None = None, schedule: Schedule | None = None
    ) -> None:
        self.rule = rule
        self.seed = seed
        self.num_classes = num_classes
        self.schedule = schedule or Constant()
        self._corruption: Corruption | None = None
        self._clean: Tensor | None = None
        self._counts = torch.zeros(2, dtype=torch.float64)  # labels changed, labels seen

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Find the number of classes, before the first batch."""
        if self.num_classes is None:
            self.num_classes = _find_num_classes(trainer, pl_module)
        if not isinstance(self.schedule, Constant) and (trainer.max_epochs or -1) < 0:
            raise ValueError(
                f"{type(self.schedule).__name__} needs the length of the training: give trainer.max_epochs"
            )
        self._bind(trainer)  # a run resumed within an epoch starts no epoch

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Set the strength for this epoch."""
        self._bind(trainer)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Put the targets into the batch."""
        labels, index = _labels(batch), _index(batch)
        if index is None and self.rule.frozen:
            raise TypeError(f"frozen noise needs the index of each sample in the batch. {_NEEDS}")
        draw = batch.get("draw", trainer.current_epoch) if isinstance(batch, dict) else trainer.current_epoch
        if index is None:
            draw = trainer.global_step
            index = torch.arange(len(labels), device=labels.device) * trainer.world_size + trainer.global_rank
        target = cast(Corruption, self._corruption)(labels, draw, index)
        self._counts = self._counts.to(labels.device) + count_changes(target, labels)
        if target.is_floating_point():
            target = target.to(torch.get_default_dtype())
        if isinstance(batch, dict):
            batch["target"] = target
        else:
            self._clean, batch[1] = labels, target

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Put the clean labels back into a list batch."""
        if isinstance(batch, list):
            batch[1], self._clean = self._clean, None

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the rate in theory beside the rate in fact, over all processes."""
        corruption = cast(Corruption, self._corruption)
        changed, seen = trainer.strategy.reduce(self._counts, reduce_op="sum")
        self._counts = torch.zeros_like(self._counts)
        rates = {
            "noise/effective_rate": corruption.effective_rate(),
            "noise/measured_rate": (changed / seen).float(),
        }
        pl_module.log_dict(rates, sync_dist=True)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Keep what each process has counted in the epoch that is under way."""
        counts = gather_parts(self._counts.to(trainer.strategy.root_device))
        checkpoint["callbacks"][self.state_key] = {"counts": counts.cpu()}

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Take up what this process had counted in the epoch that was under way."""
        if state := checkpoint["callbacks"].get(self.state_key):
            self._counts = own_part(state["counts"]).to(trainer.strategy.root_device)

    def _bind(self, trainer: Trainer) -> None:
        factor = self.schedule.factor(trainer.current_epoch, trainer.max_epochs or -1)
        rule = self.rule.scaled(factor)
        if self._corruption is None or self._corruption.rule != rule:
            self._corruption = Corruption(rule, num_classes=cast(int, self.num_classes), seed=self.seed)


def _labels(batch: Any) -> Tensor:
    label = batch.get("label") if isinstance(batch, dict) else _entry(batch, 1)
    if not isinstance(label, Tensor) or label.dtype != torch.int64 or label.ndim != 1:
        raise TypeError(f"{_NEEDS}; got a {type(batch).__name__} batch with {_shape(label)} as label")
    return label


def _index(batch: Any) -> Tensor | None:
    return batch.get("index") if isinstance(batch, dict) else _entry(batch, 2)


def _entry(batch: Any, place: int) -> Any:
    return batch[place] if isinstance(batch, list) and len(batch) > place else None


def _shape(value: Any) -> str:
    return f"{value.dtype} of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__


def count_changes(target: Tensor, labels: Int64[Tensor, "*stack draws"]) -> Float64[Tensor, "*stack 2"]:
    """Count the labels that a target changed (or the mass of them, where it is their law), and all labels.

    Example:
        >>> count_changes(torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1]))
        tensor([1., 3.], dtype=torch.float64)
    """
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
        if hasattr(owner, "classes"):
            return len(owner.classes)
    raise ValueError("the number of classes is not known: give LabelCorruption(..., num_classes=C)")
