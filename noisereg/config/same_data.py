"""Whether a run's folder is asked for with the data that the run was begun on, by what tells data apart."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from noisereg.config.check import Settings
from noisereg.errors import ConfigError

Fingerprint = dict[str, Any]  # of data: what tells them from others, as plain values
LABEL_FILE = "label_file"  # of a fingerprint: what tells the file apart that the noise is read from
_MOST_NAMED = 4  # of differences in an error
_LONGEST = 80  # letters of a value there


def data_sources(settings: Settings) -> dict[str, Any]:
    """Return the parts of a configuration that the fingerprint of its data follows from.

    Example:
        >>> data_sources({"dataset": {"d": 60}, "noise": {"p": 1, "path": "labels.csv"}, "seed": 0})
        {'dataset': {'d': 60}, 'labels': 'labels.csv'}
    """
    return {"dataset": settings["dataset"], "labels": settings.get("noise", {}).get("path")}


def recorded_fingerprint(found: Mapping[str, Any], arm: str = "") -> Fingerprint:
    """Return the fingerprint of the data in a record, or of those of one arm; empty if there is none.

    Args:
        found: the contents of the record.
        arm: of the experiment that this is the record of; empty if it is of none.

    Raises:
        ConfigError: if it is no section of keys, as no run writes it.
    """
    part: Any = found.get("fingerprint", {})
    if arm and isinstance(part, dict):
        part = part.get(arm, {})
    if not isinstance(part, dict):
        raise ConfigError(f"the record is damaged: its fingerprint of the data must be a section of keys, got {part!r}")
    return part


def describe_other_data(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Describe in what data differ from others by their fingerprints; nothing if they are the same.

    Example:
        >>> describe_other_data({"images": 9, "classes": {"ant": 5, "bee": 4}}, {"images": 5, "classes": {"ant": 5}})
        'images was 9 and is 5, classes.bee is gone'
    """
    found = list(_differences(old, new, ""))
    more = f" and {len(found) - _MOST_NAMED} more" * (len(found) > _MOST_NAMED)
    return ", ".join(found[:_MOST_NAMED]) + more


def refuse_other_data(
    old: Mapping[str, Any], new: Mapping[str, Any], *, folder: Path, key: str = "hydra.run.dir"
) -> None:
    """Refuse data that are not those of the run in a folder.

    Args:
        old: fingerprint of the data of that run; empty if it is not known, as in records of older versions.
        new: fingerprint of the data that are wanted there.
        folder: of the run.
        key: of the configuration that names the folder, for the error.

    Raises:
        ConfigError: saying in what they differ.
    """
    if old and (words := describe_other_data(old, new)):
        raise ConfigError(
            f"{key}={folder} holds a run on other data ({words}); "
            "name another folder, or give the same data to go on with it"
        )


def check_recorded_data(
    found: Mapping[str, Any],
    arms: Mapping[str, Settings],
    fingerprint: Callable[[Settings], Fingerprint],
    *,
    folder: Path,
    key: str = "hydra.run.dir",
) -> str:
    """Refuse a folder that holds a run on other data.

    Args:
        found: the contents of its record.
        arms: the configuration of each arm by its name; if there are no arms, that of the run by the name "".
        fingerprint: reads that of the data of a configuration.
        folder: of the run.
        key: of the configuration that names the folder, for the error.

    Returns:
        Why the data cannot be read, and so not be compared; nothing if they are the same, or their fingerprint is not
        in the record.

    Raises:
        ConfigError: saying in what the data differ.
    """
    reason = ""
    for arm, settings in arms.items():
        if old := recorded_fingerprint(found, arm):
            try:
                new = fingerprint(settings)
            except ConfigError as error:
                reason = str(error)
            else:
                refuse_other_data(old, new, folder=folder, key=key)
    return reason


def _differences(old: Mapping[str, Any], new: Mapping[str, Any], place: str) -> Iterator[str]:
    """Yield in words each value that only one of two fingerprints has, or that differs."""
    for key in dict.fromkeys((*old, *new)):
        before, after = old.get(key), new.get(key)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            yield from _differences(before, after, f"{place}{key}.")
        elif key not in new:
            yield f"{place}{key} is gone"
        elif key not in old:
            yield f"{place}{key} is new"
        elif before != after:
            yield f"{place}{key} was {_in_words(before)} and is {_in_words(after)}"


def _in_words(value: Any) -> str:
    text = f"{len(value)} values" if isinstance(value, Mapping) else str(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
