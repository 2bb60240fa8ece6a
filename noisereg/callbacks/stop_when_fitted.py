"""End a training so many epochs after the network first fits its clean training labels."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from noisereg.engine.epochs import completed_epochs


class StopWhenFitted(Callback):
    """Find the first evaluation without an error on the training data, and stop some epochs after it.

    It looks at `train/error`, which a `Classifier` logs in every evaluation.

    Args:
        extra_epochs: to train after that evaluation; None to train to the end.

    Attributes:
        fitted_epoch: the epoch of that evaluation; None before it.
        stopped: whether the training was stopped.

    Raises:
        ValueError: if extra_epochs is below 0.

    Example:
        >>> trainer = Trainer(callbacks=[StopWhenFitted(10)], logger=False, accelerator="cpu")
    """

    def __init__(self, extra_epochs: int | None = None) -> None:
        if extra_epochs is not None and extra_epochs < 0:
            raise ValueError(f"extra_epochs must be at least 0 or None, got {extra_epochs}")
        self.fitted_epoch: int | None = None
        self.stopped = False
        self._extra_epochs = extra_epochs

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Read the error on the training data, and stop if that is due."""
        if trainer.sanity_checking:
            return
        epoch = completed_epochs(trainer)
        if self.fitted_epoch is None and trainer.callback_metrics.get("train/error") == 0:
            self.fitted_epoch = epoch
        if self._extra_epochs is not None and self.fitted_epoch is not None:
            self.stopped = epoch >= self.fitted_epoch + self._extra_epochs
        trainer.should_stop |= self.stopped

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop a training at once that was stopped before it was interrupted."""
        trainer.should_stop |= self.stopped

    def state_dict(self) -> dict[str, Any]:
        """Return the epoch that fitted first, and whether that has stopped the training."""
        return {"fitted_epoch": self.fitted_epoch, "stopped": self.stopped}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.fitted_epoch, self.stopped = state_dict["fitted_epoch"], state_dict["stopped"]
