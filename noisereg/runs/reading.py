"""Runs as their folders keep them: the record, the curves, the arrays. What is not there is empty."""

import hashlib
import io
import json
import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int64

from noisereg.config.run_folder import (
    ANALYSIS,
    CURVES,
    FIRES,
    RECORD,
    REPLICAS,
    STATUSES,
    arm_names,
    damaged_results,
    load_record,
)
from noisereg.config.sections import model_name
from noisereg.files.arrays import load_arrays
from noisereg.files.reading import read_file
from noisereg.secrets import find_secrets, hide_known_in

_INDEX = ("step", "epoch", "p", "seed")
_NUMBERS = ("p", "lr", "seed")
_WITHOUT_NOISE = "NoNoise"


@dataclass(frozen=True)
class Run:
    """What a run's folder holds. A key that a record lacks is empty here.

    Args:
        folder: of the run.
        status: finished, failed, stopped, running (or cut off), or unreadable.
        reason: why it failed, was stopped or cannot be read; empty otherwise.
        record: contents of result.json.

    Example:
        >>> run = Run(Path("run"), "finished", record={"replicas": [{"p": 0.2, "seed": 0, "test/error": 0.2}]})
        >>> run.replicas
             p  seed  test/error
        0  0.2     0         0.2
    """

    folder: Path
    status: str
    reason: str = ""
    record: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def config(self) -> Mapping[str, Any]:
        """The whole configuration."""
        return _mapping(self.record.get("config"))

    @property
    def experiment(self) -> Mapping[str, Any]:
        """What the report reads of the experiment: id, title, place, note, primary, figure, claims."""
        return _mapping(self.record.get("experiment"))

    @property
    def claims(self) -> list[Any]:
        """The experiment's claims, as they stand in its file."""
        return _list(self.experiment.get("claims"))

    @property
    def checks(self) -> list[Mapping[str, Any]]:
        """What verifiers said, as rows."""
        return [check for check in _list(self.record.get("checks")) if isinstance(check, Mapping)]

    @property
    def fingerprint(self) -> Mapping[str, Any]:
        """What tells its data from others; empty in records of older versions."""
        return _mapping(self.record.get("fingerprint"))

    @property
    def command(self) -> str:
        """The command that made it."""
        return str(self.record.get("command") or "")

    @property
    def seconds(self) -> float | None:
        """How long it took."""
        seconds = self.record.get("seconds")
        return seconds if isinstance(seconds, int | float) else None

    @property
    def environment(self) -> Mapping[str, Any]:
        """Code, libraries and machine."""
        return _mapping(self.record.get("environment"))

    @property
    def arms(self) -> list[str]:
        """Names of the experiment's arms, each of which has a folder in the run's; empty for a run without."""
        return arm_names(self.config)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, if the data set is one of ours that has names for them."""
        package, _, name = str(_mapping(self.config.get("dataset")).get("_target_")).rpartition(".")
        if package != "noisereg.datasets":
            return ()
        from noisereg import datasets  # noqa: PLC0415 - loads Lightning, which few figures need

        return tuple(getattr(getattr(datasets, name, None), "classes", ()))

    @property
    def is_without_noise(self) -> bool:
        """Whether all of it was trained on clean labels, by the rule that changes none."""
        package, _, name = str(_mapping(self.config.get("noise")).get("_target_")).rpartition(".")
        return name == _WITHOUT_NOISE and package.startswith("noisereg.") and not self.arms

    @property
    def title(self) -> str:
        """The experiment's title, or the model, the data and the rule of the run."""
        experiment = self.experiment or _mapping(self.config.get("experiment"))
        if experiment.get("title"):
            return str(experiment["title"])
        rule = "without noise" if self.is_without_noise else f"under {_class_name(self.config.get('noise'))}"
        section = dict(_mapping(self.config.get("model")))
        model = model_name(section) if isinstance(section.get("_target_"), str) else "unknown"
        return f"{model} on {self._data} {rule}"

    @property
    def _data(self) -> str:
        """Where the samples came from, in short: of a path, its last part."""
        words = str(self.record.get("data") or _class_name(self.config.get("dataset")))
        return re.sub(r"(?:(?<=\s)|^)/([^/,]*/)*(?=[^/,])", "", words).partition(", ")[0]

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """What each replica came to; p and seed are the configuration's where no replica has them.

        Raises:
            ValueError: if a value that is to be averaged, or that tells replicas apart, is no number.
        """
        rows = [row for row in _list(self.record.get("replicas")) if isinstance(row, Mapping)]
        plain = [{key: row[key] for key in row if not isinstance(row[key], dict | list)} for row in rows]
        for key, value in ((key, value) for row in plain for key, value in row.items()):
            if value is not None and not isinstance(value, int | float) and (key in _NUMBERS or "/" in key):
                raise ValueError(f"{RECORD} has a replica with {key} = {value!r}, which is no number")
        lacking = self._missing_settings({key for row in plain for key in row})
        return [row | lacking for row in plain]

    @cached_property
    def replicas(self) -> pd.DataFrame:
        """One row for each replica, see `rows`.

        Raises:
            ValueError: as `rows` does.
        """
        return self._named(pd.DataFrame(self.rows))

    def curves(self) -> pd.DataFrame:
        """Read the curves: a row for each replica and measurement, with a column `arm` if there are arms.

        Raises:
            ValueError: if metrics.csv cannot be read. Without one, there are no rows.
        """
        tables = [self._curves(self.folder / arm).assign(arm=arm) for arm in self.arms]
        return self._named(join_tables(tables) if tables else self._curves(self.folder))

    def fires(self, arm: str | None = None) -> Int64[np.ndarray, "replicas classes hidden"] | None:
        """Read how often each hidden neuron of each replica fired for each class.

        Args:
            arm: of the experiment; None for a run without.

        Returns:
            Counts in the order of the (arm's) replicas; None if the run keeps none.

        Raises:
            ValueError: if the file cannot be read.
        """
        path = self.folder / (arm or "") / FIRES
        arrays = read_arrays(path)
        if arrays is not None and "train" not in arrays:
            raise ValueError(f"{path} cannot be read (it has no train); delete it")
        return None if arrays is None else arrays["train"]

    def analyses(self, arm: str | None = None) -> dict[int, dict[str, np.ndarray]]:
        """Read what replicas left at the end of their training: calibration and projected features.

        Args:
            arm: of the experiment; None for a run without.

        Returns:
            For each replica that was analysed, by its row among the (arm's) replicas, arrays by name.

        Raises:
            ValueError: if the file cannot be read.
        """
        found: dict[int, dict[str, np.ndarray]] = {}
        for name, array in (read_arrays(self.folder / (arm or "") / ANALYSIS) or {}).items():
            number, is_numbered, own = name.partition("/")
            if not is_numbered:  # older versions analysed one network, and named it by no number
                number, own = "0", name
            if not number.isdecimal():
                raise ValueError(f"{ANALYSIS} of {self.folder} has {name}, which names no replica by its number")
            found.setdefault(int(number), {})[own] = array
        return found

    def _curves(self, folder: Path) -> pd.DataFrame:
        path = folder / CURVES
        if not path.exists():
            return pd.DataFrame(columns=list(_INDEX))
        try:
            # copied into one block: pandas warns of an added column beside a hundred others
            table = pd.read_csv(io.BytesIO(read_file(path))).copy()
        except (OSError, ValueError) as error:
            raise ValueError(f"{path} cannot be read ({error}); delete it, or its run") from None
        missing = [column for column in ("step", "epoch") if column not in table]
        words = [str(column) for column in table.select_dtypes(exclude=("number", "bool"))]
        if missing or words:
            fault = f"it has no column {missing[0]}" if missing else f"its column {words[0]} has more than numbers"
            raise ValueError(f"{path} cannot be read ({fault}); delete it, or its run")
        return table

    def _named(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Add p and seed where a table lacks them and the configuration has one of each."""
        return frame.assign(**self._missing_settings(frame))

    def _missing_settings(self, columns: Collection[Any]) -> dict[str, float]:
        """Return p and seed of the configuration, as far as it has one and columns do not have them."""
        one = {"p": _mapping(self.config.get("noise")).get("p"), "seed": self.config.get("seed")}
        return {key: value for key, value in one.items() if key not in columns and isinstance(value, int | float)}


def find_runs(
    paths: Iterable[Path | str], *, watch: Callable[[Sequence[Path]], Iterable[Path]] = lambda records: records
) -> list[Run]:
    """Return every run in or below some folders.

    The arms of an experiment, and the replicas that a run trained in folders of their own, are no runs. A record that
    cannot be read makes a run with the status "unreadable".

    Args:
        paths: folders, or result.json files.
        watch: passes on the records one by one, to show how many are read.

    Returns:
        The runs in the order of their folders, 2 before 10.

    Raises:
        ValueError: if a path does not exist, or there is no run.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = (Path(folder) / "result.json").write_text('{"status": "failed", "reason": "no memory"}')
        ...     run, = find_runs([folder])
        >>> run.status, run.reason
        ('failed', 'no memory')
    """
    places = [Path(path) for path in paths]
    records = {record.resolve(): record for place in places for record in _records(place)}
    if not records:
        searched = ", ".join(map(str, places)) or "no folder"
        raise ValueError(f"no run in {searched}: a run's folder has a {RECORD}")
    shared = _Shared()
    read = [_read(record, shared) for record in watch([*records.values()])]
    runs = sorted(read, key=lambda run: _sort_key(run.folder))
    arms = {(run.folder / arm).resolve() for run in runs for arm in run.arms}
    folders = {run.folder.resolve() for run in runs}
    replicas = {folder for folder in folders if folder.parent.name == REPLICAS and folder.parent.parent in folders}
    return [run for run in runs if run.folder.resolve() not in arms | replicas]


def read_arrays(path: Path) -> dict[str, np.ndarray] | None:
    """Read the arrays of a file.

    Returns:
        Each array by its name; None if there is no file.

    Raises:
        ValueError: if the file cannot be read, or holds objects.
    """
    if not path.exists():
        return None
    try:
        return load_arrays(io.BytesIO(read_file(path)))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read ({error}); delete it") from None


def join_tables(tables: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Return tables below one another; those without rows are left out.

    Example:
        >>> join_tables([pd.DataFrame({"p": [0.1]}), pd.DataFrame(columns=["seed"]), pd.DataFrame({"p": [0.2]})])
             p
        0  0.1
        1  0.2
    """
    filled = [table for table in tables if not table.empty]
    # Of tables with unlike columns it makes a piece for each column, and pandas warns of what is added to many pieces.
    return pd.concat(filled, ignore_index=True).copy() if filled else pd.DataFrame(columns=list(_INDEX))


def _records(place: Path) -> Sequence[Path]:
    if place.is_dir():
        return list(place.rglob(RECORD))
    if place.name == RECORD and place.exists():
        return [place]
    raise ValueError(f"{place} is no folder and no {RECORD}")


def _read(path: Path, shared: "_Shared") -> Run:
    try:
        record = load_record(path)
        status = record.get("status")
        if status not in STATUSES:
            reason = f"{path.name} is no record of a run: it has no status that is known"
        elif damaged := damaged_results(path.parent, record):
            reason = f"{', '.join(damaged)} is not what the run has left; resume={path.parent} mends it"
        else:
            shown = shared.of_record(record)
            return Run(path.parent, status, str(shown.get("reason") or ""), shown)
    except (OSError, ValueError, RecursionError) as error:  # a stranger's may be wrong in any way
        reason = f"{path.name} cannot be read: {error}"
    return Run(path.parent, "unreadable", reason)


class _Shared:
    """Parts of records without their secrets, equal ones as one object: thousands of runs have few configurations."""

    def __init__(self) -> None:
        self._secrets = find_secrets(os.environ).values()
        self._known: dict[bytes, Any] = {}

    def of_record(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Return a record as it may be shown; its replicas are numbers by the names of metrics."""
        parts = {
            key: value if key == "replicas" else self._hide(value) for key, value in record.items() if key != "config"
        }
        found = record.get("config")
        config = found if isinstance(found, dict) else {}
        return {**parts, "config": {self._hide(name): self._hide(part) for name, part in config.items()}}

    def _hide(self, part: Any) -> Any:
        digest = hashlib.sha256(json.dumps(part).encode()).digest()
        if digest not in self._known:
            self._known[digest] = hide_known_in(part, self._secrets)
        return self._known[digest]


def _sort_key(folder: Path) -> list[tuple[int, int, str]]:
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in folder.parts]


def _class_name(section: Any) -> str:
    return str(_mapping(section).get("_target_") or "unknown").rpartition(".")[2]


def _mapping(node: Any) -> Mapping[str, Any]:
    return node if isinstance(node, Mapping) else {}


def _list(node: Any) -> list[Any]:
    return node if isinstance(node, list) else []
