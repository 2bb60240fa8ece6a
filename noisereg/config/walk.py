"""The values of a configuration, each with its key."""

from collections.abc import Iterator
from typing import Any


def leaves(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Give each value that is neither a section nor a list, with its dotted key.

    Example:
        >>> list(leaves({"a": {"b": 1, "c": [2, {"d": 3}]}}))
        [('a.b', 1), ('a.c[0]', 2), ('a.c[1].d', 3)]
    """
    if isinstance(node, dict):
        for name, value in node.items():
            yield from leaves(value, f"{key}.{name}" if key else str(name))
    elif isinstance(node, list | tuple):
        for place, value in enumerate(node):
            yield from leaves(value, f"{key}[{place}]")
    else:
        yield key, node
