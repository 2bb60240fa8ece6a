"""Sizes of weights and biases, layer by layer."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from noisereg.metrics.eval_mode import eval_mode
from noisereg.metrics.layer_names import short_names
from noisereg.metrics.layer_values import LAST

_QUANTILES = {"min": 0.0, "q10": 0.1, "q50": 0.5, "q90": 0.9, "max": 1.0}


def collect_norms(module: nn.Module, *, by_layer: str = "all") -> dict[str, Float[Tensor, ""]]:
    """Compute the Frobenius norm of each weight with at least two axes, and the mean and the quantiles of each bias.

    Of a weight that is computed of others, by a parametrization, weight or spectral norm or pruning, it is the norm of
    what the layer multiplies by in eval mode. One that layers share counts for the first of them.

    Args:
        module: any module; tensors named `<layer>.weight` and `<layer>.bias` count.
        by_layer: "all" for every weight and bias, "last" for those of the last two layers with a norm.

    Returns:
        `norm/<layer>` and `bias_<statistic>/<layer>` by short names of the layers (see `short_names`; "weight" and
        "bias" for the module's own), where a statistic is mean, min, q10, q50, q90 or max. They are at least in float32
        and outside of the graph.

    Example:
        >>> layer = nn.Linear(2, 2)
        >>> _ = nn.init.ones_(layer.weight)
        >>> values = collect_norms(nn.Sequential(layer))
        >>> values["norm/0"], list(values)[1:3]
        (tensor(2.), ['bias_mean/0', 'bias_min/0'])
    """
    weights, biases = _find(module, "weight"), _find(module, "bias")
    weights = {name: weight for name, weight in weights.items() if weight.ndim >= 2}
    short = short_names([*weights, *biases])
    layers = [_layer(short[name]) for name in weights]
    if by_layer != "all":
        weights = {name: weight for name, weight in weights.items() if _layer(short[name]) in layers[-LAST:]}
        biases = {name: bias for name, bias in biases.items() if _layer(short[name]) in layers[-LAST:]}
    values = {f"norm/{_layer(short[name])}": frobenius_norm(weight.flatten(1)) for name, weight in weights.items()}
    for name, bias in biases.items():
        statistics = bias_quantiles(bias.flatten())
        values |= {f"bias_{key}/{_layer(short[name])}": value for key, value in statistics.items()}
    return values


def frobenius_norm(weight: Float[Tensor, "*stack rows columns"]) -> Float[Tensor, "*stack"]:
    """Compute the norm of a weight over all its axes, or of each of several that are stacked in front of two axes.

    Example:
        >>> frobenius_norm(torch.ones(2, 2))
        tensor(2.)
    """
    return to_float32(weight).square().sum(dim=(-2, -1)).sqrt()  # a sum in pairs: more exact than vector_norm's


def bias_quantiles(bias: Float[Tensor, "*stack units"]) -> dict[str, Float[Tensor, "*stack"]]:
    """Compute the mean and quantiles of a bias, or of each of several that are stacked; quantiles interpolate linearly.

    Example:
        >>> bias_quantiles(torch.tensor([[0.0, 1.0], [2.0, 4.0]]))["mean"]
        tensor([0.5000, 3.0000])
    """
    values = to_float32(bias)
    quantiles = values.quantile(values.new_tensor(list(_QUANTILES.values())), dim=-1)
    return {"mean": values.mean(dim=-1), **dict(zip(_QUANTILES, quantiles.unbind(), strict=True))}


def _layer(name: str) -> str:
    """Return the name of the layer of a weight or a bias; the module's own has none and keeps its name."""
    return name.rpartition(".")[0] or name


def _find(module: nn.Module, kind: str) -> dict[str, Tensor]:
    """Return each weight or bias by its name, one that layers share by the first of its names."""
    found: dict[str, Tensor] = {}
    with eval_mode(module), torch.no_grad():  # in training mode a spectral norm would go on with its iteration
        for layer, part in module.named_modules():
            tensor = _compute(part, kind)
            if tensor is not None and not any(tensor is other for other in found.values()):
                found[f"{layer}.{kind}" if layer else kind] = tensor
    return {name: tensor.detach() for name, tensor in found.items()}


def _compute(part: nn.Module, kind: str) -> Tensor | None:
    """Return the weight or bias that a layer calculates with; None if it has none."""
    if is_parametrized(part, kind):
        return getattr(part, kind)
    # There is no public list of these. The tensor that a hook has left in the layer is of before the last step.
    for hook in part._forward_pre_hooks.values():
        if isinstance(hook, WeightNorm) and hook.name == kind:
            return hook.compute_weight(part)
        if isinstance(hook, SpectralNorm) and hook.name == kind:
            return hook.compute_weight(part, do_power_iteration=False)
        if isinstance(hook, BasePruningMethod) and hook._tensor_name == kind:
            return hook.apply_mask(part)
    return dict(part.named_parameters(recurse=False)).get(kind)


def to_float32(values: Tensor) -> Tensor:
    """Return values in float32, or in their own type if that is more precise."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
