"""Log the size of every weight and bias of any LightningModule."""

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from noisereg.metrics import check_by_layer, collect_norms


class NormMonitor(Callback):
    """Log norms of weights and statistics of biases at the end of validation, or of the epoch if there is none.

    `norm/<layer>` is the Frobenius norm of each weight with at least two axes; `bias_mean/<layer>`,
    `bias_min/<layer>`, `bias_q10/<layer>`, `bias_q50/<layer>`, `bias_q90/<layer>` and `bias_max/<layer>` describe
    each bias.

    Args:
        every_n_epochs: log in every n-th epoch of training; `trainer.validate` always logs.
        by_layer: "last" for the last two layers with weights of at least two axes, "all" for every weight and bias.

    Raises:
        ValueError: if every_n_epochs is below 1, or by_layer is another word.

    Example:
        >>> from lightning import Trainer
        >>> trainer = Trainer(callbacks=[NormMonitor(every_n_epochs=5)], logger=False, accelerator="cpu")
    """

    def __init__(self, every_n_epochs: int = 1, *, by_layer: str = "last") -> None:
        if every_n_epochs < 1:
            raise ValueError(f"every_n_epochs must be at least 1, got {every_n_epochs}")
        self._every_n_epochs, self._by_layer = every_n_epochs, check_by_layer(by_layer)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log if this epoch is due."""
        if not trainer.sanity_checking:
            self._log(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log if this epoch is due and there is no validation."""
        if not trainer.enable_validation:
            self._log(trainer, pl_module)

    def _log(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == TrainerFn.FITTING and (trainer.current_epoch + 1) % self._every_n_epochs:
            return
        pl_module.log_dict(collect_norms(pl_module, by_layer=self._by_layer), sync_dist=True)
