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
    while short and (holder := next((holder for holder in _HOLDERS if _all_begin(short.values(), holder)), "")):
        short = {name: shortened.removeprefix(holder) for name, shortened in short.items()}
    return short


def _all_begin(names: Iterable[str], holder: str) -> bool:
    return all(name.startswith(holder) for name in names)
