"""The values that are logged of the layers of a network, from the counts of each."""

from collections.abc import Container, Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from noisereg.metrics.pool import pool
from noisereg.metrics.sparsity import ActivationSparsity

_BY_LAYER = ("active_fraction", "dead_fraction")


def summarize_layers(metrics: Mapping[str, ActivationSparsity], relus: Container[str]) -> dict[str, Float[Tensor, ""]]:
    """Summarise all layers together and, if there are several, the active and the dead share of each.

    Args:
        metrics: of each layer, at least one, all with units.
        relus: names of the layers that are ReLUs: the outputs of these on images, (batch, C, H, W), have channels.

    Returns:
        What `pool` returns but for the sparsity, `<quantity>/<layer>` of each layer, and where there are channels the
        share that fires nowhere, `dead_channel_fraction`, of all and of each layer.

    Example:
        >>> layer = ActivationSparsity()
        >>> layer.update(torch.tensor([[1.0, 0.0]]))
        >>> summarize_layers({"relu": layer}, {"relu"})["dead_fraction"]
        tensor(0.5000)
    """
    values = pool(list(metrics.values()))
    values.pop("sparsity")
    # Other activations, as those of Swin and ConvNeXt, may have the channels last.
    images = [layer for layer, metric in metrics.items() if metric.has_channels and layer.partition(":")[0] in relus]
    dead = {layer: metrics[layer].dead_channels.float() for layer in images}
    if dead:
        values["dead_channel_fraction"] = torch.cat(list(dead.values())).mean()
    if len(metrics) > 1:
        for layer, metric in metrics.items():
            values |= {f"{key}/{layer}": metric.compute()[key] for key in _BY_LAYER}
        values |= {f"dead_channel_fraction/{layer}": channels.mean() for layer, channels in dead.items()}
    return values
