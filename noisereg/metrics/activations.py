"""What an activation is: modules and functions that are, and which of them a network has or is asked about.

Three kinds are told apart. ReLUs are exactly 0 on one side. Rectifiers, such as GELU or leaky ReLU, are small there but
seldom 0. The others, such as tanh, are as large on one side as on the other. A class that torch does not know, as those
of timm and transformers, is tried on numbers: an activation treats each by itself, grows on one side, and stays small
on the other.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from enum import Enum
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn
from torchmetrics import Metric

from noisereg.metrics.layer_names import find_holder, short_names
from noisereg.metrics.units import find_spellings
from noisereg.rng import restored_libraries


class Kind(Enum):
    """How an activation treats one side of 0."""

    RELU = "ReLU"
    RECTIFIER = "rectifier"
    TWO_SIDED = "two-sided"
    CHOSEN = "module"  # of any kind, that was named


_RELUS = (nn.ReLU, nn.ReLU6)
_RECTIFIERS = (
    nn.GELU,
    nn.SiLU,
    nn.Mish,
    nn.Hardswish,
    nn.LeakyReLU,
    nn.RReLU,
    nn.PReLU,
    nn.ELU,
    nn.SELU,
    nn.CELU,
    nn.Softplus,
)
_TWO_SIDED = (nn.Tanh, nn.Hardtanh, nn.Threshold, nn.Softsign, nn.Softshrink, nn.Hardshrink, nn.Tanhshrink, nn.GLU)

_NAMES = {
    Kind.RELU: "relu relu6",
    Kind.RECTIFIER: "gelu silu mish hardswish leaky_relu rrelu prelu elu selu celu softplus",
    Kind.TWO_SIDED: "tanh hardtanh threshold softsign softshrink hardshrink tanhshrink glu",
}
_ORDER = {"hardtanh": ("input", "min_val", "max_val"), "threshold": ("input", "threshold", "value")}  # of arguments


FUNCTIONS = {
    function: (name, kind)
    for kind, names in _NAMES.items()
    for name in names.split()
    for function in find_spellings(name)
}


def kind_of_call(function: Callable[..., Any], arguments: Sequence[Any], named: Mapping[str, Any]) -> Kind:
    """Return the kind of activation that a call of one of `FUNCTIONS` is, which its arguments may decide.

    Example:
        >>> kind_of_call(nn.functional.hardtanh, (torch.ones(2), 0.0, 6.0), {})
        <Kind.RELU: 'ReLU'>
        >>> kind_of_call(nn.functional.hardtanh, (torch.ones(2),), {})
        <Kind.TWO_SIDED: 'two-sided'>
    """
    name, kind = FUNCTIONS[function]
    if name in _ORDER and _is_relu({**dict(zip(_ORDER[name], arguments, strict=False)), **named}):
        return Kind.RELU
    return kind


def kind_of(module: nn.Module) -> Kind | None:
    """Return the kind of activation that a module is; None if it is none.

    Example:
        >>> kind_of(nn.GELU()), kind_of(nn.Dropout())
        (<Kind.RECTIFIER: 'rectifier'>, None)
    """
    if isinstance(module, nn.Hardtanh | nn.Threshold) and _is_relu(vars(module)):
        return Kind.RELU
    for kind, classes in {Kind.RELU: _RELUS, Kind.RECTIFIER: _RECTIFIERS, Kind.TWO_SIDED: _TWO_SIDED}.items():
        if isinstance(module, classes):
            return kind
    return _try_module(module)


def _is_relu(given: Mapping[str, Any]) -> bool:
    """Return whether a hardtanh, or a threshold, is 0 on one side."""
    if "value" in given:
        return bool(given["value"] == 0 and given["threshold"] >= 0)
    return bool(given.get("min_val", -1) == 0)


def find_activations(module: nn.Module, kinds: Iterable[Kind] | None = None) -> dict[str, nn.Module]:
    """Find the modules of a network that are activations of some kinds, by short names, see `short_names`.

    Example:
        >>> list(find_activations(nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.GELU()), [Kind.RELU]))
        ['1']
    """
    wanted = set(kinds or Kind)
    found = {name: child for name, child in module.named_modules() if kind_of(child) in wanted}
    return {short: found[name] for name, short in short_names(found).items()}


def find_relus(module: nn.Module, layers: Sequence[str] | None = None) -> dict[str, nn.Module]:
    """Find the modules of a network that `ActivationCounter` counts, by name, as far as they are seen before a call.

    A pattern chooses among the ReLUs. If it matches none, it chooses among the other activations, such as nn.GELU,
    nn.SiLU or nn.LeakyReLU. If it matches none of these either, it may be the whole name of a module of any kind.

    Args:
        module: any module.
        layers: patterns (`*`, `?`, `[abc]`) of the names to keep; None keeps all ReLUs and nothing else.

    Returns:
        The modules by their short names (see `short_names`), in the module's order.

    Raises:
        ValueError: if a pattern matches nothing.

    Example:
        >>> net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.ReLU(), nn.GELU())
        >>> list(find_relus(net)), list(find_relus(net, ["2", "3", "0"]))
        (['1', '2'], ['0', '2', '3'])
    """
    if layers is None:
        return find_activations(module, [Kind.RELU])
    chosen: dict[str, nn.Module] = {}
    for pattern in layers:
        found = _match_pattern(module, pattern)
        if not found:
            raise ValueError(describe_no_match(module, pattern))
        chosen |= found
    place = {child: number for number, child in enumerate(module.modules())}
    return dict(sorted(chosen.items(), key=lambda named: place[named[1]]))


def choose_layers(known: Mapping[str, Kind], layers: Sequence[str] | None) -> set[str]:
    """Choose which activations that a network has called are counted.

    Args:
        known: the kind of each, by name.
        layers: patterns, each of which chooses among the ReLUs, and if it matches none among the others; None chooses
            the ReLUs, or where there is none the rectifiers. Modules that were named are always chosen.

    Example:
        >>> sorted(choose_layers({"a.relu": Kind.RELU, "a.gelu": Kind.RECTIFIER}, None))
        ['a.relu']
        >>> sorted(choose_layers({"a.relu": Kind.RELU, "a.gelu": Kind.RECTIFIER}, ["*.gelu"]))
        ['a.gelu']
    """
    chosen = {name for name, kind in known.items() if kind is Kind.CHOSEN}
    relus = {name for name, kind in known.items() if kind is Kind.RELU}
    if layers is None:
        return chosen | (relus or {name for name, kind in known.items() if kind is Kind.RECTIFIER})
    for pattern in layers:
        matched = {name for name in known.keys() - chosen if fnmatchcase(name, pattern)}
        chosen |= matched & relus or matched
    return chosen


def find_named(module: nn.Module, layers: Sequence[str] | None) -> dict[nn.Module, str]:
    """Find the modules of other kinds whose outputs are counted since a pattern is their whole name.

    Raises:
        ValueError: if a pattern matches no module and cannot match a call of a function either.

    Example:
        >>> net = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
        >>> find_named(net, ["0", "1"])
        {Linear(in_features=2, out_features=2, bias=True): '0'}
    """
    named: dict[nn.Module, str] = {}
    for pattern in layers or ():
        found = _match_pattern(module, pattern)
        if not found and not _may_call(module, pattern):
            raise ValueError(describe_no_match(module, pattern))
        named |= {child: name for name, child in found.items() if kind_of(child) is None}
    return named


def name_calls(module: nn.Module) -> dict[nn.Module, str]:
    """Map each module to what stands before the names of the functions that it calls.

    It is its own name and a point, without a holder that all modules with weights are in, see `short_names`.

    Example:
        >>> list(name_calls(nn.ModuleDict({"net": nn.Sequential(nn.Linear(1, 1))})).values())
        ['', '', '0.']
    """
    named = {child: f"{name}." if name else "" for name, child in module.named_modules()}
    owners = [name for child, name in named.items() if any(True for _ in child.parameters(recurse=False))]
    holder = find_holder(owners)
    return {child: short_names([name, ""])[name].removeprefix(holder) for child, name in named.items()}


def describe_no_match(module: nn.Module, pattern: str, called: Iterable[str] = ()) -> str:
    """Return the text of the error for a pattern that matches nothing.

    Args:
        module: the network.
        pattern: that was given.
        called: names of the activations that it has called.
    """
    known = {
        "activations": list(called),
        "ReLUs": list(find_activations(module, [Kind.RELU])),
        "other activations": list(find_activations(module, [Kind.RECTIFIER, Kind.TWO_SIDED])),
        "modules": [name for name in _short_modules(module) if name],
    }
    what, names = next(((what, names) for what, names in known.items() if names), ("modules", []))
    return f"layers must match names of {what.removeprefix('other ')}, got {pattern!r}; there are: {', '.join(names)}"


def describe_none(module: nn.Module) -> str:
    """Return in one line why a network has nothing to count, and what to do about it.

    Example:
        >>> print(describe_none(nn.Linear(2, 2)).partition(";")[0])
        Linear has called no activation that is known, neither a module nor a function
    """
    name, others = type(module).__name__, find_activations(module, [Kind.TWO_SIDED])
    if others:
        kinds = Counter(type(child).__name__ for child in others.values())
        return (
            f"{name} has no activation that is near 0 on one side, but "
            f"{', '.join(f'{number} {kind}' for kind, number in kinds.items())}; to count where the outputs of these "
            f"are > 0, choose them by name: layers=['{next(iter(others))}'], or ['*'] for all"
        )
    return (
        f"{name} has called no activation that is known, neither a module nor a function; write a formula of its own "
        "as a module that does nothing else, or name the modules whose outputs are to be counted: layers=['name', ...]"
    )


def _match_pattern(module: nn.Module, pattern: str) -> Mapping[str, nn.Module]:
    for kinds in ([Kind.RELU], [Kind.RECTIFIER, Kind.TWO_SIDED]):
        if found := {n: child for n, child in find_activations(module, kinds).items() if fnmatchcase(n, pattern)}:
            return found
    every = _short_modules(module) | dict(module.named_modules())
    return {pattern: every[pattern]} if pattern in every else {}


def _may_call(module: nn.Module, pattern: str) -> bool:
    """Return whether a pattern would match the name of a call of some function."""
    functions = " ".join(_NAMES.values()).split()
    return any(fnmatchcase(f"{place}{name}", pattern) for place in name_calls(module).values() for name in functions)


def _short_modules(module: nn.Module) -> dict[str, nn.Module]:
    whole = dict(module.named_modules())
    return {short: whole[name] for name in whole for short in short_names([name]).values()}


@torch.no_grad()
def _try_module(module: nn.Module) -> Kind | None:
    """Try a copy of a module that has no parts, and no weight of more than one number, on numbers from -6 to 6."""
    is_ours = not type(module).__module__.startswith("torch.") and not isinstance(module, Metric)
    weights = (*module.parameters(), *module.buffers())
    if not is_ours or any(True for _ in module.children()) or any(weight.numel() != 1 for weight in weights):
        return None
    inputs = torch.linspace(-6, 6, 169).view(13, 13)
    try:
        with restored_libraries():
            call = deepcopy(module).forward  # without the hooks of others
            outputs, rows, columns = (call(part.clone()) for part in (inputs, inputs[:5], inputs[:, :5]))
            by_itself = torch.equal(outputs[:5], rows) and torch.equal(outputs[:, :5], columns)
            if not by_itself or outputs.shape != inputs.shape:
                return None
            flat = outputs.flatten().float()
    except Exception:  # whatever it needs, it is not called as an activation is
        return None
    negative, middle, positive = flat[:84], flat[98], flat[-1]  # below 0, at 1, at 6
    if not (positive > 0 and positive >= 1.5 * middle and negative.abs().max() <= positive / 2):
        return None
    return Kind.RELU if bool((negative == 0).all()) else Kind.RECTIFIER
