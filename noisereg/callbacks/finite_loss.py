"""Stop before a loss that is infinite or nan reaches the weights, or leave its batch out."""

from copy import deepcopy
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer

from noisereg.callbacks.label_corruption import LabelCorruption

_ACTIONS = ("stop", "skip")


class FiniteLoss(Callback):
    """Check the loss of each training step before its gradients are made.

    With "stop" a loss that is infinite or nan ends the training; weights and optimiser are as they were before the
    step. With "skip" the step is left out: weights, optimiser and all that the module's state holds beside its weights
    (running statistics of batch normalisation, mean losses) are as before it. The step counts as made, so learning
    rates and noise go on as planned. A step of several accumulated batches is left out whole. Logs
    `train/skipped_steps`, their number since the start, which a checkpoint keeps.

    A loss on a GPU must be waited for. With `every_n_steps` above 1 only every n-th one is, and each that is about to
    be saved: once the weights are nan the loss stays nan, so the end comes late but no checkpoint is spoilt.

    Args:
        action: "stop" or "skip".
        every_n_steps: look at every n-th step; 1 if steps are to be skipped.

    Raises:
        ValueError: if a value is out of range, or steps are to be skipped without looking at each.
        FloatingPointError: in a step whose loss is infinite or nan, on "stop".

    Example:
        >>> trainer = Trainer(callbacks=[FiniteLoss(action="skip")], logger=False, accelerator="cpu")
    """

    def __init__(self, action: str = "stop", every_n_steps: int = 1) -> None:
        if action not in _ACTIONS:
            raise ValueError(f"action must be stop or skip, got {action!r}")
        if every_n_steps < 1:
            raise ValueError(f"every_n_steps must be at least 1, got {every_n_steps}")
        if action == "skip" and every_n_steps > 1:
            raise ValueError(f"action=skip must look at each step: every_n_steps must be 1, got {every_n_steps}")
        self.skipped_steps = 0
        self._skip, self._every_n_steps = action == "skip", every_n_steps
        self._before: dict[str, Any] = {}
        self._loss: Tensor | None = None
        self._bad_batch = self._bad_step = False

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Copy what the forward pass changes, if it may have to be restored."""
        if self._skip:
            self._before = _state_beside_weights(pl_module)

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """Check the loss."""
        self._loss = loss.detach()
        if trainer.global_step % self._every_n_steps == 0 and self._is_bad(trainer):
            if not self._skip:
                raise FloatingPointError(self._report(trainer))
            self._bad_batch = self._bad_step = True

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Remove the gradients: an optimiser leaves a weight without one, and its state, alone."""
        if self._bad_step:
            optimizer.zero_grad(set_to_none=True)
            self.skipped_steps += 1
            self._bad_step = False

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Restore what the forward pass changed."""
        if self._bad_batch:
            pl_module.load_state_dict(self._before, strict=False)
            self._bad_batch = False

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the number of skipped steps."""
        if self._skip:
            pl_module.log("train/skipped_steps", float(self.skipped_steps), sync_dist=True)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Refuse to save weights that have gone bad since the last look."""
        if self._every_n_steps > 1 and self._loss is not None and self._is_bad(trainer):
            raise FloatingPointError(self._report(trainer))

    def state_dict(self) -> dict[str, Any]:
        """Return the number of skipped steps."""
        return {"skipped_steps": self.skipped_steps}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the number of skipped steps."""
        self.skipped_steps = state_dict["skipped_steps"]

    def _is_bad(self, trainer: Trainer) -> bool:
        """Return whether the loss is infinite or nan in any of the processes, whose gradients are averaged."""
        bad = not bool(torch.isfinite(self._loss).all())  # type: ignore[arg-type]
        return trainer.strategy.reduce_boolean_decision(bad, all=False)

    def _report(self, trainer: Trainer) -> str:
        rates = [f"{group['lr']:g}" for optimizer in trainer.optimizers for group in optimizer.param_groups]
        noise = next((callback for callback in trainer.callbacks if isinstance(callback, LabelCorruption)), None)  # type: ignore[attr-defined]
        replica = f" of p={noise.rules[0].p:g} seed={noise.seeds[0]}" if noise else ""
        return (
            f"train/loss is {float(self._loss):g} in step {trainer.global_step + 1} (epoch {trainer.current_epoch})"  # type: ignore[arg-type]
            f"{replica} at learning rate {', '.join(dict.fromkeys(rates))}: try a smaller optimizer.lr, "
            "or callbacks.finite_loss.action=skip to leave such steps out"
        )


def _state_beside_weights(module: LightningModule) -> dict[str, Any]:
    """Copy what a checkpoint of a module holds beside its weights."""
    weights = {name for name, _ in module.named_parameters(remove_duplicate=False)}
    state = {name: value for name, value in module.state_dict().items() if name not in weights}
    return {name: value.clone() if isinstance(value, Tensor) else deepcopy(value) for name, value in state.items()}
