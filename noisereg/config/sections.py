"""The sections of a configuration in plain values: the walk over them, and which class each builds."""

import ast
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path
from typing import Any


def walk(node: Any, key: str = "", *, into: tuple[type, ...] = (dict, list, tuple)) -> Iterator[tuple[str, Any]]:
    """Yield a part of a configuration and everything below it, a section or list before what it holds.

    Args:
        node: the part, as plain values.
        key: of the part.
        into: types of what is entered; a value of any other type is yielded whole.

    Example:
        >>> list(walk({"a": {"b": [1]}}))
        [('', {'a': {'b': [1]}}), ('a', {'b': [1]}), ('a.b', [1]), ('a.b[0]', 1)]
    """
    yield key, node
    if not isinstance(node, into):
        return
    if isinstance(node, dict):
        for name, value in node.items():
            yield from walk(value, f"{key}.{name}" if key else str(name), into=into)
    elif isinstance(node, list | tuple):
        for place, value in enumerate(node):
            yield from walk(value, f"{key}[{place}]", into=into)


def leaves(node: Any, *, into: tuple[type, ...] = (dict, list, tuple)) -> Iterator[tuple[str, Any]]:
    """Yield the dotted key and the value of each value that is neither a section nor, unless these are whole, a list.

    Example:
        >>> list(leaves({"a": {"b": 1, "c": [2, {"d": 3}]}}))
        [('a.b', 1), ('a.c[0]', 2), ('a.c[1].d', 3)]
        >>> list(leaves({"a": {"b": 1, "c": [2, {"d": 3}]}}, into=(dict,)))
        [('a.b', 1), ('a.c', [2, {'d': 3}])]
    """
    return ((name, value) for name, value in walk(node, into=into) if not isinstance(value, into))


def is_below(name: str, other: str) -> bool:
    """Return whether a dotted name, of a key or of an object, is another one or lies below it.

    Example:
        >>> is_below("mine.net.Net", "mine"), is_below("miner.Net", "mine")
        (True, False)
    """
    return name == other or name.startswith(f"{other}.")


def built_sections(node: Any, key: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each section that has a `_target_`, however deep it lies, with its key.

    Example:
        >>> list(built_sections({"model": {"parts": [{"_target_": "os.system"}]}}))
        [('model.parts[0]', {'_target_': 'os.system'})]
    """
    return ((name, value) for name, value in walk(node, key) if isinstance(value, dict) and "_target_" in value)


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
