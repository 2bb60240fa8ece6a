"""Runs that belong together: those of one experiment, or of one configuration, at several p, rates and seeds."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int64

from noisereg.config.run_folder import result_settings
from noisereg.config.walk import is_below
from noisereg.report.claims.selection import REPLICA, NothingSelectedError, Selection, have_diverged
from noisereg.report.claims.verdicts import Judgement, judge
from noisereg.report.groups.naming import AnalysedNetwork
from noisereg.runs.reading import Run, join_tables

# Of these a group may have several values; engines and threads come to the same up to rounding.
_GROUPED_OVER = ("seed", "seeds", "threads", "engine", "noise.p", "optimizer.lr")
_OF_THE_EXPERIMENT = ("experiment.id", "experiment.arms", "experiment.fast")  # the rest of it is words
_NO_METRICS = (*REPLICA, "epochs", "ended_by", "fitted_epoch")  # columns of a replica's row beside its metrics
_KEYS_IN_A_TITLE = 3


@dataclass(frozen=True)
class RunGroup:
    """Finished runs that differ in p, the learning rate and the seeds only.

    Where two runs hold the same replica, the later folder's counts.

    Args:
        title: of the experiment or the runs, with settings in which it differs from other groups of that title.
        name: short, unlike any other's, and fit for the name of a file.
        runs: in the order of their folders.

    Example:
        >>> from pathlib import Path
        >>> runs = [Run(Path(str(s)), "finished", record={"replicas": [{"p": 0.2, "seed": s}]}) for s in range(2)]
        >>> RunGroup("a sweep", "sweep-1", runs).replicas["seed"].tolist()
        [0, 1]
    """

    title: str
    name: str
    runs: Sequence[Run]

    @property
    def experiment(self) -> Mapping[str, Any] | None:
        """What the report reads of the experiment; None if it is none."""
        return self.runs[-1].experiment

    @property
    def claims(self) -> list[Any]:
        """The experiment's claims."""
        return self.runs[-1].claims

    @property
    def checks(self) -> list[Mapping[str, Any]]:
        """What verifiers said, as rows; the latest of each id."""
        return list({str(check.get("id")): check for run in self.runs for check in run.checks}.values())

    @cached_property
    def replicas(self) -> pd.DataFrame:
        """One row for each replica, as it ended.

        One that diverged has no metric: in records of older versions its last values are those before it did.
        """
        rows = _once(join_tables(self._rated(run, run.replicas) for run in self.runs), [])
        metrics = [column for column in rows if column not in _NO_METRICS]
        return rows.assign(**rows[metrics].mask(have_diverged(rows))) if have_diverged(rows).any() else rows

    @cached_property
    def curves(self) -> pd.DataFrame:
        """One row for each replica and measurement.

        Raises:
            ValueError: if a metrics.csv cannot be read.
        """
        rows = join_tables(self._rated(run, run.curves()) for run in self.runs)
        return _once(rows, ["step"])

    @cached_property
    def judgements(self) -> list[Judgement]:
        """The verdict on each claim and each check."""
        return judge(self.claims, replicas=self.replicas, curves=self.curves, checks=self.checks)

    @property
    def missing(self) -> list[str]:
        """Which seeds are missing at a p (and learning rate) that others of the same arm have, a line each."""
        rows = self.replicas
        keys = [key for key in REPLICA if key in rows and key != "seed"]
        if "seed" not in rows or not keys:
            return []
        arms = [arm for _, arm in rows.groupby("arm")] if "arm" in rows else [rows]
        return [line for arm in arms for line in _missing(arm, keys)]

    @property
    def notes(self) -> list[str]:
        """What a reader should know of runs that were put together, a line each."""
        doubled = sum(len(run.replicas) for run in self.runs) - len(self.replicas)
        commits = dict.fromkeys(str(run.environment["commit"]) for run in self.runs if run.environment.get("commit"))
        diverged = count_diverged([self])
        return [
            *([diverged] if diverged else []),
            *([f"replicas that two runs hold: {doubled}; the later folder's count"] if doubled else []),
            *([f"runs of several commits: {', '.join(commits)}"] if len(commits) > 1 else []),
        ]

    def fires(self, selection: Selection) -> Int64[np.ndarray, "replicas classes hidden"] | None:
        """Read how often each hidden neuron fired for each class, in the replicas that a selection names.

        Returns:
            Counts of each such replica; None if no run kept them.

        Raises:
            ValueError: if a file cannot be read, or does not fit the replicas.
        """
        found = []
        for run, arm, own in self._parts():
            counts = run.fires(arm)
            if counts is not None and len(counts) != len(own):
                raise ValueError(f"fires.npz of {run.folder} has {len(counts)} replicas, and result.json {len(own)}")
            if counts is not None and len(rows := _selected(selection, own)):
                found.append(counts[rows.index])
        return np.concatenate(found) if found else None

    def analyses(self, selection: Selection) -> list[AnalysedNetwork]:
        """Read what networks left at the end of their training, those that a selection names.

        Raises:
            ValueError: if a file cannot be read, or does not fit the replicas.
        """
        found = []
        for run, arm, own in self._parts():
            analyses = run.analyses(arm)
            if analyses and max(analyses) >= len(own):
                raise ValueError(
                    f"analysis.npz of {run.folder} has replica {max(analyses)}, and result.json has {len(own)}"
                )
            rows = _selected(selection, own) if analyses else own[:0]
            found += [
                AnalysedNetwork(row, analyses[number], run.classes)
                for number, row in zip(rows.index, rows.to_dict("records"), strict=True)
                if number in analyses
            ]
        return found

    def _parts(self) -> Iterator[tuple[Run, str | None, pd.DataFrame]]:
        """Yield each run, or each arm of it, with the replicas of its folder, numbered as there."""
        for run in self.runs:
            rows = self._rated(run, run.replicas)
            arms: list[str | None] = [*run.arms] or [None]
            for arm in arms:
                yield run, arm, (rows if arm is None else rows[rows["arm"] == arm]).reset_index(drop=True)

    def _rated(self, run: Run, table: pd.DataFrame) -> pd.DataFrame:
        """Add the learning rate of a run to its rows where the runs have several."""
        if "lr" in table or len({str(_rate(other)) for other in self.runs}) < 2:
            return table
        return table.assign(lr=_rate(run))


def count_diverged(groups: Iterable[RunGroup]) -> str:
    """Count how many replicas diverged, in words; nothing if none did.

    Example:
        >>> from pathlib import Path
        >>> rows = [{"p": 0.2, "seed": seed, "ended_by": "non-finite weights"} for seed in range(6)]
        >>> record = {"replicas": [*rows, {"p": 0.2, "seed": 6, "test/error": 0.5, "ended_by": "budget"}]}
        >>> count_diverged([RunGroup("a sweep", "sweep-1", [Run(Path("run"), "finished", record=record)])])
        '6 of 7 replicas diverged: they have no values at the end'
    """
    tables = [group.replicas for group in groups]
    failed, number = sum(int(have_diverged(rows).sum()) for rows in tables), sum(map(len, tables))
    return f"{failed} of {number} replicas diverged: they have no values at the end" if failed else ""


def group_runs(runs: Iterable[Run]) -> list[RunGroup]:
    """Return finished runs in groups, each of runs that differ in p, the learning rate and the seeds only.

    Args:
        runs: of any status.

    Returns:
        Groups in the order of their first runs; those of experiments first.

    Example:
        >>> from pathlib import Path
        >>> config = {"model": {"_target_": "noisereg.models.TwoLayer", "hidden": 240}}
        >>> runs = [
        ...     Run(Path(str(s)), "finished", record={"config": {"seed": s, **config}, "data": "hypercube"})
        ...     for s in range(2)
        ... ]
        >>> [(group.title, len(group.runs)) for group in group_runs(runs)]
        [('TwoLayer on hypercube under unknown', 2)]
    """
    together: dict[Any, list[Run]] = {}
    for run in runs:
        if run.status == "finished":
            together.setdefault(tuple(sorted(_settings(run).items())), []).append(run)
    parts = sorted(together.values(), key=lambda part: part[0].experiment is None)
    titles, names = _titles([part[0] for part in parts]), _names([part[0] for part in parts])
    return [RunGroup(title, name, part) for title, name, part in zip(titles, names, parts, strict=True)]


def _settings(run: Run) -> dict[str, str]:
    """Return what must be equal for two runs to be put together, by dotted key, as JSON."""
    identifier = {"experiment": str((run.experiment or {}).get("id"))}
    return identifier | {
        key: json.dumps(value, sort_keys=True)
        for key, value in result_settings(dict(run.config)).items()
        if any(is_below(key, part) for part in _OF_THE_EXPERIMENT)
        or not any(is_below(key, part) for part in (*_GROUPED_OVER, "experiment"))
    }


def _titles(runs: Sequence[Run]) -> list[str]:
    """Add to titles that are alike the settings in which their groups differ."""
    alike: dict[str, list[dict[str, str]]] = {}
    settings = [_settings(run) for run in runs]
    for run, own in zip(runs, settings, strict=True):
        alike.setdefault(run.title, []).append(own)
    titles = []
    for run, own in zip(runs, settings, strict=True):
        kinds = {key: len({other.get(key) for other in alike[run.title]}) for key in own}
        differing = sorted((key for key in own if kinds[key] > 1), key=lambda key: -kinds[key])
        words = ", ".join(f"{key} = {own[key]}" for key in differing[:_KEYS_IN_A_TITLE])
        titles.append(f"{run.title} ({words})" if words else run.title)
    return titles


def _names(runs: Sequence[Run]) -> list[str]:
    names: list[str] = []
    for run in runs:
        name = re.sub(r"[^\w-]+", "-", str((run.experiment or {}).get("id") or "sweep"))
        number = 1
        while (candidate := name if number == 1 else f"{name}-{number}") in names:
            number += 1
        names.append(candidate)
    return names


def _selected(selection: Selection, rows: pd.DataFrame) -> pd.DataFrame:
    try:
        return selection.rows(rows)
    except NothingSelectedError:
        return rows[:0]


def _missing(rows: pd.DataFrame, keys: Sequence[str]) -> Iterable[str]:
    """Yield a line for each cell that lacks seeds which others of the rows have."""
    for cell, part in rows.groupby(list(keys)):
        lacking = sorted(set(rows["seed"]) - set(part["seed"]))
        if lacking:
            place = Selection(dict(zip(keys, cell, strict=True))).place
            yield f"{place}: seeds {', '.join(map(str, lacking))}"


def _once(rows: pd.DataFrame, also: Sequence[str]) -> pd.DataFrame:
    names = [column for column in (*REPLICA, *also) if column in rows]
    return rows.drop_duplicates(names, keep="last").reset_index(drop=True) if names else rows


def _rate(run: Run) -> Any:
    optimizer = run.config.get("optimizer")
    return optimizer.get("lr") if isinstance(optimizer, Mapping) else None
