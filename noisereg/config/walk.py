"""The walk over a nested configuration: everything in it, with its dotted key."""

from collections.abc import Iterator
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


def leaves(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted key and the value of each value that is neither a section nor a list.

    Example:
        >>> list(leaves({"a": {"b": 1, "c": [2, {"d": 3}]}}))
        [('a.b', 1), ('a.c[0]', 2), ('a.c[1].d', 3)]
    """
    return ((name, value) for name, value in walk(node, key) if not isinstance(value, dict | list | tuple))


def is_below(name: str, other: str) -> bool:
    """Return whether a dotted name, of a key or of an object, is another one or lies below it.

    Example:
        >>> is_below("mine.net.Net", "mine"), is_below("miner.Net", "mine")
        (True, False)
    """
    return name == other or name.startswith(f"{other}.")
