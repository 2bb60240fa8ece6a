"""The runs that are found in folders, whatever came of them."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int64

from noisereg.report.arrays import read_arrays

_RECORD = "result.json"
_STATUSES = ("finished", "failed", "stopped", "running")
_INDEX = ("step", "epoch", "p", "seed")
_WITHOUT_EFFECT = ("seed", "seeds", "logger", "threads", "suggested", "dataset.root", "experiment")
_OF_THE_EXPERIMENT = ("experiment.id", "experiment.arms", "experiment.fast")


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
    def experiment(self) -> Mapping[str, Any] | None:
        """What the report reads of the experiment: id, title, place, note, figure, claims; None if it is none."""
        return _mapping(self.record.get("experiment")) or None

    @property
    def claims(self) -> list[Any]:
        """The experiment's claims, as they stand in its file."""
        return _list((self.experiment or {}).get("claims"))

    @property
    def checks(self) -> list[Mapping[str, Any]]:
        """What verifiers said, as rows."""
        return [check for check in _list(self.record.get("checks")) if isinstance(check, Mapping)]

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
        names = map(str, _mapping(_mapping(self.config.get("experiment")).get("arms")))
        return [name for name in names if name == Path(name).name != ".."]

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, if the data set is one of ours that has names for them."""
        package, _, name = str(_mapping(self.config.get("dataset")).get("_target_")).rpartition(".")
        if package != "noisereg.datasets":
            return ()
        from noisereg import datasets  # noqa: PLC0415 - loads Lightning, which few figures need

        return tuple(getattr(getattr(datasets, name, None), "classes", ()))

    @property
    def title(self) -> str:
        """The experiment's title, or the model, the data and the rule of the run."""
        experiment = self.experiment or _mapping(self.config.get("experiment"))
        if experiment.get("title"):
            return str(experiment["title"])
        model, data, rule = (_class_name(self.config.get(part)) for part in ("model", "dataset", "noise"))
        return f"{model} on {self.record.get('data') or data} under {rule}"

    @property
    def identity(self) -> dict[str, str]:
        """What makes two runs differ by more than their seeds: the configuration by dotted key, values as JSON."""
        everything = dict(_flat(self.config))
        return {
            key: value
            for key, value in everything.items()
            if _within(key, _OF_THE_EXPERIMENT) or not _within(key, _WITHOUT_EFFECT)
        }

    @cached_property
    def replicas(self) -> pd.DataFrame:
        """One row for each replica, as it ended; p and seed are the configuration's where the rows lack them."""
        rows = [row for row in _list(self.record.get("replicas")) if isinstance(row, Mapping)]
        return self._named(pd.DataFrame([{key: row[key] for key in row if not _is_nested(row[key])} for row in rows]))

    def curves(self) -> pd.DataFrame:
        """Read one row for each replica and measurement; with a column `arm` if there are arms.

        Raises:
            ValueError: if metrics.csv cannot be read. Without one, there are no rows.
        """
        tables = [self._curves(self.folder / arm).assign(arm=arm) for arm in self.arms]
        return self._named(joined(tables) if tables else self._curves(self.folder))

    def fires(self, arm: str | None = None) -> Int64[np.ndarray, "replicas classes hidden"] | None:
        """Read how often each hidden neuron of each replica fired for each class.

        Args:
            arm: of the experiment; None for a run without.

        Returns:
            Counts in the order of the (arm's) replicas; None if the run keeps none.

        Raises:
            ValueError: if the file cannot be read.
        """
        path = self.folder / (arm or "") / "fires.npz"
        arrays = read_arrays(path)
        if arrays is not None and "train" not in arrays:
            raise ValueError(f"{path} cannot be read (it has no train); delete it")
        return None if arrays is None else arrays["train"]

    def analysis(self, arm: str | None = None) -> dict[str, np.ndarray] | None:
        """Read what the network of the run, or of an arm, left at its end: calibration and projected features.

        Args:
            arm: of the experiment; None for a run without.

        Returns:
            Arrays by name; None if the run keeps none.

        Raises:
            ValueError: if the file cannot be read.
        """
        return read_arrays(self.folder / (arm or "") / "analysis.npz")

    def _curves(self, folder: Path) -> pd.DataFrame:
        path = folder / "metrics.csv"
        if not path.exists():
            return pd.DataFrame(columns=list(_INDEX))
        try:
            return pd.read_csv(path).copy()  # in one block: pandas warns of an added column beside a hundred others
        except (OSError, ValueError) as error:
            raise ValueError(f"{path} cannot be read ({error}); delete it, or its run") from None

    def _named(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Add p and seed where a table lacks them and the configuration has one of each."""
        one = {"p": _mapping(self.config.get("noise")).get("p"), "seed": self.config.get("seed")}
        lacking = {key: value for key, value in one.items() if key not in frame and isinstance(value, int | float)}
        return frame.assign(**lacking)


def find_runs(paths: Iterable[Path | str]) -> list[Run]:
    """Find every run in or below some folders.

    The arms of an experiment are not runs of their own. A record that cannot be read makes a run with the status
    "unreadable".

    Args:
        paths: folders, or result.json files.

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
        raise ValueError(f"no run in {searched}: a run's folder has a {_RECORD}")
    runs = sorted((_read(record) for record in records.values()), key=lambda run: _natural(run.folder))
    arms = {(run.folder / arm).resolve() for run in runs for arm in run.arms}
    return [run for run in runs if run.folder.resolve() not in arms]


def joined(tables: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Put tables below one another; those without rows are left out.

    Example:
        >>> joined([pd.DataFrame({"p": [0.1]}), pd.DataFrame(columns=["seed"]), pd.DataFrame({"p": [0.2]})])
             p
        0  0.1
        1  0.2
    """
    filled = [table for table in tables if not table.empty]
    return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame(columns=list(_INDEX))


def _records(place: Path) -> Sequence[Path]:
    if place.is_dir():
        return list(place.rglob(_RECORD))
    if place.name == _RECORD and place.exists():
        return [place]
    raise ValueError(f"{place} is no folder and no {_RECORD}")


def _read(path: Path) -> Run:
    try:
        record = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        return Run(path.parent, "unreadable", f"{path.name} cannot be read: {error}")
    status = record.get("status") if isinstance(record, dict) else None
    if status not in _STATUSES:
        return Run(path.parent, "unreadable", f"{path.name} is no record of a run: it has no status that is known")
    return Run(path.parent, status, str(record.get("reason") or ""), record)


def _natural(folder: Path) -> list[tuple[int, int, str]]:
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in folder.parts]


def _flat(node: Any, key: str = "") -> Iterable[tuple[str, str]]:
    if isinstance(node, Mapping):
        for name, value in node.items():
            yield from _flat(value, f"{key}.{name}" if key else str(name))
    else:
        yield key, json.dumps(node, sort_keys=True, default=str)


def _within(key: str, parts: Sequence[str]) -> bool:
    return any(key == part or key.startswith(f"{part}.") for part in parts)


def _class_name(section: Any) -> str:
    return str(_mapping(section).get("_target_") or "unknown").rpartition(".")[2]


def _is_nested(node: Any) -> bool:
    return isinstance(node, dict | list)


def _mapping(node: Any) -> Mapping[str, Any]:
    return node if isinstance(node, Mapping) else {}


def _list(node: Any) -> list[Any]:
    return node if isinstance(node, list) else []
