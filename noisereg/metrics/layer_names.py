"""Names of layers as they appear in the names of metrics."""

from collections.abc import Iterable

_HOLDERS = ("model.", "net.")
_COMPILED = "_orig_mod."


def short_names(names: Iterable[str]) -> dict[str, str]:
    """Map dotted names to shorter ones, which are the same whatever holds the network.

    The mark that torch.compile leaves in a name goes. A leading "model." or "net." goes if all names begin with it,
    as it then says nothing, and so does the next one.

    Example:
        >>> short_names(["model.layer1.0.relu", "model.relu"])
        {'model.layer1.0.relu': 'layer1.0.relu', 'model.relu': 'relu'}
        >>> short_names(["model.relu", "head.relu"])
        {'model.relu': 'model.relu', 'head.relu': 'head.relu'}
    """
    short = {name: name.replace(_COMPILED, "") for name in names}
    holder = find_holder(short.values())
    return {name: shortened.removeprefix(holder) for name, shortened in short.items()}


def find_holder(names: Iterable[str]) -> str:
    """Return the "model." or "net." that all names begin with, with the next one behind it; "" if there is none.

    Example:
        >>> find_holder(["net.relu", "net.fc"]), find_holder(["net.relu", "fc"])
        ('net.', '')
    """
    whole = ""
    rest = [name.replace(_COMPILED, "") for name in names]
    while rest and (holder := next((start for start in _HOLDERS if all(name.startswith(start) for name in rest)), "")):
        whole += holder
        rest = [name.removeprefix(holder) for name in rest]
    return whole
