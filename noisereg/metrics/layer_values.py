"""The values that are logged of the layers of a network, from the counts of each."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from noisereg.metrics.sparsity import ActivationSparsity, summarize_layers

BY_LAYER = ("last", "all")
LAST = 2  # layers: the penultimate one and the last
_BY_LAYER = ("active_fraction", "dead_fraction")


def select_layers(
    values: Mapping[str, Tensor], *, layers: Sequence[str], by_layer: str
) -> dict[str, Float[Tensor, ""]]:
    """Return values without those of single layers that are not wanted.

    Args:
        values: by `<quantity>`, or `<quantity>/<layer>` for a single layer.
        layers: names of the layers, in the order of the network.
        by_layer: "last" for the values of the last two layers, "all" for those of each.

    Example:
        >>> values = {"norm/a": torch.ones(()), "norm/b": torch.ones(()), "norm/c": torch.ones(())}
        >>> [*select_layers(values, layers=["a", "b", "c"], by_layer="last")]
        ['norm/b', 'norm/c']
    """
    kept = {"", *(layers if by_layer == "all" else layers[-LAST:])}
    return {name: value for name, value in values.items() if by_layer == "all" or name.partition("/")[2] in kept}


def check_by_layer(by_layer: str) -> str:
    """Return which layers have values of their own, once it is known to be one of the two ways.

    Raises:
        ValueError: if it is another word.

    Example:
        >>> check_by_layer("last")
        'last'
    """
    if by_layer not in BY_LAYER:
        raise ValueError(f"by_layer must be {' or '.join(BY_LAYER)}, got {by_layer!r}")
    return by_layer


def collect_layer_values(metrics: Mapping[str, ActivationSparsity]) -> dict[str, Float[Tensor, ""]]:
    """Summarise all layers together and, if there are several, the active and the dead share of each.

    Args:
        metrics: of each layer, at least one, all with units and one threshold.

    Returns:
        What `summarize_layers` returns but for the sparsity, `<quantity>/<layer>` of each layer, and where there are
        channels the share that fires nowhere, `dead_channel_fraction`, of all and of each layer; where magnitudes are
        kept, `dormant_fraction` of units or channels, of all and of each layer. A threshold other than 0 stands behind
        each quantity but that one, as in `active_fraction_above_0.1/relu`.

    Example:
        >>> layer = ActivationSparsity()
        >>> layer.update(torch.tensor([[1.0, 0.0]]))
        >>> collect_layer_values({"relu": layer})["dead_fraction"]
        tensor(0.5000)
    """
    suffix = next(iter(metrics.values())).threshold.suffix
    values = summarize_layers(list(metrics.values()))
    values.pop(f"sparsity{suffix}")
    dead = {layer: _shares(metric, metric.dead_channels) for layer, metric in metrics.items() if metric.has_channels}
    if dead:
        values[f"dead_channel_fraction{suffix}"] = torch.cat(list(dead.values())).mean()
    dormant = {layer: _shares(m, m.dormant_units) for layer, m in metrics.items() if m.dormant is not None}
    if dormant:
        values["dormant_fraction"] = torch.cat(list(dormant.values())).mean()
    if len(metrics) > 1:
        for layer, metric in metrics.items():
            values |= {f"{key}{suffix}/{layer}": metric.compute()[f"{key}{suffix}"] for key in _BY_LAYER}
        values |= {f"dead_channel_fraction{suffix}/{layer}": channels.mean() for layer, channels in dead.items()}
        values |= {f"dormant_fraction/{layer}": units.mean() for layer, units in dormant.items()}
    return values


def _shares(metric: ActivationSparsity, units: Bool[Tensor, " units"]) -> Float[Tensor, " units"]:
    """Return flags as numbers whose mean is a share; nan if the metric knows nothing of its units."""
    return units.float().where(metric.is_known, torch.nan)
