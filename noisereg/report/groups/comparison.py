"""The replicas of several groups of runs in one table, told apart by what differs between them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from noisereg.config.check import suggest_name
from noisereg.config.sections import is_below, model_name
from noisereg.labels import in_words
from noisereg.report.groups.run_group import RunGroup, learning_rate_of
from noisereg.runs.reading import join_tables
from noisereg.statistics import cell_means, paired_differences

GROUP = "group"  # column of the number of a replica's group
_P = "noise.p"
_OF_A_REPLICA = {"p": _P, "lr": "optimizer.lr", "arm": "arm"}  # columns of records, by the names that users type
_PARTS = ("model", "dataset", "noise", "loss", "optimizer", "scheduler")  # what differs in these is named first
_TARGET = "._target_"
ABSENT = "absent"  # in place of the value of a setting that a group does not have
_HOW_OFTEN = ("every_n_epochs", "every_n_train_steps", "check_val_every_n_epoch")  # a network does not hang on it


@dataclass(frozen=True)
class Comparison:
    """Groups of runs side by side.

    Example:
        >>> from pathlib import Path
        >>> from noisereg.runs.reading import Run
        >>> rows = [{"p": p, "seed": seed, "test/error": 0.4 - p} for p in (0.0, 0.2) for seed in range(3)]
        >>> runs = [Run(Path("run"), "finished", record={"replicas": rows})]
        >>> compared = Comparison([RunGroup("A sweep", "sweep", runs)])
        >>> compared.keys, compared.means["mean"].round(2).tolist(), compared.differences["pairs"].tolist()
        (['noise.p'], [0.4, 0.2], [3])
    """

    groups: Sequence[RunGroup]

    @cached_property
    def keys(self) -> list[str]:
        """The fewest settings that tell the groups apart, then p, the rate and the arm as far as replicas differ."""
        found = [*self._telling_apart]
        for key in _OF_A_REPLICA.values():
            if key in self.rows and varies_within(self.rows[key], [self.rows[name] for name in found]):
                found.append(key)
        return found

    @property
    def has_several_settings(self) -> bool:
        """Whether the groups differ in more than p, the learning rate and the arm."""
        return bool(self._telling_apart)

    @cached_property
    def rows(self) -> pd.DataFrame:
        """A row for each replica, as it ended: its group's number, what it is told apart by, its seed and metrics."""
        return self._joined([group.replicas for group in self.groups])

    @property
    def curves(self) -> pd.DataFrame:
        """A row for each replica and measurement, with the same columns in front."""
        return self._joined([group.curves for group in self.groups])

    @property
    def metrics(self) -> list[str]:
        """Names of the columns of numbers that were measured, in the order of the records."""
        return [
            str(name)
            for name in self.rows
            if "/" in str(name) and pd.api.types.is_numeric_dtype(self.rows[name]) and self.rows[name].notna().any()
        ]

    @cached_property
    def means(self) -> pd.DataFrame:
        """The mean of each metric for each combination of what differs, as `noisereg.statistics.cell_means` has it."""
        return cell_means(self.rows, self.metrics, by=self.keys)

    @cached_property
    def differences(self) -> pd.DataFrame:
        """Paired differences, as `noisereg.statistics.paired_differences`, of those that differ in one key and no more.

        A part that differs, such as the model, stands for all of its settings. There is none between rules at p = 0
        that share runs without noise: it would be of replicas to themselves.
        """
        besides = {key: self.rows[GROUP].map(self._without(key)).tolist() for key in self._telling_apart}
        table = paired_differences(self.rows, self.metrics, by=self.keys, besides=besides)
        folders = [run.folder for group in self.groups for run in group.runs]
        if _P not in self.keys or len(set(folders)) == len(folders):
            return table
        of_rules = table["key"].str.match(r"noise\b") & (table["key"] != _P)
        return table[~(of_rules & (table[_P] == 0))].reset_index(drop=True)

    @property
    def differences_to_the_first(self) -> pd.DataFrame:
        """Those paired differences that are to the first value of the key: the smallest number, or the first name."""
        rows = self.rows
        first = {
            key: rows[key].min() if pd.api.types.is_numeric_dtype(rows[key]) else rows[key].iloc[0] for key in self.keys
        }
        own = [than == first[key] for key, than in zip(self.differences["key"], self.differences["than"], strict=True)]
        return self.differences[own]

    @cached_property
    def also_differing(self) -> list[str]:
        """The settings, but for those of the keys, in which groups differ: they tell why a difference is missing."""
        names = dict.fromkeys(name for own in self._in_text for name in own)
        values = {name: {own.get(name) for own in self._in_text} for name in names}
        return [name for name in names if len(values[name]) > 1 and not any(is_below(name, key) for key in self.keys)]

    @property
    def has_doubles(self) -> bool:
        """Whether two replicas are told apart by nothing, not even their seed."""
        return "seed" not in self.rows or bool(self.rows.duplicated([*self.keys, "seed"]).any())

    def column(self, name: str, frame: pd.DataFrame | None = None) -> pd.Series:
        """Return a column of the rows: a setting, whether it differs or not, or what was measured.

        Args:
            name: a key of the configuration, a part such as model, or a column of the records, such as test/error.
            frame: the rows, or the curves; by default the rows.

        Raises:
            ValueError: if there is none of that name, with the nearest ones.
        """
        rows = self.rows if frame is None else frame
        if name in rows and name != GROUP:
            return rows[name]
        if name in self._settings:
            return rows[GROUP].map(self._settings[name])
        known = [*self._settings, *(str(column) for column in rows if column != GROUP)]
        raise ValueError(f"{name} is no setting of these runs and was not measured{suggest_name(name, known)}")

    @staticmethod
    def full_name(name: str) -> str:
        """Return the key of the configuration that a column of the records stands for: noise.p for p."""
        return _OF_A_REPLICA.get(name, name)

    @cached_property
    def _settings(self) -> pd.DataFrame:
        """A row for each group, a column for each setting that any of them has; a part stands for what it builds."""
        tables = [_in_words(group.settings) for group in self.groups]
        names = dict.fromkeys(name for table in tables for name in table if name not in (GROUP, *_OF_A_REPLICA, "seed"))
        return pd.DataFrame({name: _of_one_kind([table.get(name) for table in tables]) for name in names})

    @cached_property
    def _telling_apart(self) -> list[str]:
        """The first settings, parts before keys, that leave no two groups alike."""
        settings = self._settings
        parts = [part for part in _PARTS if part in settings]
        found: list[str] = []
        kinds = 1
        for name in [*parts, *(key for key in settings if key not in parts)]:
            if (more := len(settings[[*found, name]].drop_duplicates())) > kinds:
                kinds = more
                found.append(name)
        return found

    @cached_property
    def _in_text(self) -> list[dict[str, str]]:
        """The settings of each group as text, but for how often it was measured, by dotted key."""
        return [
            {
                key: json.dumps(value)
                for key, value in group.settings.items()
                if key.rpartition(".")[2] not in _HOW_OFTEN
            }
            for group in self.groups
        ]

    def _without(self, key: str) -> dict[int, frozenset[tuple[str, str]]]:
        """Return the settings of each group, by its number, but for those of a key."""
        return {
            number: frozenset(item for item in own.items() if not is_below(item[0], key))
            for number, own in enumerate(self._in_text)
        }

    def _rated(self, number: int, table: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of a group with its number, and the learning rate that all its runs have."""
        rate = learning_rate_of(self.groups[number].runs[0])
        if "lr" not in table and rate is not None:
            table = table.assign(lr=rate)
        return table.assign(**{GROUP: number})

    def _joined(self, tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
        numbered = join_tables(self._rated(number, table) for number, table in enumerate(tables))
        named = numbered.rename(columns=_OF_A_REPLICA)
        if named.empty:
            return named
        settings = {key: named[GROUP].map(self._settings[key]) for key in self._telling_apart}
        front = [GROUP, *settings, *(key for key in (*_OF_A_REPLICA.values(), "seed") if key in named)]
        whole = pd.concat([named, pd.DataFrame(settings, index=named.index)], axis=1)
        return whole[[*front, *(column for column in whole if column not in front)]]


def varies_within(values: pd.Series, cells: Sequence[pd.Series]) -> bool:
    """Return whether rows that have all of some values in common differ in another one, or some have none.

    Example:
        >>> p, hidden = pd.Series([0.0, 0.2, 0.2]), pd.Series([8, 16, 16])
        >>> varies_within(p, []), varies_within(p, [hidden])
        (True, False)
    """
    kinds = values.groupby(list(cells), dropna=False).nunique(dropna=False) if cells else [values.nunique(dropna=False)]
    return bool(max(kinds, default=0) > 1)


def setting_in_words(value: Any) -> str:
    """Return the value of a setting in words, also of one that a group does not have.

    Example:
        >>> setting_in_words(240.0), setting_in_words(float("nan"))
        ('240', 'absent')
    """
    return ABSENT if pd.isna(value) else in_words(value)


def _in_words(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings in which the target of a part stands as the name of what it builds, under the part's own name."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        part = key.removesuffix(_TARGET)
        if part == key or not isinstance(value, str):
            found[key] = value
        elif part == "model":
            own = {name.removeprefix("model."): text for name, text in settings.items() if name.startswith("model.")}
            found[part] = model_name(own)
        else:
            found[part] = value.rpartition(".")[2]
    return found


def _of_one_kind(values: Sequence[Any]) -> list[Any]:
    """Return values as numbers if all that are there are, and else as texts; one that is not there is nan or a word."""
    given = [value for value in values if value is not None]
    if given and all(isinstance(value, int | float) and not isinstance(value, bool) for value in given):
        return [float("nan") if value is None else value for value in values]
    return [ABSENT if value is None else value if isinstance(value, str) else json.dumps(value) for value in values]
