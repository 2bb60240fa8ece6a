"""Sizes of weights and biases, layer by layer."""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn

_QUANTILES = {"min": 0.0, "q10": 0.1, "q50": 0.5, "q90": 0.9, "max": 1.0}


def weight_norms(module: nn.Module) -> dict[str, Float[Tensor, ""]]:
    """Compute the Frobenius norm of each weight with at least two axes (so none of a normalisation layer).

    Args:
        module: any module; parameters named `<layer>.weight` count.

    Returns:
        The norm by the layer's name, at least in float32, on the parameter's device, outside the graph.

    Example:
        >>> layer = nn.Linear(2, 2)
        >>> _ = nn.init.ones_(layer.weight)
        >>> weight_norms(nn.Sequential(layer))
        {'0': tensor(2.)}
    """
    return {
        layer: frobenius_norm(weight.flatten(1))
        for layer, weight in _find_parameters(module, "weight")
        if weight.ndim >= 2
    }


def bias_statistics(module: nn.Module) -> dict[str, dict[str, Float[Tensor, ""]]]:
    """Compute the mean and the quantiles of each bias.

    Args:
        module: any module; parameters named `<layer>.bias` count.

    Returns:
        By the layer's name: `mean`, `min`, `q10`, `q50`, `q90` and `max` (quantiles interpolate linearly), at least in
        float32, on the parameter's device, outside the graph.

    Example:
        >>> layer = nn.Linear(1, 3)
        >>> layer.bias.data = torch.tensor([0.0, 1.0, 5.0])
        >>> bias_statistics(nn.Sequential(layer))["0"]["q50"]
        tensor(1.)
    """
    return {layer: bias_quantiles(bias.flatten()) for layer, bias in _find_parameters(module, "bias")}


def frobenius_norm(weight: Float[Tensor, "*stack rows columns"]) -> Float[Tensor, "*stack"]:
    """Compute the norm of a weight over all its axes, or of each of several that are stacked in front of two axes.

    Example:
        >>> frobenius_norm(torch.ones(2, 2))
        tensor(2.)
    """
    return _to_float32(weight).square().sum(dim=(-2, -1)).sqrt()  # a sum in pairs: more exact than vector_norm's


def bias_quantiles(bias: Float[Tensor, "*stack units"]) -> dict[str, Float[Tensor, "*stack"]]:
    """Compute the mean and quantiles of a bias, or of each of several that are stacked, as `bias_statistics` does.

    Example:
        >>> bias_quantiles(torch.tensor([[0.0, 1.0], [2.0, 4.0]]))["mean"]
        tensor([0.5000, 3.0000])
    """
    values = _to_float32(bias)
    quantiles = values.quantile(values.new_tensor(list(_QUANTILES.values())), dim=-1)
    return {"mean": values.mean(dim=-1), **dict(zip(_QUANTILES, quantiles.unbind(), strict=True))}


def _find_parameters(module: nn.Module, kind: str) -> Iterator[tuple[str, Tensor]]:
    for name, parameter in module.named_parameters():
        layer, _, last = name.rpartition(".")
        if last == kind:
            yield layer, parameter.detach()


def _to_float32(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))
