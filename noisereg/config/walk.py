"""The values of a configuration, each with its key."""

from collections.abc import Iterator
from typing import Any


def leaves(node: Any, key: str = "", *, whole_lists: bool = False) -> Iterator[tuple[str, Any]]:
    """Return each value that is neither a section nor a list, with its dotted key.

    Args:
        node: a configuration as plain values, or a part of it.
        key: of the part.
        whole_lists: whether a list is one value.

    Example:
        >>> list(leaves({"a": {"b": 1, "c": [2, {"d": 3}]}}))
        [('a.b', 1), ('a.c[0]', 2), ('a.c[1].d', 3)]
        >>> list(leaves({"p": [0, 0.2]}, whole_lists=True))
        [('p', [0, 0.2])]
    """
    if isinstance(node, dict):
        for name, value in node.items():
            yield from leaves(value, f"{key}.{name}" if key else str(name), whole_lists=whole_lists)
    elif isinstance(node, list | tuple) and not whole_lists:
        for place, value in enumerate(node):
            yield from leaves(value, f"{key}[{place}]")
    else:
        yield key, node
