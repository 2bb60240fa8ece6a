"""A run's folder: it holds one run, and one process at a time writes there."""

import hashlib
import json
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

from noisereg.config.walk import leaves
from noisereg.errors import ConfigError

RECORD = "result.json"
_LEFT_AT_THE_START = re.compile(r"\.hydra/(config|hydra|overrides)\.yaml|\w+\.log|([\w.-]+/)?\.lock")
_WITHOUT_EFFECT = ("logger", "suggested", "arm", "trust", "dataset.root", "dataset.workers")


def result_settings(config: dict[str, Any]) -> dict[str, Any]:
    """Return the values of a configuration that can change the result of its run, by dotted key.

    Example:
        >>> result_settings({"noise": {"p": [0, 0.2]}, "dataset": {"d": 60, "workers": 4}, "logger": {"csv": True}})
        {'noise.p': [0, 0.2], 'dataset.d': 60}
    """
    values = leaves(config, whole_lists=True)
    return {key: json.loads(json.dumps(value)) for key, value in values if not is_within(key, _WITHOUT_EFFECT)}


def is_within(key: str, sections: Collection[str]) -> bool:
    """Return whether a dotted key is one of some keys, or lies in one of these sections.

    Example:
        >>> is_within("dataset.root", ["dataset.root"]), is_within("seeds", ["seed"]), is_within("a.b.c", ["a.b"])
        (True, False, True)
    """
    return any(key == section or key.startswith(f"{section}.") for section in sections)


def differing(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Name the keys in which two configurations differ, but for those that cannot change a result.

    Example:
        >>> differing({"seed": 0, "logger": {"csv": True}}, {"seed": 1, "logger": {"csv": False}})
        ['seed']
    """
    old_values, new_values = result_settings(old), result_settings(new)
    keys = sorted(old_values.keys() | new_values.keys())
    return [key for key in keys if old_values.get(key) != new_values.get(key)]


def identity(config: dict[str, Any]) -> str:
    """Give a run the name that it shares with all runs of the same result: a hash of what can change that.

    Example:
        >>> identity({"seed": 0, "logger": {"csv": True}}) == identity({"seed": 0, "logger": {"csv": False}})
        True
        >>> identity({"seed": 0})
        '13a531b1b6ba1931'
    """
    return hashlib.sha256(json.dumps(sorted(result_settings(config).items())).encode()).hexdigest()[:16]


def read_record(folder: Path, config: dict[str, Any], *, key: str = "hydra.run.dir") -> dict[str, Any]:
    """Read what is known of the run in a folder.

    Args:
        folder: of the run.
        config: the whole configuration of the run that is wanted there.
        key: of the configuration that names the folder, for the error.

    Returns:
        The contents of result.json; empty if there is none.

    Raises:
        ConfigError: if another configuration was started there, or the record cannot be read.
    """
    path = folder / RECORD
    if not path.exists():
        return {}
    try:
        found = json.loads(path.read_text())
        keys = differing(found["config"], config)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{path} cannot be read ({reason}): delete it, or name another folder") from None
    if keys:
        raise ConfigError(
            f"{key}={folder} holds a run of another configuration ({', '.join(keys[:3])} differ); "
            "name another folder, or give the same values to go on with it"
        )
    return found


def clear(folder: Path) -> None:
    """Take away the folder of a run that was refused, with what Hydra and the lock left, if it holds nothing else.

    Args:
        folder: of the run, which this process keeps locked.

    Example:
        >>> import tempfile
        >>> from noisereg.files.lock import locked
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with locked(Path(folder) / "run"):
        ...         clear(Path(folder) / "run")
        ...     list(Path(folder).iterdir())
        []
    """
    files = []
    for path in folder.rglob("*"):
        if path.is_symlink() or not path.is_dir():
            if not _LEFT_AT_THE_START.fullmatch(str(path.relative_to(folder))):
                return
            files.append(path)
    for path in files:
        path.unlink()
    made = [path for path in folder.parents if Path.cwd() in path.parents]  # outputs and its day
    for place in (*sorted(folder.rglob("*"), reverse=True), folder, *made):
        if place == Path.cwd() or place.is_symlink() or any(place.iterdir()):
            return
        place.rmdir()
