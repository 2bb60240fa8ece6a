"""The targets of a configuration: the names of the classes that its parts build, and which class a name stands for."""

import ast
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from noisereg.config.walk import walk


def targets(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the key of each section that has a `_target_`, however deep it lies, with the value of that.

    Example:
        >>> list(targets({"model": {"parts": [{"_target_": "os.system"}]}}))
        [('model.parts[0]', 'os.system')]
    """
    for name, value in walk(node, key):
        if isinstance(value, dict) and "_target_" in value:
            yield name, value["_target_"]


def target_name(section: dict[str, Any]) -> str:
    """Return the name of the class or function that a part of the configuration builds, without its modules.

    Example:
        >>> target_name({"_target_": "noisereg.models.TwoLayer", "hidden": 3})
        'TwoLayer'
    """
    return section["_target_"].rpartition(".")[2]


def same_target(target: dict[str, Any] | str, name: str) -> bool:
    """Return whether a part of the configuration builds a certain class, by whichever of its names.

    Args:
        target: the part, or the value of its `_target_`.
        name: dotted name of the class; any of those that it can be imported by.

    Example:
        >>> same_target("torch.optim.sgd.SGD", "torch.optim.SGD")
        True
        >>> same_target({"_target_": "noisereg.models.two_layer.TwoLayer"}, "noisereg.models.Neuron")
        False
    """
    given = target["_target_"] if isinstance(target, dict) else target
    return defining_name(given) == defining_name(name)


def model_name(section: dict[str, Any]) -> str:
    """Return what a network is called: its class, with its depth or its name where that is of many networks.

    Example:
        >>> model_name({"_target_": "noisereg.models.ResNet", "depth": 20})
        'ResNet-20'
        >>> model_name({"_target_": "noisereg.models.torchvision_model", "name": "vgg11_bn"})
        'vgg11_bn'
        >>> model_name({"_target_": "noisereg.models.MLP"})
        'MLP'
    """
    if same_target(section, "noisereg.models.ResNet") and "depth" in section:
        return f"ResNet-{section['depth']}"
    if same_target(section, "noisereg.models.torchvision_model") and "name" in section:
        return str(section["name"])
    return target_name(section)


@cache
def defining_name(name: str) -> str:
    """Return the name of an object in the module that defines it, read from the source: nothing is imported.

    So the command line is checked before torch is loaded, and no code of a name that is not allowed is run.

    Args:
        name: dotted name by which the object can be imported.

    Returns:
        The name in the defining module; the given one where no import there has the object's name, as one of `*`.

    Example:
        >>> defining_name("torch.optim.SGD")
        'torch.optim.sgd.SGD'
    """
    passed: list[str] = []
    while name not in passed:  # a circle of imports defines nothing
        passed.append(name)
        with suppress(ValueError, SyntaxError, OSError):  # a module without a source, or a faulty one
            name = _follow_import(name)
    return name


def _follow_import(name: str) -> str:
    """Return the name that a module imports an object by; the same name if it does not import it."""
    spec, rest = find_spec(name.partition(".")[0]), name.split(".")[1:]
    while rest and spec and spec.submodule_search_locations is not None:
        inner = PathFinder.find_spec(f"{spec.name}.{rest[0]}", list(spec.submodule_search_locations))
        if inner is None:
            break
        spec, rest = inner, rest[1:]
    if not (rest and spec and spec.origin and spec.origin.endswith(".py")):
        return name
    for statement in ast.parse(Path(spec.origin).read_bytes()).body:
        if isinstance(statement, ast.ImportFrom) and statement.module and not statement.level:
            for alias in statement.names:
                if rest[0] == (alias.asname or alias.name):
                    return ".".join([statement.module, alias.name, *rest[1:]])
    return name
