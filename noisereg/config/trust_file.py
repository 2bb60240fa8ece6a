"""`noisereg.toml` in the folder where a command is given: the packages that all commands of a project trust."""

import os
import re
import stat
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from noisereg.config.check import suggest_name
from noisereg.config.overrides import parse_overrides
from noisereg.config.run_folder import RECORD
from noisereg.errors import ConfigError

TRUST_FILE = "noisereg.toml"
_KEYS = ("trust",)
_PACKAGE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_LARGEST = 2**16  # bytes


def with_project_trust(arguments: Sequence[str], overrides: Sequence[str]) -> list[str]:
    """Return a command line with the packages that `noisereg.toml` trusts, unless it names its own.

    The file counts in the working directory alone: never in the folder of a run or of data, nor in one above.

    Raises:
        ConfigError: if the file is another user's, can be written by others, is no regular file, lies with a run or
            with the data, or cannot be read.

    Example:
        >>> with_project_trust(["seed=1", "trust=[]"], ["seed=1", "trust=[]"])
        ['seed=1', 'trust=[]']
    """
    given = parse_overrides(overrides)
    if any(override.key_or_group == "trust" for override in given):
        return list(arguments)
    packages = project_trust([str(override.value()) for override in given if override.key_or_group == "dataset.root"])
    return [*arguments, *([f"trust=[{','.join(packages)}]"] if packages else [])]


def project_trust(roots: Sequence[Path | str]) -> list[str]:
    """Return the packages that `noisereg.toml` of the working directory trusts; none if there is no such file.

    Args:
        roots: folders of data, in which it may not lie.

    Raises:
        ConfigError: as `with_project_trust`.
    """
    if not os.path.lexists(TRUST_FILE):
        return []
    here = Path.cwd()
    if (here / RECORD).exists() or (here / ".hydra").exists():
        raise ConfigError(f"{TRUST_FILE} lies in {here}, the folder of a run, where it counts for nothing; remove it")
    if any(Path(root).expanduser().resolve() == here.resolve() for root in roots):
        raise ConfigError(f"{TRUST_FILE} lies in {here}, the folder of data, where it counts for nothing; remove it")
    return _read_packages()


def _read_packages() -> list[str]:
    """Read the names in the file, once it is known to be the user's own."""
    try:
        # no link is followed, and no pipe is waited for
        with open(
            TRUST_FILE, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK)
        ) as file:
            _check_owned(os.fstat(file.fileno()))
            found = tomllib.loads(file.read(_LARGEST).decode())
    except ConfigError:
        raise
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"{TRUST_FILE} cannot be read ({reason})") from None
    if unknown := [key for key in found if key not in _KEYS]:
        hint = suggest_name(unknown[0], _KEYS)
        raise ConfigError(f"{TRUST_FILE} has {unknown[0]}: it can hold {', '.join(_KEYS)}{hint}")
    names: Any = found.get("trust", [])
    if not isinstance(names, list) or not all(isinstance(name, str) and _PACKAGE.fullmatch(name) for name in names):
        raise ConfigError(f'{TRUST_FILE}: trust must be a list of packages such as ["mypkg"], got {names!r}')
    return names


def _check_owned(found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise ConfigError(f"{TRUST_FILE} is no regular file")
    if found.st_uid != os.geteuid():
        raise ConfigError(f"{TRUST_FILE} belongs to another user (uid {found.st_uid}): nothing is trusted; remove it")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ConfigError(f"{TRUST_FILE} can be written by others: nothing is trusted; chmod go-w {TRUST_FILE}")
