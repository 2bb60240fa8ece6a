"""Train any network on targets, and score it against clean labels."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

import torch
from jaxtyping import Float, Shaped
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from noisereg import rng
from noisereg.datasets.batch import FORM, describe_batch, inputs_of, labels_of, split_names
from noisereg.engine.epochs import completed_epochs
from noisereg.engine.regularizer import Regularizer
from noisereg.losses import Loss
from noisereg.losses.loss import known_rows
from noisereg.metrics import Memorization, SampleMean, gather_parts, own_part, predictions

MakeOptimizer = Callable[[Iterable[nn.Parameter]], Optimizer]
MakeScheduler = Callable[[Optimizer], LRScheduler]


class Classifier(LightningModule):
    """Train a network by minibatches, with a loss and the recipe of its optimiser.

    It learns from the "target" of a batch, which `LabelCorruption` adds, or from the "label" where there is none. Logs
    `train/loss`, the mean over an epoch of the loss that training sees, and for each split that is evaluated
    `<split>/error` and the loss, both against the clean labels: `test/loss`, `val/loss`, `train/clean_loss`. Batches of
    the training split with an entry "given", labels that may be wrong, are measured by `Memorization` too.

    Args:
        model: maps inputs to logits, (batch, C), or (batch, 1) for two classes; or (batch, tokens, C) with labels by
            token.
        loss: of the logits and the targets.
        num_classes: C.
        optimizer: makes the optimiser of the parameters that are trained.
        scheduler: makes the learning-rate schedule of that optimiser, stepped once an epoch; None for a constant rate.
        seed: of what the network draws itself, such as dropout.
        channels_last: whether images and convolutions keep the channels of a pixel side by side in memory, which is
            fast on CPUs and GPUs that multiply matrices in bfloat16.
        ignore_index: a label of a token that has no part in losses and errors, as padding.
        regularizer: what is added to each step; None for nothing. `train/loss` is without it.
        compile: whether training steps run through `torch.compile`. Whole batches do; a last, shorter one and all
            evaluations run eagerly, so that nothing is compiled twice and every ReLU can be watched.

    Raises:
        ValueError: in an evaluation, if a batch has no labels.
        FloatingPointError: at the end of an epoch whose mean loss is infinite or nan.

    Example:
        >>> from functools import partial
        >>> from noisereg.losses import CrossEntropy
        >>> sgd = partial(torch.optim.SGD, lr=0.1)
        >>> module = Classifier(nn.Linear(4, 3), CrossEntropy(), num_classes=3, optimizer=sgd)
        >>> module(torch.zeros(2, 4)).shape
        torch.Size([2, 3])
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Loss,
        *,
        num_classes: int,
        optimizer: MakeOptimizer,
        scheduler: MakeScheduler | None = None,
        seed: int = 0,
        channels_last: bool = False,
        compile: bool = False,
        ignore_index: int = -100,
        regularizer: Regularizer | None = None,
    ) -> None:
        super().__init__()
        self.ignore_index = ignore_index
        self.memory_format = torch.channels_last if channels_last else torch.preserve_format
        self.model = model.to(memory_format=self.memory_format)
        self._compiled = torch.compile(model.forward, dynamic=False) if compile else None
        self.loss = loss
        self.num_classes = num_classes
        self.seed = seed
        self._regularizer = regularizer or Regularizer()
        self._make_optimizer = optimizer
        self._make_scheduler = scheduler
        self.train_loss = SampleMean()
        self.train_loss.persistent(True)  # a checkpoint within an epoch holds its mean so far
        self.scores = nn.ModuleDict()  # of each split, made when it is first evaluated
        self.memorization, self._has_given = Memorization(), False

    @property
    def steps_done(self) -> int:
        """Steps of the optimiser that have been made."""
        return self.global_step

    @property
    def epochs_done(self) -> float:
        """Epochs that have been made."""
        batches = self.trainer.num_training_batches
        return (self.trainer.fit_loop.total_batch_idx + 1) / batches if 0 < batches < math.inf else 0.0

    def forward(self, inputs: Shaped[Tensor, "batch *shape"]) -> Float[Tensor, "batch *tokens outputs"]:
        """Compute the logits."""
        return self.model(self._laid_out(inputs))

    def configure_optimizers(self) -> Any:
        """Make the optimiser over the parameters that are trained, and its schedule."""
        optimizer = self._make_optimizer([weight for weight in self.model.parameters() if weight.requires_grad])
        if self._make_scheduler is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": self._make_scheduler(optimizer)}

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Seed the generators that a network may draw from, so that a step does not depend on what was drawn before."""
        start = rng.hash_key(self.seed, rng.Stream.DROPOUT, self.global_step) ^ self.global_rank
        rng.seed_libraries(start)
        if self.device.type == "cuda":
            torch.cuda.default_generators[self.device.index].manual_seed(start)

    def training_step(self, batch: Any, batch_idx: int) -> Float[Tensor, ""]:
        """Compute the mean loss of the targets."""
        inputs = self._laid_out(inputs_of(batch))
        targets: Any = batch.get("target", batch["label"]) if isinstance(batch, dict) else batch[1]
        compiled = self._compiled if self._compiled and len(inputs) == self._batch_size() else None
        with self._regularizer.watch(self.model) as sums:
            logits = (compiled or self.model)(inputs)
        penalty = self._regularizer.penalty(sums, batch_size=max(1, len(inputs)))
        if logits.ndim > 2:
            logits, targets = known_rows(logits, targets, ignore_index=self.ignore_index)
        losses = self.loss.per_sample(logits, targets)
        self.train_loss.update(losses.detach())
        return (losses.mean() if len(losses) else losses.sum()) + penalty

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Add noise to the gradients, if that is asked for: the same in all processes, which share the weights."""
        if not self._regularizer.gradient_noise:
            return
        weights = [weight for weight in self.model.parameters() if weight.requires_grad]
        noises = self._regularizer.noise(weights, seed=self.seed, step=self.global_step)
        for weight, noise in zip(weights, noises, strict=True):
            if weight.grad is not None:  # the loss does not depend on it
                weight.grad.add_(noise)

    def on_train_epoch_end(self) -> None:
        """Log the mean loss of the epoch."""
        loss = self.train_loss.compute()
        self.train_loss.reset()
        if not torch.isfinite(loss):
            raise FloatingPointError(f"train/loss is {loss} in epoch {self.current_epoch}: try a smaller optimizer.lr")
        self.log("train/loss", loss, prog_bar=True, sync_dist=True)
        self._log_step()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add to the checkpoint what each process has of the mean loss of an epoch that is under way."""
        self._convert_train_loss(checkpoint, gather_parts)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore this process's part of the mean loss of an epoch that was under way."""
        self._convert_train_loss(checkpoint, lambda parts: own_part(parts.reshape(-1)))

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Score a batch of one of the datamodule's `eval_splits`, or of val, val2, ... where there are none."""
        self._score(self._splits("val", self.trainer.num_val_batches)[dataloader_idx], batch)

    def on_validation_epoch_end(self) -> None:
        """Log the scores of every split that was evaluated."""
        for split in self._splits("val", self.trainer.num_val_batches):
            self._log_scores(split)
        self._log_step()

    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Score a batch of one of the datamodule's `eval_splits`, or of test, test2, ... where there are none."""
        self._score(self._splits("test", self.trainer.num_test_batches)[dataloader_idx], batch)

    def on_test_epoch_end(self) -> None:
        """Log the scores of every split that was evaluated."""
        for split in self._splits("test", self.trainer.num_test_batches):
            self._log_scores(split)

    def _log_step(self) -> None:
        """Log the steps and epochs done, by which what an epoch logs is one row; Lightning splits it over two."""
        done = {"step": self.global_step, "epoch": completed_epochs(self.trainer)}
        self.log_dict({key: torch.tensor(value, dtype=torch.float64) for key, value in done.items()}, sync_dist=True)

    def _convert_train_loss(self, checkpoint: dict[str, Any], convert: Callable[[Tensor], Tensor]) -> None:
        saved = checkpoint["state_dict"]
        for name in self.train_loss.metric_state:
            saved[f"train_loss.{name}"] = convert(saved[f"train_loss.{name}"])

    def _laid_out(self, inputs: Shaped[Tensor, "batch *shape"]) -> Shaped[Tensor, "batch *shape"]:
        return inputs.to(memory_format=self.memory_format) if inputs.ndim == 4 else inputs

    def _batch_size(self) -> int | None:
        """Return the number of samples of a whole batch in this process; None if the loader has no batch size."""
        whole = getattr(self.trainer.train_dataloader, "batch_size", None)
        return whole and whole // self.trainer.world_size

    def _splits(self, default: str, loaders: Sequence[Any]) -> list[str]:
        datamodule = self.trainer.datamodule  # type: ignore[attr-defined]
        return split_names(datamodule, default=default, num_loaders=len(loaders))

    def _scores_of(self, split: str) -> tuple[SampleMean, SampleMean]:
        """Return what scores a split: the means of errors and losses."""
        name = f"{split}_split"  # a module cannot be called train
        if name not in self.scores:
            self.scores[name] = nn.ModuleDict({"error": SampleMean(), "loss": SampleMean()}).to(self.device)
        error, loss = cast(nn.ModuleDict, self.scores[name]).values()
        return cast(SampleMean, error), cast(SampleMean, loss)

    def _score(self, split: str, batch: Any) -> None:
        inputs, labels = inputs_of(batch), labels_of(batch)
        if labels is None:
            raise ValueError(f"batches must be {FORM}, got {describe_batch(batch)}")
        given = batch.get("given") if isinstance(batch, dict) else None
        self._has_given |= given is not None
        if not len(labels):  # a process may have no share of a batch, and not every network takes an empty one
            return
        logits, (error, loss) = self(inputs), self._scores_of(split)
        if labels.ndim > 1:
            logits, labels = known_rows(logits, labels, ignore_index=self.ignore_index)
            if not len(labels):
                return
        error.update(predictions(logits) != labels)
        loss.update(self.loss.per_sample(logits, labels))
        if given is not None:
            self.memorization.update(predictions(logits), labels, given, self.loss.per_sample(logits, given))

    def _log_scores(self, split: str) -> None:
        error, loss = self._scores_of(split)
        self.log(f"{split}/error", error.compute(), prog_bar=split == "test", sync_dist=True)
        self.log("train/clean_loss" if split == "train" else f"{split}/loss", loss.compute(), sync_dist=True)
        error.reset()
        loss.reset()
        if split == "train" and self._has_given:
            values = self.memorization.compute()
            self.log_dict({f"train/{key}": value for key, value in values.items()}, sync_dist=True)
            self.memorization.reset()
            self._has_given = False
