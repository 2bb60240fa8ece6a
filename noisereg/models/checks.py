"""Checks of the arguments that several models share."""

import re
from collections.abc import Collection

from jaxtyping import Int64
from torch import Tensor, nn
from torch.nn.parameter import is_lazy


def check_choice(name: str, value: str, choices: Collection[str]) -> None:
    """Raise ValueError for a value of an argument that is not among the choices.

    Example:
        >>> check_choice("bias", "zero", ["zero", "none"])
    """
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")


def check_append_one(append_one: bool, bias: str) -> None:
    """Raise ValueError for an appended one beside biases: it takes their place.

    Example:
        >>> check_append_one(True, "none")
    """
    if append_one and bias != "none":
        raise ValueError(f"append_one=True takes the place of the biases and requires bias='none', got {bias!r}")


def describe_tokens(tokens: Int64[Tensor, "*shape"], num_kinds: int) -> str:
    """Return the text of the error for tokens of which one is not in [0, num_kinds).

    Example:
        >>> import torch
        >>> print(describe_tokens(torch.tensor([0, 3, -1]), 3))
        inputs must be tokens in [0, 3), as there are 3 kinds of them, got -1 and 3
    """
    text = f"inputs must be tokens in [0, {num_kinds}), as there are {num_kinds} kinds of them"
    try:
        ends = (int(tokens.min()), int(tokens.max()))
    except RuntimeError:  # torch.func does not tell the values of what it maps over
        return f"{text}, got others"
    return f"{text}, got {' and '.join(str(end) for end in dict.fromkeys(ends) if not 0 <= end < num_kinds)}"


def check_weights(model: nn.Module) -> None:
    """Raise ValueError for a network whose weights cannot be trained.

    One without a weight to train, or with a weight that is not finite, of no size as yet, or of another precision.

    Example:
        >>> check_weights(nn.Sequential(nn.LazyLinear(2)))
        Traceback (most recent call last):
        ValueError: Sequential must know the sizes of its weights, got 0.weight without: take those of input_shape
    """
    weights, name = dict(model.named_parameters()), type(model).__name__
    if lazy := [key for key, weight in weights.items() if is_lazy(weight)]:
        raise ValueError(f"{name} must know the sizes of its weights, got {lazy[0]} without: take those of input_shape")
    if not any(weight.requires_grad for weight in weights.values()):
        raise ValueError(f"{name} must have weights that are trained, got none with requires_grad")
    first_names = {weight.dtype: key for key, weight in reversed(weights.items()) if weight.is_floating_point()}
    if len(first_names) > 1:
        found = " and ".join(f"{str(dtype).removeprefix('torch.')} for {key}" for dtype, key in first_names.items())
        raise ValueError(f"{name} must keep all its weights in one precision, got {found}; make them alike by .float()")
    if wild := [key for key, weight in weights.items() if not bool(weight.isfinite().all())]:
        raise ValueError(f"{name} must begin with finite weights, {wild[0]} has infinite or nan ones")


def check_names(model: nn.Module) -> None:
    """Raise ValueError for a name of a layer, weight or buffer that a compiler could not write into code as it is.

    torch.fx and torch.compile make source of the names. One that holds a quote would be read as code. What passes is of
    letters, digits, _ and -, and the dots between the parts.

    Example:
        >>> check_names(nn.Sequential(nn.Linear(2, 1)))
    """
    named = (model.named_modules(), model.named_parameters(), model.named_buffers())
    for name in (name for pairs in named for name, _ in pairs):
        if not re.fullmatch(r"[\w.-]*", name):
            raise ValueError(f"a name in the network must be of letters, digits, _ and -, got {name!r}")
