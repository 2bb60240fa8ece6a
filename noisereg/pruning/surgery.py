"""Take units out of a network, and read such a network again."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from noisereg.files.reading import check_regular
from noisereg.pruning.layers import Layer

_SIZES = {  # attributes of a module that name the axes of its weight
    nn.Linear: ("out_features", "in_features"),
    nn.Conv1d: ("out_channels", "in_channels"),
    nn.Conv2d: ("out_channels", "in_channels"),
    nn.Conv3d: ("out_channels", "in_channels"),
    nn.BatchNorm1d: ("num_features",),
    nn.BatchNorm2d: ("num_features",),
    nn.BatchNorm3d: ("num_features",),
}


def keep_units(module: nn.Module, kept: Mapping[Layer, Bool[Tensor, " units"]]) -> None:
    """Take all other units out of a network, in place.

    Args:
        module: that the layers are of.
        kept: which units of each layer stay.

    Example:
        >>> from noisereg.pruning.layers import find_layers
        >>> net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).eval()
        >>> (layer,) = find_layers(net, torch.zeros(2, 4)).layers
        >>> keep_units(net, {layer: torch.tensor([True, False, True])})
        >>> net[0], net[2].weight.shape
        (Linear(in_features=4, out_features=2, bias=True), torch.Size([2, 2]))
    """
    for layer, mask in kept.items():
        places = mask.nonzero().flatten()
        for name in layer.rows:
            _replace(module, name, _tensor(module, name).detach().index_select(0, places))
        for weight, width in layer.readers:
            columns = (places[:, None] * width + torch.arange(width)).flatten()
            _replace(module, weight, _tensor(module, weight).detach().index_select(1, columns))


def load_pruned(module: nn.Module, path: Path | str) -> nn.Module:
    """Read the weights of a pruned network into one of the kind that it was made of, whose layers take its sizes.

    Args:
        module: as the run built it, such as `noisereg.load(FOLDER).network(...)`.
        path: of what `noisereg prune` has written.

    Returns:
        The same module, in eval mode.

    Raises:
        OSError: if there is no such file.
        ValueError: if it is of another network, or none that was written so.

    Example:
        >>> import tempfile
        >>> whole, pruned = (nn.Sequential(nn.Linear(2, k), nn.ReLU(), nn.Linear(k, 1)) for k in (5, 3))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     torch.save({"state_dict": pruned.state_dict()}, f"{folder}/pruned.pt")
        ...     load_pruned(whole, f"{folder}/pruned.pt")[0]
        Linear(in_features=2, out_features=3, bias=True)
    """
    check_regular(Path(path))
    try:
        state: dict[str, Tensor] = dict(torch.load(path, map_location="cpu", weights_only=True)["state_dict"])
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, IndexError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is no network that noisereg prune has written, or is damaged") from error
    if wrong := sorted(state.keys() ^ module.state_dict().keys()):
        raise ValueError(f"{path} is of another network than {type(module).__name__}: they differ in {wrong[0]}")
    for name, tensor in state.items():
        if tensor.shape != _tensor(module, name).shape:
            _replace(module, name, tensor)
    module.load_state_dict(state)
    return module.eval()


def _tensor(module: nn.Module, name: str) -> Any:
    path, _, key = name.rpartition(".")
    return getattr(module.get_submodule(path), key)


def _replace(module: nn.Module, name: str, tensor: Tensor) -> None:
    """Replace a parameter or buffer by a tensor of another size."""
    path, _, key = name.rpartition(".")
    owner, old = module.get_submodule(path), _tensor(module, name)
    is_parameter = isinstance(old, nn.Parameter)
    setattr(
        owner, key, nn.Parameter(tensor.clone(), requires_grad=old.requires_grad) if is_parameter else tensor.clone()
    )
    attributes = next((names for kind, names in _SIZES.items() if isinstance(owner, kind)), ())
    for attribute, size in zip(attributes, tensor.shape, strict=False):
        if key in ("weight", "running_mean"):
            setattr(owner, attribute, size)
