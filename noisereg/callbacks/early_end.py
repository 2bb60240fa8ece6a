"""Find out which callback ended a training before its plan did."""

from collections.abc import Sequence
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.callbacks.early_stopping import EarlyStoppingReason

from noisereg.callbacks.epoch_monitor import EpochMonitor
from noisereg.callbacks.finite_loss import FiniteLoss
from noisereg.callbacks.run_checkpoint import RunCheckpoint
from noisereg.callbacks.sparsity_monitor import SparsityMonitor

_NEVER_STOP = (EpochMonitor, FiniteLoss, RunCheckpoint, SparsityMonitor)


class EarlyEnd(Callback):
    """Name the callback that ended a training before its last step, and keep the training ended when it is resumed.

    An `EarlyStopping` says itself whether it was the one; of others, each that may have been is named.

    Args:
        callbacks: of the user, in the same trainer.

    Attributes:
        ended_by: the name of its class; several are joined by "or". None if the training came to its end.

    Example:
        >>> early = EarlyEnd([EarlyStopping("test/error")])
        >>> trainer = Trainer(callbacks=[early], logger=False, accelerator="cpu")
    """

    def __init__(self, callbacks: Sequence[Callback]) -> None:
        self.ended_by: str | None = None
        self._callbacks = [callback for callback in callbacks if not isinstance(callback, _NEVER_STOP)]
        self._stopped_by: str | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End a training at once that was stopped before it was interrupted."""
        self._stopped_by = self._stopped_by or " or ".join(self._early_stopping()) or None
        trainer.should_stop |= self._stopped_by is not None

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Find out whether the training was stopped, and whether steps of its plan are missing."""
        if not trainer.should_stop:
            return
        others = [type(callback).__name__ for callback in self._callbacks if not isinstance(callback, EarlyStopping)]
        self._stopped_by = self._stopped_by or " or ".join(dict.fromkeys(self._early_stopping() or others)) or None
        if trainer.current_epoch < (trainer.max_epochs or 0) or not trainer.is_last_batch:
            self.ended_by = self._stopped_by

    def state_dict(self) -> dict[str, Any]:
        """Return what has stopped the training."""
        return {"stopped_by": self._stopped_by}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self._stopped_by = state_dict["stopped_by"]

    def _early_stopping(self) -> list[str]:
        """Return the names of the callbacks that say that they have stopped the training."""
        return [
            type(callback).__name__
            for callback in self._callbacks
            if isinstance(callback, EarlyStopping) and callback.stopping_reason != EarlyStoppingReason.NOT_STOPPED
        ]
