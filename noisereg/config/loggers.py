"""Where the curves of a run go, and what must be installed for that."""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from noisereg.config.overrides import parse_overrides
from noisereg.errors import ConfigError

EXTRAS = ("tensorboard", "trackio", "mlflow")  # each a key of `logger`, a package, and an extra of ours by one name


def check_loggers(asked: Mapping[str, Any], overrides: Sequence[str]) -> None:
    """Refuse a logger whose package is not installed, and `none` beside another one.

    Args:
        asked: the section `logger` of the configuration.
        overrides: of the command line.

    Raises:
        ConfigError: naming what to install.

    Example:
        >>> check_loggers({"csv": True, "wandb": False}, ["logger=csv"])
        >>> check_loggers({"csv": False}, ["logger=[none,csv]"])
        Traceback (most recent call last):
        noisereg.errors.ConfigError: logger=[none,csv]: none stands alone
    """
    for override in parse_overrides(overrides):
        names = override.value()
        if override.key_or_group == "logger" and isinstance(names, list) and "none" in names and len(names) > 1:
            raise ConfigError(f"{override.input_line}: none stands alone")
    for name in EXTRAS:
        if asked.get(name) and not _is_installed(name):
            raise ConfigError(f"logger={name} is not installed: pip install 'noisereg[{name}]'")


def _is_installed(name: str) -> bool:
    """Return whether there is a package of a name, and not only a folder, as a run may have left one."""
    spec = find_spec(name)
    return bool(spec and spec.origin)
