"""Log how large the gradient of a network's outputs in its weights is, of any LightningModule."""

from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn

from noisereg.callbacks.epoch_monitor import EpochMonitor
from noisereg.callbacks.train_pass import can_visit, visit_training_data
from noisereg.datasets import InMemory
from noisereg.datasets.batch import inputs_of
from noisereg.engine.classifier import Classifier
from noisereg.metrics import gradient_norms, name_gradient_norms, trained_layers


class GradientMonitor(EpochMonitor):
    """Log `train/gradient_norm_squared`, and the same `/<layer>`, at the end of validation or, without one, an epoch.

    That is R, the mean over training samples of |∇N(x)|², see `gradient_norms`. It takes a forward and a backward pass
    a sample and output, which is why it is of a few samples, evenly spread over the training data, and off by default.

    Args:
        max_samples: how many training samples it is the mean over, at most; 0 for none, which logs nothing.
        every_n_epochs: log in every n-th epoch of training; `trainer.validate` always logs.

    Raises:
        ValueError: if a number is out of range; at the first log, if the training data cannot be visited in order, or
            the module cannot be mapped over samples.

    Example:
        >>> from lightning import Trainer
        >>> trainer = Trainer(callbacks=[GradientMonitor(max_samples=500)], logger=False, accelerator="cpu")
    """

    def __init__(self, max_samples: int = 0, *, every_n_epochs: int = 1) -> None:
        if isinstance(max_samples, bool) or not isinstance(max_samples, int) or max_samples < 0:
            raise ValueError(f"max_samples must be a whole number, at least 0, got {max_samples!r}")
        super().__init__(every_n_epochs)
        self.max_samples = max_samples

    def check(self, module: nn.Module, inputs: Tensor) -> None:
        """Check that gradients of samples of a network can be computed.

        Args:
            module: any network, or the module that trains it.
            inputs: of a trial.

        Raises:
            ValueError: if they cannot, saying why.
        """
        if self.max_samples:
            gradient_norms(_network(module), inputs)

    def measure(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log R and the share of each layer in it."""
        if not self.max_samples:
            return
        network = _network(pl_module)
        layers = list(dict.fromkeys(trained_layers(network).values()))
        dtype = next(network.parameters()).dtype
        sums = torch.zeros(len(layers) + 1, dtype=torch.float64, device=pl_module.device)

        def add(batch: Any) -> None:
            inputs = inputs_of(batch).to(pl_module.device, dtype)
            if len(inputs):  # a process may have no share of a batch
                norms = gradient_norms(network, inputs)
                sums.add_(torch.stack([torch.ones(len(inputs)).to(sums), *norms.values()]).double().sum(dim=1))

        self._visit(trainer, pl_module, add)
        num_samples, *totals = trainer.strategy.reduce(sums, reduce_op="sum").unbind()
        means = {layer: (total / num_samples).float() for layer, total in zip(layers, totals, strict=True)}
        pl_module.log_dict(name_gradient_norms(means), sync_dist=True)

    def _visit(self, trainer: Trainer, pl_module: LightningModule, visit: Callable[[Any], None]) -> None:
        """Call a function with batches of this process's share of the samples."""
        data = trainer.datamodule  # type: ignore[attr-defined]
        if isinstance(data, InMemory):
            for batch in data.spread_loader("train", self.max_samples):
                visit(batch)
        elif can_visit(trainer.train_dataloader):
            visit_training_data(trainer, pl_module, max_samples=self.max_samples, visit=visit, spread=True)
        else:
            raise ValueError(
                "GradientMonitor needs a training loader that is a DataLoader over a dataset with len() and [], got "
                f"{type(trainer.train_dataloader).__name__}: set max_samples=0"
            )


def _network(module: nn.Module) -> nn.Module:
    """Return what computes the outputs; torch.func does not map the change of layout that a `Classifier` makes."""
    return module.model if isinstance(module, Classifier) else module
