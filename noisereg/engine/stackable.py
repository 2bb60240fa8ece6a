"""Whether networks of an architecture can be stacked, found out by a trial."""

import io
import pickle
import random
import warnings
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.optim import SGD

from noisereg.engine.alike import named_tensors
from noisereg.engine.stacked import StackedNetworks
from noisereg.losses import CrossEntropy

_DROPOUT = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)


def why_not(model: nn.Module, inputs: Float[Tensor, "batch *shape"]) -> str | None:
    """Return what keeps networks of this architecture from being stacked, or None.

    Two copies of the model, on the inputs and on their reverse, are compared with the plain module, stacked and not:
    losses, gradients and buffers, twice, as what depends on a count of calls would not be alike.

    Args:
        model: on the device of the inputs, in the mode in which it is trained. It stays as it is.
        inputs: a few of them, at least as many as a batch norm needs.

    Example:
        >>> why_not(nn.Sequential(nn.Linear(4, 3), nn.ReLU()), torch.ones(2, 4))
        >>> why_not(nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.5)), torch.ones(2, 4))
        'its layer 1 is a Dropout, which draws random numbers'
    """
    return _find_forbidden(model) or _find_difference(model, inputs)


def _find_forbidden(model: nn.Module) -> str | None:
    for name, module in model.named_modules():
        kind = type(module).__name__
        if isinstance(module, _DROPOUT) and module.p > 0:
            return f"its layer {name} is a {kind}, which draws random numbers"
        for key, value in vars(module).items():
            if isinstance(value, Tensor):
                return f"its tensor {key} in {name or kind} is neither a parameter nor a buffer"
    for name, tensor in named_tensors(model).items():
        if is_lazy(tensor):
            return f"its {name} is lazy and has no shape before the first batch"
    for name, parameter in model.named_parameters():
        if not parameter.is_floating_point():
            return f"its parameter {name} is {str(parameter.dtype).removeprefix('torch.')}, not real"
    if not any(parameter.requires_grad for parameter in model.parameters()):
        return "it has no parameter that is trained"
    return None


def _find_difference(model: nn.Module, inputs: Tensor) -> str | None:
    """Compare two stacked copies of a model with two plain ones in two steps of length zero."""
    batches = torch.stack([inputs, inputs.flip(0)])
    labels = torch.zeros(batches.shape[:2], dtype=torch.int64, device=inputs.device)
    plain, loss = [deepcopy(model) for _ in batches], CrossEntropy()
    with isolate_rng(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for number in range(2):
            before = _state_beside_tensors(plain[0])
            try:
                wanted = [loss(copy(batch), label) for copy, batch, label in zip(plain, batches, labels, strict=True)]
            except Exception as error:
                return f"it fails on inputs of shape {tuple(inputs.shape)}: {_first_line(error)}"
            after = _state_beside_tensors(plain[0])
            if changed := [key for key in after if before.get(key) != after[key]]:
                return f"{changed[0]} changes from call to call"  # a recorded step would keep it as it was
            try:
                if number == 0:
                    stacked = StackedNetworks([deepcopy(model)] * 2, loss, optimizer=SGD, rates=[0.0, 0.0])
                found = stacked.step(batches, labels)
            except Exception as error:
                return _explain(error)
            pairs = [(torch.stack(wanted), found)]
            for name, buffer in stacked.networks.named_buffers():
                pairs.append((torch.stack([copy.get_buffer(name) for copy in plain]), buffer))
            if not all(torch.allclose(first, second, rtol=1e-3, atol=1e-3, equal_nan=True) for first, second in pairs):
                return "its losses are others when it is stacked: does it depend on anything but weights and inputs?"
    for warning in caught:
        if "batching rule" in str(warning.message):
            return f"torch.func.vmap would run it one network at a time: {_first_line(warning.message)}"
    return None


def _state_beside_tensors(model: nn.Module) -> dict[str, Any]:
    """Return what a call may read and change unseen: attributes, and the generators that libraries share."""
    numbers = {id(tensor): number for number, tensor in enumerate(named_tensors(model).values())}
    attributes = {
        f"its attribute {key} in {name or type(module).__name__}": _pickle(value, numbers)
        for name, module in model.named_modules()
        for key, value in vars(module).items()
        if key not in ("_parameters", "_buffers", "_modules")
    }
    numpy_state = np.random.get_state()  # noqa: NPY002 - the one that networks may draw from
    return {
        **attributes,
        "numpy's random generator": _pickle(numpy_state, {}),
        "Python's random generator": _pickle(random.getstate(), {}),
    }


def _pickle(value: Any, numbers: dict[int, int]) -> bytes | None:
    """Return a value as bytes that are others after a change; None if that cannot be told.

    Of what has a number, by its id, there is the number alone: of tensors that may change.
    """
    file = io.BytesIO()
    pickler = pickle.Pickler(file)
    pickler.persistent_id = lambda part: numbers.get(id(part))  # type: ignore[method-assign]
    try:
        pickler.dump(value)
    except Exception:  # each class has its own
        return None
    return file.getvalue()


def _explain(error: Exception) -> str:
    text = str(error)
    if "random" in text:
        return "it draws random numbers, as dropout does"
    if any(cause in text for cause in ("control flow", ".item()", "dynamic shape")):
        return "its operations depend on the values of its tensors: control flow, .item() or indexing by a mask"
    return f"torch.func.vmap cannot map it: {_first_line(error)}"


def _first_line(error: object) -> str:
    return str(error).strip().partition("\n")[0]
