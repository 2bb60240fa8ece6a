"""Runs that belong together: those of one experiment, or of one configuration, at several p, rates and seeds."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, reduce
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int64

from noisereg.config.same_run import LABEL_FILE, result_settings
from noisereg.config.sections import is_below
from noisereg.labels import in_words
from noisereg.report.claims.selection import REPLICA, NothingSelectedError, Selection
from noisereg.report.claims.verdicts import Judgement, judge
from noisereg.report.groups.naming import AnalysedNetwork
from noisereg.runs.reading import Run, join_tables
from noisereg.runs.summary import early_ends_in_words, have_diverged
from noisereg.statistics import CELL, paired_means

# Of these a group may have several values; engines and threads come to the same up to rounding.
_GROUPED_OVER = (
    *("seed", "seeds", "threads", "engine", "noise.p", "optimizer.lr"),
    *("callbacks.sparsity.by_layer", "callbacks.norms.by_layer"),  # which older versions do not have
)
_OF_THE_EXPERIMENT = ("experiment.id", "experiment.arms", "experiment.fast")  # the rest of it is words
_NO_METRICS = (*REPLICA, "epochs", "ended_by", "fitted_epoch")  # columns of a replica's row beside its metrics
_RULE = "noise"
_DATA = "data"
_KEYS_IN_A_TITLE = 3
_LONGEST_STEM = 50  # letters of up to four bytes: a file system has names of up to 255, and more is put behind it
_TAKEN = ("comparison", "differences")  # files that an export writes of all groups


@dataclass(frozen=True)
class RunGroup:
    """Finished runs that differ in p, the learning rate and the seeds only; a run without noise is p = 0 of any rule.

    They are on the same data, as far as their records tell: those of older versions do not.

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
    def experiment(self) -> Mapping[str, Any]:
        """What the report reads of the experiment; empty if it is none."""
        return self.runs[-1].experiment

    @property
    def settings(self) -> dict[str, Any]:
        """What all its runs have in common and can change a result, by dotted key; without p, rate and seeds."""
        noisy = next((run for run in self.runs if not run.is_without_noise), self.runs[0])
        return {key: json.loads(value) for key, value in _settings(noisy).items() if key != "experiment"}

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
        rows = _once(join_tables([pd.DataFrame([rate | row for run, rate in self._rates for row in run.rows])]), [])
        metrics = [column for column in rows if column not in _NO_METRICS]
        return rows.assign(**rows[metrics].mask(have_diverged(rows))) if have_diverged(rows).any() else rows

    @property
    def curves(self) -> pd.DataFrame:
        """One row for each replica and measurement, of the runs whose curves can be read."""
        return self._curves_and_faults[0]

    @property
    def curve_faults(self) -> list[str]:
        """Which curves cannot be read, and why, a line each."""
        return self._curves_and_faults[1]

    @cached_property
    def _curves_and_faults(self) -> tuple[pd.DataFrame, list[str]]:
        tables, faults = [], []
        for run, rate in self._rates:
            try:
                table = run.curves()
                tables.append(table if "lr" in table else table.assign(**rate))
            except ValueError as error:
                faults.append(f"no curves of a run: {error}")
        return _once(_of_last_runs(tables), ["step"]), faults

    def forget_curves(self) -> None:
        """Let go of the curves that were read: those of a thousand runs are many."""
        vars(self).pop("_curves_and_faults", None)

    @cached_property
    def means(self) -> pd.DataFrame:
        """The mean of each metric for each arm, learning rate and p, beside its paired difference to p = 0.

        Columns as of `noisereg.statistics.paired_means`, and diverged, how many of the replicas did. Metrics come in
        the order in which the records have them.
        """
        rows = self.replicas
        rows = rows.assign(**{column: np.nan for column in ("p", "seed") if column not in rows})
        numbers = rows.select_dtypes(("number", "bool"))
        metrics = [
            str(name) for name in rows if name not in _NO_METRICS and (name in numbers or rows[name].isna().all())
        ]
        table, diverged = paired_means(rows, metrics), have_diverged(rows)
        if table.empty or not diverged.any():
            return table.assign(diverged=0)
        cells = [rows[column] for column in CELL if column in table]
        return table.assign(diverged=diverged.groupby(cells, dropna=False).sum().repeat(len(metrics)).to_numpy())

    @cached_property
    def judgements(self) -> list[Judgement]:
        """The verdict on each claim and each check."""
        if not self.claims and not self.checks:
            return []
        primary = self.experiment.get("primary")
        tables = {"replicas": self.replicas, "curves": self.curves}
        return judge(self.claims, **tables, checks=self.checks, primary=None if primary is None else str(primary))

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
        doubled = sum(len(run.rows) for run in self.runs) - len(self.replicas)
        commits = dict.fromkeys(str(run.environment["commit"]) for run in self.runs if run.environment.get("commit"))
        ends = describe_ends([self])
        untold = sum(not run.fingerprint for run in self.runs)
        return [
            *([ends] if ends else []),
            *([f"replicas that two runs hold: {doubled}; the later folder's count"] if doubled else []),
            *(
                [f"runs of an older version, which do not tell their data: {untold}"]
                if 0 < untold < len(self.runs)
                else []
            ),
            *([f"runs of several commits: {', '.join(commits)}"] if len(commits) > 1 else []),
        ]

    def fires(self, selection: Selection) -> Int64[np.ndarray, "replicas classes hidden"] | None:
        """Read how often each hidden neuron fired for each class, in the replicas that a selection names.

        Returns:
            Counts of each such replica; None if no run kept them.

        Raises:
            ValueError: if a file cannot be read, or does not fit the replicas.
        """
        found: dict[tuple[Any, ...], np.ndarray] = {}
        for run, arm, own in self._parts():
            counts = run.fires(arm)
            if counts is not None and len(counts) != len(own):
                raise ValueError(f"fires.npz of {run.folder} has {len(counts)} replicas, and result.json {len(own)}")
            if counts is not None and len(rows := _selected(selection, own)):
                found |= zip(_names_of(rows), counts[rows.index], strict=True)
        return np.stack([*found.values()]) if found else None

    def analyses(self, selection: Selection) -> list[AnalysedNetwork]:
        """Read what networks left at the end of their training, those that a selection names.

        Raises:
            ValueError: if a file cannot be read, or does not fit the replicas.
        """
        found: dict[tuple[Any, ...], AnalysedNetwork] = {}
        for run, arm, own in self._parts():
            analyses = run.analyses(arm)
            if analyses and max(analyses) >= len(own):
                raise ValueError(
                    f"analysis.npz of {run.folder} has replica {max(analyses)}, and result.json has {len(own)}"
                )
            rows = _selected(selection, own) if analyses else own[:0]
            found |= {
                name: AnalysedNetwork(row, analyses[number], run.classes)
                for name, number, row in zip(_names_of(rows), rows.index, rows.to_dict("records"), strict=True)
                if number in analyses
            }
        return [*found.values()]

    def _parts(self) -> Iterator[tuple[Run, str | None, pd.DataFrame]]:
        """Yield each run, or each arm of it, with the replicas of its folder, numbered as there."""
        for run, rate in self._rates:
            rows = pd.DataFrame([rate | row for row in run.rows])
            arms: list[str | None] = [*run.arms] or [None]
            for arm in arms:
                yield run, arm, (rows if arm is None else rows[rows["arm"] == arm]).reset_index(drop=True)

    @cached_property
    def _rates(self) -> list[tuple[Run, dict[str, Any]]]:
        """Each run with its learning rate, for rows that do not have theirs; empty where all runs have the same."""
        rates = [learning_rate_of(run) for run in self.runs]
        differ = len(set(rates)) > 1
        return [
            (run, {} if rate is None or not differ else {"lr": rate})
            for run, rate in zip(self.runs, rates, strict=True)
        ]


def describe_ends(groups: Iterable[RunGroup]) -> str:
    """Count how many replicas diverged, and how many ended before their plan did, in words; nothing if none did.

    Example:
        >>> from pathlib import Path
        >>> rows = [{"p": 0.2, "seed": seed, "ended_by": "non-finite weights"} for seed in range(6)]
        >>> record = {"replicas": [*rows, {"p": 0.2, "seed": 6, "test/error": 0.5, "ended_by": "budget"}]}
        >>> describe_ends([RunGroup("a sweep", "sweep-1", [Run(Path("run"), "finished", record=record)])])
        '6 of 7 replicas diverged: they have no values at the end'
    """
    tables = list(_replicas_once(groups))
    failed, number = sum(int(have_diverged(rows).sum()) for rows in tables), sum(map(len, tables))
    diverged = f"{failed} of {number} replicas diverged: they have no values at the end" if failed else ""
    return "; ".join(filter(None, (diverged, early_ends_in_words(tables))))


def _replicas_once(groups: Iterable[RunGroup]) -> Iterator[pd.DataFrame]:
    """Yield the replicas of each group, without those of runs that an earlier group has too."""
    seen: set[Path] = set()
    for group in groups:
        new = [run for run in group.runs if run.folder not in seen]
        seen.update(run.folder for run in new)
        yield group.replicas if len(new) == len(group.runs) else RunGroup(group.title, group.name, new).replicas


def group_runs(runs: Iterable[Run]) -> list[RunGroup]:
    """Return finished runs in groups, each of runs that differ in p, the learning rate and the seeds only.

    A run without noise is in the group of each rule that has its other settings: it is the p = 0 of them all. A run of
    an older version, which does not tell its data, is put to those of its settings if they all have the same data.

    Groups come in the order of their first runs, those of experiments first; runs of other status are left out.

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
    together: dict[str, list[Run]] = {}
    settings: dict[str, dict[str, str]] = {}
    finished = [run for run in runs if run.status == "finished"]
    for run, own in zip(finished, _settings_of_all(finished), strict=True):
        name = json.dumps(sorted(own.items()))
        settings[name] = own
        together.setdefault(name, []).append(run)
    _join_without_noise(together, settings, places={id(run): place for place, run in enumerate(finished)})
    parts = sorted(together.items(), key=lambda part: not part[1][0].experiment)
    first = [next((run for run in part if not run.is_without_noise), part[0]) for _, part in parts]
    titles, names = _titles(first, [settings[name] for name, _ in parts]), _names(first)
    return [RunGroup(title, name, part) for title, name, (_, part) in zip(titles, names, parts, strict=True)]


def _join_without_noise(
    together: dict[str, list[Run]], settings: Mapping[str, Mapping[str, str]], *, places: Mapping[int, int]
) -> None:
    """Add runs without noise to those of every rule that have all other settings in common, in the order of places."""
    alike: dict[str, list[str]] = {}
    for name, own in settings.items():
        alike.setdefault(_without_noise(own), []).append(name)
    for names in alike.values():
        quiet = [name for name in names if together[name][0].is_without_noise]
        noisy = [name for name in names if name not in quiet]
        if noisy:
            joining = [run for name in quiet for run in together.pop(name)]
            for name in noisy:
                together[name] = sorted([*together[name], *joining], key=lambda run: places[id(run)])


def _settings_of_all(runs: Sequence[Run]) -> list[dict[str, str]]:
    """Return for each run what must be equal for two to be put together: the settings, and which data they are."""
    settings = [_settings(run) for run in runs]
    known: dict[str, set[str]] = {}
    for run, own in zip(runs, settings, strict=True):
        if run.fingerprint:
            known.setdefault(_without_noise(own), set()).add(_hash_data(run))
    found = []
    for run, own in zip(runs, settings, strict=True):
        data = {_hash_data(run)} if run.fingerprint else known.get(_without_noise(own), set())
        found.append({**own, _DATA: min(data)} if len(data) == 1 else own)
    return found


def _without_noise(own: Mapping[str, str]) -> str:
    return json.dumps([item for item in sorted(own.items()) if not is_below(item[0], _RULE)])


def _hash_data(run: Run) -> str:
    data = {key: value for key, value in run.fingerprint.items() if key != LABEL_FILE}
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:8]


def _settings(run: Run) -> dict[str, str]:
    """Return what must be equal for two runs to be put together, by dotted key, as JSON."""
    identifier = {"experiment": str(run.experiment.get("id"))}
    if LABEL_FILE in run.fingerprint:
        identifier[f"{_RULE}.{LABEL_FILE}"] = json.dumps(run.fingerprint[LABEL_FILE], sort_keys=True)
    config = reduce(_without, (key.split(".") for key in _GROUPED_OVER), run.config)
    return identifier | _settings_of(json.dumps(config))


@lru_cache(maxsize=4096)  # thousands of runs have few configurations but for p, rate and seed
def _settings_of(config: str) -> dict[str, str]:
    """Return the settings of a configuration, given as JSON, that can change a result, but for those grouped over."""
    return {
        key: json.dumps(value, sort_keys=True)
        for key, value in result_settings(json.loads(config)).items()
        if any(is_below(key, part) for part in _OF_THE_EXPERIMENT)
        or not any(is_below(key, part) for part in (*_GROUPED_OVER, "experiment"))
    }


def _without(config: Mapping[str, Any], names: Sequence[str]) -> Mapping[str, Any]:
    """Return a configuration without one of its values, given by the names that lead to it."""
    first, *rest = names
    part = config.get(first)
    if not rest:
        return {key: value for key, value in config.items() if key != first}
    return {**config, first: _without(part, rest)} if isinstance(part, Mapping) else config


def _titles(runs: Sequence[Run], settings: Sequence[Mapping[str, str]]) -> list[str]:
    """Add to titles that are alike the settings in which their groups differ."""
    alike: dict[str, list[Mapping[str, str]]] = {}
    for run, own in zip(runs, settings, strict=True):
        alike.setdefault(run.title, []).append(own)
    differing = {title: _differing(some) for title, some in alike.items()}
    titles = []
    for run, own in zip(runs, settings, strict=True):
        words = ", ".join(f"{key} = {own[key]}" for key in differing[run.title] if key in own)
        titles.append(f"{run.title} ({words})" if words else run.title)
    return titles


def _differing(settings: Sequence[Mapping[str, str]]) -> list[str]:
    """Return the few keys of settings with the most different values, and those that tell apart what these leave alike.

    Data are only among them where nothing else tells settings apart.
    """

    def count_kinds(*keys: str) -> int:
        return len({tuple(own.get(key) for key in keys) for own in settings})

    kinds = {key: count_kinds(key) for key in dict.fromkeys(key for own in settings for key in own)}
    ordered = sorted((key for key in kinds if kinds[key] > 1), key=lambda key: (key == _DATA, -kinds[key]))
    shown: list[str] = []
    for key in ordered:
        is_among_the_first = len(shown) < _KEYS_IN_A_TITLE and key != _DATA
        if is_among_the_first or count_kinds(*shown, key) > count_kinds(*shown):
            shown.append(key)
    return shown


def _names(runs: Sequence[Run]) -> list[str]:
    """Return a name for each group: what it is of, and from the second on a number behind it."""
    names: list[str] = []
    taken = set(_TAKEN)
    numbers: Counter[str] = Counter()
    for run in runs:
        stem = re.sub(r"[^\w-]+", "-", str(run.experiment.get("id") or "sweep"))[:_LONGEST_STEM]
        candidate = stem
        while not numbers[stem] or not taken.isdisjoint(_files(candidate)):
            numbers[stem] += 1
            candidate = stem if numbers[stem] == 1 else f"{stem}-{numbers[stem]}"
        taken |= _files(candidate)
        names.append(candidate)
    return names


def _files(name: str) -> set[str]:
    """Return the names of the files that an export writes of a group, without what tells their kind."""
    return {name, f"{name}-claims", f"{name}-figure"}


def _selected(selection: Selection, rows: pd.DataFrame) -> pd.DataFrame:
    try:
        return selection.rows(rows)
    except NothingSelectedError:
        return rows[:0]


def _names_of(rows: pd.DataFrame) -> Iterator[tuple[Any, ...]]:
    """Yield what tells each replica from any other of the group."""
    return (
        rows.reindex(columns=list(REPLICA))
        .astype(object)
        .where(lambda table: table.notna(), None)
        .itertuples(index=False, name=None)
    )


def _missing(rows: pd.DataFrame, keys: Sequence[str]) -> Iterable[str]:
    """Yield a line for each cell that lacks seeds which others of the rows have."""
    rows = rows[rows["seed"].notna()]
    for cell, part in rows.groupby(list(keys)):
        lacking = sorted(set(rows["seed"]) - set(part["seed"]))
        if lacking:
            place = Selection(dict(zip(keys, cell, strict=True))).place
            yield f"{place}: seeds {', '.join(map(in_words, lacking))}"


def _of_last_runs(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Join the curves of runs, those of each replica from the last run that has any: an earlier one may go on."""
    rows = join_tables(tables)
    names = [column for column in REPLICA if column in rows]
    if len(tables) < 2 or not names or rows.empty:
        return rows
    numbers = pd.Series(np.repeat(np.arange(len(tables)), [len(table) for table in tables]))
    last = numbers.groupby([rows[name] for name in names], dropna=False).transform("max")
    return rows[numbers == last].reset_index(drop=True)


def _once(rows: pd.DataFrame, also: Sequence[str]) -> pd.DataFrame:
    names = [column for column in (*REPLICA, *also) if column in rows]
    return rows.drop_duplicates(names, keep="last", ignore_index=True) if names else rows


def learning_rate_of(run: Run) -> float | None:
    """Return the learning rate of a run's configuration; None if it has none, or several, which its rows have then.

    Example:
        >>> from pathlib import Path
        >>> rates = (0.1, [0.1], [0.1, 0.2])
        >>> [learning_rate_of(Run(Path(), "finished", record={"config": {"optimizer": {"lr": lr}}})) for lr in rates]
        [0.1, 0.1, None]
    """
    optimizer = run.config.get("optimizer")
    given = optimizer.get("lr") if isinstance(optimizer, Mapping) else None
    (rate,) = given if isinstance(given, list) and len(given) == 1 else (given,)
    return float(rate) if isinstance(rate, int | float) else None
