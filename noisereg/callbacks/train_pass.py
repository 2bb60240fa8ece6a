"""A pass over the training data in order, between two epochs, that leaves no trace in the training."""

from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities.seed import isolate_rng
from torch.utils.data import DataLoader, IterableDataset, Subset

from noisereg import rng
from noisereg.metrics import eval_mode


def can_visit(loader: Any) -> bool:
    """Return whether the data of a loader can be visited in order: it is a DataLoader over a data set with len and [].

    Example:
        >>> can_visit(DataLoader([1, 2, 3])), can_visit(iter([1, 2, 3]))
        (True, False)
    """
    return isinstance(loader, DataLoader) and not isinstance(loader.dataset, IterableDataset)


def visit_training_data(
    trainer: Trainer,
    pl_module: LightningModule,
    *,
    max_samples: int | None,
    visit: Callable[[Any], object],
    spread: bool = False,
) -> None:
    """Call a function with each batch of the training data, in order; it calls the network.

    The network is in eval mode and without gradients; its modes and all random generators are put back after it.

    Args:
        trainer: with a training loader that `can_visit`.
        pl_module: the module under training.
        max_samples: how many samples are visited, at most; None for all. Processes share them.
        visit: takes a batch on the module's device.
        spread: whether they are spread evenly over the data; otherwise they are the first ones.
    """
    with isolate_rng(), rng.library_generator(seed=0), eval_mode(pl_module), torch.no_grad():
        for loaded in _share(trainer, max_samples, spread=spread):
            converted = trainer.precision_plugin.convert_input(loaded)
            batch = trainer.strategy.batch_to_device(pl_module.on_before_batch_transfer(converted, 0))
            with trainer.precision_plugin.forward_context():
                visit(batch)


def _share(trainer: Trainer, max_samples: int | None, *, spread: bool) -> DataLoader:
    """Load this process's share of the training samples to visit, each once."""
    loader: Any = trainer.train_dataloader
    num_samples = len(loader.dataset)
    most = num_samples if max_samples is None else min(num_samples, max_samples)
    indices = [place * num_samples // most for place in range(most)] if spread else range(most)
    share = Subset(loader.dataset, indices[trainer.global_rank :: trainer.world_size])
    batch_size = None if loader.batch_sampler is None else getattr(loader.batch_sampler, "batch_size", 1)
    return DataLoader(share, batch_size=batch_size, collate_fn=loader.collate_fn)
