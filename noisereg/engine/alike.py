"""Whether networks are alike in all but the values of their weights and buffers, as those of a stack are."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor, nn


def describe_difference(models: Sequence[nn.Module]) -> str:
    """Describe in what networks differ beside the values of their weights and buffers; nothing if they do not.

    Numbers, texts, arrays and tensors that a module keeps are compared, also in lists and dictionaries: a stack has
    those of the first network only.

    Example:
        >>> small, large = nn.Linear(4, 3), nn.Linear(4, 3)
        >>> describe_difference([small, large])
        ''
        >>> large.scale = 2.0
        >>> describe_difference([small, large])
        'number 1 has another scale in Linear than number 0, which forward may read'
    """
    first = models[0]
    structure, kept = (str(first), _describe_tensors(first)), _kept_values(first)
    known = {id(first)}
    for number, other in enumerate(models):
        if id(other) in known:  # replicas of one seed may be one network
            continue
        known.add(id(other))
        if (str(other), _describe_tensors(other)) != structure:
            return f"number {number} is built otherwise than 0"
        own = _kept_values(other)
        if differing := [place for place in {**kept, **own} if kept.get(place) != own.get(place)]:
            return f"number {number} has another {differing[0]} than number 0, which forward may read"
    return ""


def _kept_values(model: nn.Module) -> dict[str, Any]:
    """Return what the modules of a network keep beside weights and buffers, in a form that can be compared."""
    of_every_module = vars(nn.Module())
    return {
        f"{key} in {name or type(module).__name__}": _comparable(value)
        for name, module in model.named_modules()
        for key, value in vars(module).items()
        if key not in of_every_module
    }


def _comparable(value: Any) -> Any:
    """Return a form of a value that is equal to that of an equal value; None of what cannot be told."""
    if isinstance(value, Tensor | np.ndarray) and not isinstance(value, nn.Parameter):
        return str(value.dtype), tuple(value.shape), repr(value.tolist())
    if isinstance(value, list | tuple):
        return [_comparable(part) for part in value]
    if isinstance(value, dict):
        return {str(key): _comparable(part) for key, part in value.items()}
    return repr(value) if isinstance(value, bool | int | float | complex | str | bytes) else None


def _describe_tensors(model: nn.Module) -> list[tuple[Any, ...]]:
    return [(name, t.shape, t.dtype, t.requires_grad) for name, t in named_tensors(model).items()]


def named_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Return the parameters and buffers of a module by name."""
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}
