"""Log the size of every weight and bias of any LightningModule."""

from lightning.pytorch import LightningModule, Trainer

from noisereg.callbacks.epoch_monitor import EpochMonitor
from noisereg.metrics import check_by_layer, collect_norms


class NormMonitor(EpochMonitor):
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
        super().__init__(every_n_epochs)
        self._by_layer = check_by_layer(by_layer)

    def measure(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the norms and the biases."""
        pl_module.log_dict(collect_norms(pl_module, by_layer=self._by_layer), sync_dist=True)
