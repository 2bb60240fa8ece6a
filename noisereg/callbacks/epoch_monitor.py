"""What callbacks share that measure a network every few epochs."""

from abc import ABC, abstractmethod

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn


class EpochMonitor(Callback, ABC):
    """Measure at the end of validation or, where there is none, of the epoch of training; not in the sanity check.

    Args:
        every_n_epochs: measure in every n-th epoch of training; `trainer.validate` always measures.

    Raises:
        ValueError: if every_n_epochs is below 1.
    """

    def __init__(self, every_n_epochs: int) -> None:
        self._every_n_epochs = check_every_n_epochs(every_n_epochs)

    @abstractmethod
    def measure(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure and log."""

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure if this epoch is due."""
        if not trainer.sanity_checking and is_due(trainer, self._every_n_epochs):
            self.measure(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure if this epoch is due and there is no validation."""
        if not trainer.enable_validation and is_due(trainer, self._every_n_epochs):
            self.measure(trainer, pl_module)


def check_every_n_epochs(every_n_epochs: int) -> int:
    """Return a number of epochs, once it is known to be at least 1."""
    if every_n_epochs < 1:
        raise ValueError(f"every_n_epochs must be at least 1, got {every_n_epochs}")
    return every_n_epochs


def is_due(trainer: Trainer, every_n_epochs: int) -> bool:
    """Return whether a trainer is in an epoch that is measured, or outside of training, where all is."""
    return trainer.state.fn != TrainerFn.FITTING or (trainer.current_epoch + 1) % every_n_epochs == 0
