"""Names of layers as they appear in the names of metrics."""

from collections.abc import Iterable

_HOLDERS = ("model.", "net.")
_COMPILED = "_orig_mod."


def short_names(names: Iterable[str]) -> dict[str, str]:
    """Map the dotted names of layers to shorter ones.

    The mark that torch.compile leaves in a name goes. A leading "model." or "net." goes if all names begin with it,
    as it then says nothing.

    Example:
        >>> short_names(["model.layer1.0.relu", "model.relu"])
        {'model.layer1.0.relu': 'layer1.0.relu', 'model.relu': 'relu'}
        >>> short_names(["model.relu", "head.relu"])
        {'model.relu': 'model.relu', 'head.relu': 'head.relu'}
    """
    short = {name: name.replace(_COMPILED, "") for name in names}
    for holder in _HOLDERS:
        if all(name.startswith(holder) for name in short.values()):
            return {name: shortened.removeprefix(holder) for name, shortened in short.items()}
    return short
