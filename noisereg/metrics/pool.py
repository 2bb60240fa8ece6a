"""One summary of the counts of several layers."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from noisereg.metrics.sparsity import ActivationSparsity


def pool(metrics: Sequence[ActivationSparsity]) -> dict[str, Float[Tensor, ""]]:
    """Summarise several layers as if their units were those of one layer: numbers add up, means are averaged.

    Args:
        metrics: one a layer, at least one, all with units and with the same num_classes.

    Example:
        >>> wide, narrow = ActivationSparsity(), ActivationSparsity()
        >>> wide.update(torch.ones(2, 3))
        >>> narrow.update(torch.zeros(2, 1))
        >>> pool([wide, narrow])["active_fraction"]
        tensor(0.7500)
    """
    summaries = [metric.compute() for metric in metrics]
    units = torch.tensor([metric.num_units for metric in metrics], dtype=torch.float32, device=metrics[0].device)
    columns = {key: torch.stack([summary[key] for summary in summaries]) for key in summaries[0]}
    pooled = {
        key: values.sum() if key.endswith("_neurons") else (values * units).sum() / units.sum()
        for key, values in columns.items()
    }
    if "label_entropy" in columns:  # of live units only, which a layer may have none of
        live = units * (1 - columns["dead_fraction"])
        pooled["label_entropy"] = (columns["label_entropy"].nan_to_num() * live).sum() / live.sum()
    return pooled
