"""The values that are logged of the layers of a network, from the counts of each."""

from collections.abc import Container, Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from noisereg.metrics.sparsity import ActivationSparsity, summarize_layers

_BY_LAYER = ("active_fraction", "dead_fraction")


def collect_layer_values(
    metrics: Mapping[str, ActivationSparsity], relus: Container[str]
) -> dict[str, Float[Tensor, ""]]:
    """Summarise all layers together and, if there are several, the active and the dead share of each.

    Args:
        metrics: of each layer, at least one, all with units.
        relus: names of the layers that are ReLUs: the outputs of these on images, (batch, C, H, W), have channels.

    Returns:
        What `summarize_layers` returns but for the sparsity, `<quantity>/<layer>` of each layer, and where there are
        channels the share that fires nowhere, `dead_channel_fraction`, of all and of each layer.

    Example:
        >>> layer = ActivationSparsity()
        >>> layer.update(torch.tensor([[1.0, 0.0]]))
        >>> collect_layer_values({"relu": layer}, {"relu"})["dead_fraction"]
        tensor(0.5000)
    """
    values = summarize_layers(list(metrics.values()))
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
