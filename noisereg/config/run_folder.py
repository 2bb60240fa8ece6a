"""A run's folder: it holds one run, told apart from others by what can change its result, and one process at a time."""

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noisereg.config.check import ComposedRun, Settings
from noisereg.config.same_run import (
    Fingerprint,
    check_recorded_data,
    describe_changes,
    differing,
    is_longer,
    why_not_longer,
)
from noisereg.errors import ConfigError
from noisereg.files.disk import check_writable, existing_folder
from noisereg.files.lock import LOCK, locked
from noisereg.files.reading import read_file

RECORD = "result.json"
CURVES, ANALYSIS, FIRES = _RESULTS = ("metrics.csv", "analysis.npz", "fires.npz")  # what a report reads besides
REPLICAS = "replicas"  # folder of single replicas, each in a folder of its own below that of their run
STATUSES = ("finished", "failed", "stopped", "running")
_KINDS: dict[str, tuple[type, ...]] = {  # of what is read of a record by who goes on with its run
    "config": (dict,),
    "environment": (dict,),
    "fingerprint": (dict,),
    "replicas": (list,),
    "reason": (str,),
    "data": (str,),
    "seconds": (int, float),
    "steps": (int,),
}
_LONGEST = 80  # letters of a value in an error
_WRITTEN = (".hydra", "checkpoints", "figures", REPLICAS)  # folders of a run that are its own
_LEFT_AT_THE_START = re.compile(
    r"\.hydra/(config|hydra|overrides)\.yaml|\w+\.log|([\w.-]+/)?(\.lock|\.reason-of-process-\d+)"
)


def arm_names(config: Mapping[str, Any]) -> list[str]:
    """Return the names of an experiment's arms, each of which has a folder in the run's; none of a run without.

    Example:
        >>> arm_names({"experiment": {"arms": {"noise": ["noise.p=0.2"], "../x": [], "a\\0": []}}})
        ['noise']
    """
    experiment = config.get("experiment")
    arms = experiment.get("arms") if isinstance(experiment, Mapping) else None
    names = map(str, arms) if isinstance(arms, Mapping) else ()
    return [name for name in names if name == Path(name).name != ".." and "\0" not in name]


def result_digests(folder: Path, config: Mapping[str, Any]) -> dict[str, str]:
    """Return the SHA-256 digest of each file that a report reads beside the record, those of the arms too."""
    return {name: _digest(folder / name) for name in _result_names(config) if (folder / name).is_file()}


def load_record(path: Path) -> dict[str, Any]:
    """Return the contents of a result.json, whatever its parts are.

    Raises:
        OSError: if it cannot be read, or is no file.
        ValueError: if it is no section of keys.
    """
    try:
        found = json.loads(read_file(path))
    except RecursionError as error:
        raise ValueError(str(error)) from None
    if not isinstance(found, dict):
        raise ValueError("it is no section of keys")
    return found


def _check_kinds(found: dict[str, Any]) -> None:
    """Refuse a record whose parts are not of their kinds, which would be a traceback somewhere else."""
    if found.get("status", "running") not in STATUSES:
        raise ValueError(f"its status must be one of {', '.join(STATUSES)}, got {found['status']!r}")
    for key, kinds in _KINDS.items():
        if key in found and not isinstance(found[key], kinds):
            raise TypeError(f"its {key} is {found[key]!r}"[:_LONGEST])


def damaged_results(folder: Path, record: Mapping[str, Any]) -> list[str]:
    """Return which files are no longer what a finished run has left; one that was taken away is none of them.

    Args:
        folder: of the run.
        record: the contents of result.json; one of an older version has no digests, and nothing to compare.
    """
    config, digests = record.get("config"), record.get("digests")
    if record.get("status") != "finished" or not (isinstance(config, Mapping) and isinstance(digests, Mapping)):
        return []
    there = [name for name in _result_names(config) if name in digests and (folder / name).exists()]
    return [name for name in there if not (folder / name).is_file() or _digest(folder / name) != digests[name]]


def _result_names(config: Mapping[str, Any]) -> list[str]:
    return [str(Path(arm) / name) for arm in ("", *arm_names(config)) for name in _RESULTS]


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_record(folder: Path, config: dict[str, Any], *, key: str = "hydra.run.dir") -> dict[str, Any]:
    """Read the record of the run in a folder.

    Args:
        folder: of the run.
        config: the whole configuration of the run that is wanted there.
        key: of the configuration that names the folder, for the error.

    Returns:
        The contents of result.json; empty if there is none. Of a finished run whose files are no longer what it has
        left, the status is "damaged", and `damaged` names them. Of one of fewer epochs that can go on it is "shorter",
        and of one that was killed while its figures were drawn "running".

    Raises:
        ConfigError: if another configuration was started there, or one of fewer epochs that cannot go on, or the record
            cannot be read.
    """
    path = folder / RECORD
    if not path.exists():
        return {}
    try:
        found = load_record(path)
        _check_kinds(found)
        old = found["config"]
        was, now = differing(old, config)
        longer = is_longer(was, now)
        obstacle = why_not_longer(old, was | now) if longer else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{path} cannot be read ({reason}): delete it, or name another folder") from None
    if obstacle:
        raise ConfigError(
            f"{key}={folder} holds a run of {old['trainer']['max_epochs']} epochs, which cannot go on to "
            f"{config['trainer']['max_epochs']} as one of that length: {obstacle}; name another folder"
        )
    if longer:
        return {**found, "status": "shorter"}
    if was or now:
        raise ConfigError(
            f"{key}={folder} holds a run of another configuration ({describe_changes(was, now)}); "
            "name another folder, or give the same values to go on with it"
        )
    if damaged := damaged_results(folder, found):
        return {**found, "status": "damaged", "damaged": damaged}
    return found if found.get("drawn", True) else {**found, "status": "running"}


@dataclass(frozen=True)
class RunFolder:
    """The folder that a single run is to have.

    Attributes:
        path: of it.
        arm: of an experiment that the run is, which has a folder of its own in it; empty if it is none.
        composed: what is run in it.
        is_numbered: whether another folder beside it is taken if it exists: the user has named none.
    """

    path: Path
    arm: str
    composed: ComposedRun
    is_numbered: bool

    @contextmanager
    def claimed(self, fingerprint: Callable[[Settings], Fingerprint]) -> Iterator[Path]:
        """Keep the folder for this process, from before the first file is written in it.

        It is removed again if the run ends early and has left nothing there that is of use.

        Args:
            fingerprint: reads that of the data of a configuration; asked for if the folder holds a run.

        Returns:
            The folder that the run has got.

        Raises:
            ConfigError: if another process has it, or it holds a run of another configuration or on other data.
        """
        path = _make_numbered(self.path) if self.is_numbered else self.path
        with locked(path / self.arm):
            found = read_record(path / self.arm, self.composed.settings)
            check_recorded_data(found, self.composed.arms, fingerprint, folder=path / self.arm)
            try:
                yield path
            except BaseException:
                remove_refused_folder(path)
                raise


def _make_numbered(path: Path) -> Path:
    """Make a folder that did not exist: of this name, or with the first number that is free."""
    place, number = path, 1
    while True:
        try:
            place.mkdir(parents=True)
            return place
        except FileExistsError:
            number += 1
            place = path.with_name(f"{path.name}-{number}")


def check_writable_folder(folder: Path, *, key: str) -> None:
    """Refuse a folder in which nothing can be written, or below which, if it does not exist; it is not made.

    Raises:
        ConfigError: with the reason that the system gives.
    """
    existing = existing_folder(folder)
    try:
        check_writable(existing, num_bytes=0)
    except OSError as error:
        reason = error.strerror or error
        raise ConfigError(f"{key}={folder} cannot be written to ({existing}: {reason}); name another folder") from None


def check_links(folder: Path, *, key: str, parts: Iterable[Path] = ()) -> None:
    """Refuse a folder in which a link leads out of it where a run writes: a stranger would have chosen where.

    Args:
        folder: of a run or a sweep; one that does not exist has no links.
        key: of the configuration that names the folder, for the error.
        parts: folders of arms and of jobs, which are written as it is.

    Raises:
        ConfigError: naming the link.
    """
    root = os.path.realpath(folder)
    for path in (path for place in (folder, *parts) for path in (place, *_places_of_a_run(place))):
        if path != folder and path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(root):
            name = path.relative_to(folder) if path.is_relative_to(folder) else path
            raise ConfigError(
                f"{key}={folder} has a link that leads out of it, {name}; remove it, or name another folder"
            )


def _places_of_a_run(folder: Path) -> Iterator[Path]:
    """Yield the files that are written in place in a run's folder, the folders in it, and what is in those of ours."""
    yield from (folder / LOCK, folder / "wandb", *folder.glob("*.log"))
    for part in _WRITTEN:
        yield folder / part
        for place, folders, files in os.walk(folder / part):
            yield from (Path(place, name) for name in (*folders, *files))


def check_unlocked(folder: Path, *, key: str) -> None:
    """Refuse a folder that another process writes in; nothing is written there.

    Raises:
        ConfigError: naming the process.
    """
    if (folder / LOCK).exists():
        with locked(folder, key=key):
            pass


def remove_refused_folder(folder: Path) -> None:
    """Remove the folder of a run that was refused, with what Hydra and the lock left, if it holds nothing else.

    Args:
        folder: of the run, which this process keeps locked.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with locked(Path(folder) / "run"):
        ...         remove_refused_folder(Path(folder) / "run")
        ...     list(Path(folder).iterdir())
        []
    """
    if not folder.is_dir():
        return
    files = []
    for path in folder.rglob("*"):
        if path.is_symlink() or not path.is_dir():
            if not _LEFT_AT_THE_START.fullmatch(str(path.relative_to(folder))):
                return
            files.append(path)
    for path in files:
        path.unlink()
    made = [path for path in folder.absolute().parents if Path.cwd() in path.parents]  # outputs and its day
    for place in (*sorted(folder.rglob("*"), reverse=True), folder, *made):
        if place == Path.cwd() or place.is_symlink() or any(place.iterdir()):
            return
        place.rmdir()
