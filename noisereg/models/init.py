"""Initial weights: each is a function of the seed, the number of its layer and its place in it."""

import math
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from jaxtyping import Float64
from torch import Tensor, nn

from noisereg.models.checks import check_choice
from noisereg.rng import Stream, normal, uniform

INITS = ("uniform", "unit", "torch", "he")
BIASES = ("zero", "same", "torch", "none")
_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)

_Layer = TypeVar("_Layer", bound=nn.Module)


def make_layer(kind: Callable[..., _Layer], *arguments: Any, **options: Any) -> _Layer:
    """Make a layer on the CPU for `initialize` to fill, and leave torch's generator as it is.

    Args:
        kind: class of the layer.
        arguments: of the class.
        options: of the class.

    Example:
        >>> make_layer(nn.Linear, 60, 240).weight.shape
        torch.Size([240, 60])
    """
    # not torch.nn.utils.skip_init: the meta device that it makes layers on loads sympy, which takes half a second
    with torch.random.fork_rng(devices=()):
        return kind(*arguments, device="cpu", **options)


@torch.no_grad()
def initialize(module: nn.Module, *, init: str, bias: str, seed: int) -> None:
    """Fill the weights and biases of every linear and convolutional layer.

    Layers are numbered in the order of `module.modules()`. Values are drawn in float64 on the CPU and rounded to the
    parameter's type, so they do not depend on its device, on the order of building or on any generator's history.
    Other layers (normalisation, attention, embedding) keep what they have.

    Args:
        module: whose layers are filled in place.
        init: law of the weights; fan_in is the number of inputs that one output of the layer sees:
            "uniform": U[-sqrt(3), sqrt(3)], unit variance whatever the fan_in (the paper);
            "unit": U[-1, 1] (theorem 4);
            "torch": U[-1/sqrt(fan_in), 1/sqrt(fan_in)], the default law of torch;
            "he": normal with standard deviation sqrt(2/fan_in).
        bias: "zero"; "same", the law of the weights; "torch", the law of that name; "none", the layers have no bias.
            A layer that was made without bias stays so.
        seed: of the run.

    Raises:
        ValueError: a law is unknown, or `bias` is "none" and a layer has one.

    Example:
        >>> layer = nn.Linear(60, 240)
        >>> initialize(layer, init="uniform", bias="zero", seed=0)
        >>> bool(layer.weight.abs().max() <= 3**0.5), bool((layer.bias == 0).all())
        (True, True)

    Source:
        K. He, X. Zhang, S. Ren, J. Sun, "Delving deep into rectifiers", ICCV 2015, equation 10, for "he".
    """
    check_choice("init", init, INITS)
    check_choice("bias", bias, BIASES)
    layers = [(name, layer) for name, layer in module.named_modules() if isinstance(layer, _LAYERS)]
    for number, (name, layer) in enumerate(layers):
        if bias == "none" and layer.bias is not None:
            raise ValueError(f"bias='none' requires layers made with bias=False, got {name or 'a layer'} with a bias")
        fan_in = layer.weight[0].numel()
        _fill_parameter(layer.weight, init, fan_in=fan_in, seed=seed, step=2 * number)
        if layer.bias is not None:
            _fill_parameter(layer.bias, init if bias == "same" else bias, fan_in=fan_in, seed=seed, step=2 * number + 1)


def _fill_parameter(parameter: Tensor, law: str, *, fan_in: int, seed: int, step: int) -> None:
    if law == "zero":
        parameter.zero_()
    else:
        draws = _draw_values(law, parameter.numel(), fan_in=fan_in, seed=seed, step=step)
        parameter.copy_(draws.view_as(parameter))


def _draw_values(law: str, count: int, *, fan_in: int, seed: int, step: int) -> Float64[Tensor, "count"]:
    index = torch.arange(count, device="cpu")
    if law == "he":
        return normal(seed, Stream.INIT, step, index) * math.sqrt(2 / fan_in)
    bound = {"uniform": math.sqrt(3), "unit": 1.0, "torch": 1 / math.sqrt(fan_in)}[law]
    return (2 * uniform(seed, Stream.INIT, step, index) - 1) * bound
