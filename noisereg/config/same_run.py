"""What tells a run from another: its configuration, but for what cannot change a result, and its data."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from noisereg.config.check import Settings
from noisereg.config.sections import is_below, leaves, same_target, target_name
from noisereg.errors import ConfigError

Fingerprint = dict[str, Any]  # of data: what tells them from others, as plain values
LABEL_FILE = "label_file"  # of a fingerprint: what tells the file apart that the noise is read from
# What cannot change a result. `threads` and `compile` are not among it: the order in which numbers are added decides
# their last bits.
WITHOUT_EFFECT = (
    "logger",
    "suggested",  # what other keys take from it stands in those
    "arm",  # what an arm says stands in the other keys
    "trust",  # it permits and chooses nothing
    "time_limit",  # a run that is stopped goes on to the same result
    "workers",  # each trains a replica as one process would; what counts is the number of threads
    "dataset.root",  # the same data may lie elsewhere on another machine; their fingerprint tells them from others
    "dataset.workers",  # each sample's draws depend on the sample, not on the process that loads it
)
_FILE_LABELS, _LABEL_PATH = "noisereg.noise.FileLabels", "noise.path"  # as with dataset.root, for that rule
_LENGTH = "trainer.max_epochs"
_OF_ANY_LENGTH = ("noisereg.noise.Constant", "noisereg.noise.SquareWave")  # their factor in an epoch
_MOST_NAMED = 4  # of differences in an error
_LONGEST = 80  # letters of a value there


def result_settings(config: dict[str, Any]) -> dict[str, Any]:
    """Return the values of a configuration that can change the result of its run, by dotted key.

    Example:
        >>> result_settings({"noise": {"p": [0, 0.2]}, "dataset": {"d": 60, "workers": 4}, "logger": {"csv": True}})
        {'noise.p': [0, 0.2], 'dataset.d': 60}
        >>> result_settings({"optimizer": {"momentum": 0.0}})  # one value, however it is written
        {'optimizer.momentum': 0}
    """
    left_out = (*WITHOUT_EFFECT, _LABEL_PATH) if label_path(config) else WITHOUT_EFFECT
    return {
        key: json.loads(json.dumps(value), parse_float=_number)
        for key, value in leaves(config, into=(dict,))
        if not any(is_below(key, part) for part in left_out)
    }


def _number(text: str) -> float:
    number = float(text)
    return int(number) if number.is_integer() else number


def label_path(config: Mapping[str, Any]) -> str | None:
    """Return the path of the file that a run takes its labels from; None if it takes them from none.

    Example:
        >>> label_path({"noise": {"_target_": "noisereg.noise.FileLabels", "path": "labels.csv"}})
        'labels.csv'
    """
    noise = config.get("noise")
    target = noise.get("_target_") if isinstance(noise, Mapping) else None
    if not (isinstance(noise, Mapping) and isinstance(target, str) and same_target(target, _FILE_LABELS)):
        return None
    return noise.get("path")


def differing(old: dict[str, Any], new: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the values in which two configurations differ, but for those that cannot change a result.

    Args:
        old: configuration, nested or by dotted keys.
        new: another one.

    Returns:
        Those of the old one and those of the new one, by dotted key; `describe_changes` has them in words.

    Example:
        >>> differing({"seed": 0, "logger": {"csv": True}}, {"seed": 1, "logger": {"csv": False}})
        ({'seed': 0}, {'seed': 1})
    """
    was, now = result_settings(old), result_settings(new)
    keys = [key for key in sorted(was | now) if was.get(key) != now.get(key)]
    return {key: was[key] for key in keys if key in was}, {key: now[key] for key in keys if key in now}


def identity(config: dict[str, Any]) -> str:
    """Return the name that a run shares with all runs of its configuration: a hash of what can change a result.

    Example:
        >>> identity({"seed": 0, "logger": {"csv": True}}) == identity({"seed": 0, "logger": {"csv": False}})
        True
        >>> identity({"seed": 0})
        '13a531b1b6ba1931'
    """
    return hashlib.sha256(json.dumps(sorted(result_settings(config).items())).encode()).hexdigest()[:16]


def is_longer(was: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Return whether a configuration is another one for more epochs, with what of the scheduler follows from that.

    Args:
        was: the values of the configuration that a run was begun with which differ, as `differing` returns them.
        now: those of the one that is wanted.

    Example:
        >>> is_longer({"trainer.max_epochs": 5}, {"trainer.max_epochs": 9})
        True
        >>> is_longer({"seed": 0, "trainer.max_epochs": 5}, {"seed": 1, "trainer.max_epochs": 9})
        False
    """
    if not all(key.startswith((_LENGTH, "scheduler.")) for key in (*was, *now)):
        return False
    return _LENGTH in was and _LENGTH in now and was[_LENGTH] < now[_LENGTH]


def why_not_longer(old: Mapping[str, Any], keys: Iterable[str]) -> str | None:
    """Return why a run cannot go on for more epochs as if these had been asked for from the start; None if it can."""
    schedule, trainer = old["noise"]["schedule"], old["trainer"]
    end = trainer["max_epochs"]
    every = {
        "callbacks.sparsity.every_n_epochs": old["callbacks"].get("sparsity", {}).get("every_n_epochs", 1),
        "trainer.check_val_every_n_epoch": trainer.get("check_val_every_n_epoch", 1),
    }
    if others := [key for key in keys if key != _LENGTH]:
        return f"{others[0]} follows the length"
    if not any(same_target(schedule, name) for name in _OF_ANY_LENGTH):
        return f"noise.schedule {target_name(schedule)} follows the length"
    if trainer["max_steps"] >= 0:
        return f"trainer.max_steps={trainer['max_steps']} ends it"
    if old["experiment"].get("arms"):
        return "the arms of an experiment have lengths of their own"
    for key, number in every.items():
        if end % number:
            return f"epoch {end} is between two evaluations of the longer one ({key}={number})"
    return None


def data_sources(settings: Settings) -> dict[str, Any]:
    """Return the parts of a configuration that the fingerprint of its data follows from.

    Example:
        >>> data_sources({"dataset": {"d": 60}, "noise": {"p": 1, "path": "labels.csv"}, "seed": 0})
        {'dataset': {'d': 60}, 'labels': 'labels.csv'}
    """
    return {"dataset": settings["dataset"], "labels": settings.get("noise", {}).get("path")}


def recorded_fingerprint(found: Mapping[str, Any], arm: str = "") -> Fingerprint:
    """Return the fingerprint of the data in a record, or of those of one arm; empty if there is none.

    Raises:
        ConfigError: if it is no section of keys, as no run writes it.
    """
    part: Any = found.get("fingerprint", {})
    if arm and isinstance(part, dict):
        part = part.get(arm, {})
    if not isinstance(part, dict):
        raise ConfigError(f"the record is damaged: its fingerprint of the data must be a section of keys, got {part!r}")
    return part


def describe_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Describe in what plain values differ from others, such as fingerprints; nothing if they are the same.

    Example:
        >>> describe_changes({"images": 9, "classes": {"ant": 5, "bee": 4}}, {"images": 5, "classes": {"ant": 5}})
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
    if old and (words := describe_changes(old, new)):
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
        arms: the configuration of each part of the run, see `ComposedRun`.
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
    """Yield in words each value that only one of the two has, or that differs."""
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
