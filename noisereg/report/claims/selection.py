"""Which replicas a claim speaks of, at which moment of their training, and what they are compared with."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from noisereg.labels import in_words
from noisereg.statistics import CELL

REPLICA = (*CELL, "seed")  # the columns that tell one replica from another, as far as there are several
_MOMENTS = {
    "end": "at the end",
    "start": "at the start",
    "lowest": "at its lowest",
    "highest": "at its highest",
    "rise": "in its largest rise from one measurement to the next",
}
_EQUAL = 1e-9
_FEWEST_RANKS = 3


class NothingSelectedError(ValueError):
    """A selection that no replica, or no measurement, answers to."""


class NothingMeasuredError(NothingSelectedError):
    """A selection of replicas of which none has a value of the metric at the moment."""


@dataclass(frozen=True)
class Selection:
    """Replicas that have given values in given columns, at a moment of their training.

    Args:
        where: value by column; a number that is not whole matches to 1e-9 of its size.
        at: end, start, lowest, highest, or an epoch, at which it must have been measured; rise: by how much the metric
            grows most from one measurement to the next, below 0 if it always falls.
        metric: another than the one that is asked for; None if it is that one.

    Example:
        >>> Selection({"p": 0.2}, at="start").words
        'p = 0.2, at the start'
    """

    where: Mapping[str, Any] = field(default_factory=dict)
    at: str | float = "end"
    metric: str | None = None

    def but(self, mapping: Any, key: str = "of") -> "Selection":
        """Return a selection in which what a mapping of a configuration names is replaced.

        Args:
            mapping: value by column, and `at` and `metric`.
            key: that the mapping stands under, for the errors.

        Raises:
            ValueError: if it is no mapping, a value is neither a number nor a text, `at` names no moment, or `metric`
                is no text.

        Example:
            >>> Selection({"arm": "hinge", "p": 0.2}).but({"p": 0}).words
            'arm = hinge, p = 0, at the end'
        """
        if not isinstance(mapping, Mapping):
            raise ValueError(f"{key} must be a mapping such as {{p: 0.2, at: end}}, got {mapping!r}")
        columns = {str(column): value for column, value in mapping.items() if column not in ("at", "metric")}
        where = {column: _value(value, f"{key}.{column}") for column, value in columns.items()}
        at, metric = mapping.get("at", self.at), mapping.get("metric", self.metric)
        if metric is not None and not isinstance(metric, str):
            raise ValueError(f"{key}.metric must be the name of a metric, got {metric!r}")
        return Selection({**self.where, **where}, _moment(at, f"{key}.at"), metric)

    @property
    def words(self) -> str:
        """Which replicas, at which moment, in words."""
        moment = f"at epoch {in_words(self.at)}" if _is_number(self.at) else _MOMENTS[str(self.at)]
        return ", ".join(part for part in (self.metric, self.place, moment) if part)

    @property
    def during(self) -> str:
        """Which replicas, and from when on, in words.

        Example:
            >>> Selection({"p": 0.2}, at=100).during, Selection().during
            ('p = 0.2, from epoch 100 on', 'over the whole training')
        """
        since = f"from epoch {in_words(self.at)} on" if _is_number(self.at) else "over the whole training"
        return ", ".join(part for part in (self.place, since) if part)

    @property
    def place(self) -> str:
        """Which replicas, but not when, in words.

        Example:
            >>> Selection({"arm": "hinge", "p": 0.2}).place
            'arm = hinge, p = 0.2'
        """
        return ", ".join(f"{column} = {in_words(value)}" for column, value in self.where.items())

    def rows(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of these replicas, at whatever moment.

        Raises:
            NothingSelectedError: if there are none; the text says what there is.

        Example:
            >>> Selection({"p": 0.3}).rows(pd.DataFrame({"p": [0.1 + 0.2, 0.5], "seed": 0}))
                 p  seed
            0  0.3     0
        """
        for column, value in self.where.items():
            if column not in frame:
                raise NothingSelectedError(f"no replica has the column {column}")
            kept = frame[frame[column].isin([found for found in frame[column].unique() if _equal(found, value)])]
            if kept.empty:
                found = ", ".join(in_words(other) for other in frame[column].drop_duplicates()) or "no replicas"
                raise NothingSelectedError(f"no replica has {column} = {in_words(value)}; there are {found}")
            frame = kept
        return frame

    def values(
        self, metric: str, *, replicas: pd.DataFrame, curves: pd.DataFrame, also: Sequence[str] = ()
    ) -> pd.DataFrame:
        """Return the value of a metric of each of these replicas.

        Args:
            metric: name of the column, unless the selection names another; with a star at its end, the mean of all
                columns that begin so.
            replicas: one row for each replica, as it ended.
            curves: one row for each replica and measurement, with step and epoch.
            also: further columns to return.

        Returns:
            The columns that name a replica or that the selection names, and value; a replica without one is left out.

        Raises:
            NothingMeasuredError: if no replica has a value; of an epoch the text says when there was one after it.
            NothingSelectedError: if there is no such replica or metric.

        Example:
            >>> rows = pd.DataFrame({"p": [0.0, 0.2], "seed": 0, "test/error": [0.4, 0.2]})
            >>> Selection({"p": 0.2}).values("test/error", replicas=rows, curves=rows.iloc[:0])
                 p  seed  value
            1  0.2     0    0.2
        """
        metric = self.metric or metric
        frame = _with_mean(replicas if self.at == "end" else curves, metric)
        if frame.empty:
            raise NothingSelectedError("there are no replicas" if self.at == "end" else "there are no curves")
        if metric not in frame:
            raise NothingSelectedError(f"{'no replica' if self.at == 'end' else 'no curve'} has the column {metric}")
        rows = self.rows(frame)
        names = [column for column in dict.fromkeys([*REPLICA, *self.where, *also]) if column in rows]
        measured = self._at_moment(rows, metric, names)
        found = measured[names].assign(value=measured[metric])
        found = found[found["value"].notna()]
        if found.empty:
            later = _next_epoch(rows, metric, self.at) if _is_number(self.at) else ""
            raise NothingMeasuredError(f"{metric} was not measured {self.words.rpartition(', ')[2]}{later}")
        return found

    def rank_correlations(self, metric: str, other: str, *, curves: pd.DataFrame) -> pd.DataFrame:
        """Return of each of these replicas how alike the courses of two metrics are: Spearman's rank correlation.

        Args:
            metric: name of a column.
            other: name of another one.
            curves: one row for each replica and measurement; from the epoch `at` on if that is a number.

        Returns:
            The columns that name a replica or that the selection names, and value: 1 if both metrics rise and fall
            together, -1 if one falls where the other rises; nan for fewer than three measurements, or if one is
            constant.

        Raises:
            NothingSelectedError: if there is no such replica or metric.

        Example:
            >>> rows = pd.DataFrame({"p": 0.2, "seed": 0, "epoch": range(4), "a": [4, 3, 1, 2], "b": [9, 5, 1, 3]})
            >>> Selection().rank_correlations("a", "b", curves=rows)["value"].tolist()
            [1.0]

        Source: C. Spearman, "The proof and measurement of association between two things", Am. J. Psychol. 15, 1904.
        """
        if curves.empty:
            raise NothingSelectedError("there are no curves")
        if missing := [column for column in (metric, other) if column not in curves]:
            raise NothingSelectedError(f"no curve has the column {missing[0]}")
        rows = self.rows(curves)
        rows = rows[rows[metric].notna() & rows[other].notna()]
        if _is_number(self.at):
            rows = rows[rows["epoch"] >= self.at]
        names = [column for column in dict.fromkeys([*REPLICA, *self.where]) if column in rows]
        values = [
            (*name, part[[metric, other]].rank().corr(min_periods=_FEWEST_RANKS).iloc[0, 1])
            for name, part in rows.groupby(names)
        ]
        return pd.DataFrame(values, columns=[*names, "value"]).astype({"value": float})  # also where there is no part

    def _at_moment(self, rows: pd.DataFrame, metric: str, names: Sequence[str]) -> pd.DataFrame:
        if self.at == "end":
            return rows
        if _is_number(self.at):
            rows = rows[np.isclose(rows["epoch"], float(self.at), rtol=_EQUAL, atol=0) & rows[metric].notna()]
        elif self.at in ("lowest", "highest"):
            rows = rows[rows[metric].notna()].sort_values(metric, ascending=self.at == "lowest", kind="stable")
            return rows.drop_duplicates(names)
        if self.at == "rise":
            rows = rows[rows[metric].notna()].sort_values("step", kind="stable")
            changes = rows.assign(**{metric: rows.groupby(names)[metric].diff()})
            return changes[changes[metric].notna()].sort_values(metric, ascending=False).drop_duplicates(names)
        return rows.sort_values("step", kind="stable").drop_duplicates(names)


def check_only_seeds_differ(rows: pd.DataFrame) -> None:
    """Check that replicas are one for each seed, of one arm, learning rate and p: only those are independent.

    Args:
        rows: of the replicas that are selected.

    Raises:
        ValueError: naming what to name in the selection.

    Example:
        >>> check_only_seeds_differ(pd.DataFrame({"p": [0.0, 0.2], "seed": 0}))
        Traceback (most recent call last):
        ...
        ValueError: a mean must be over seeds alone, got p = 0, 0.2; name one p
    """
    for column in CELL:
        found = rows[column].drop_duplicates() if column in rows else pd.Series(dtype=object)
        if len(found) > 1:
            values = ", ".join(in_words(value) for value in found)
            raise ValueError(f"a mean must be over seeds alone, got {column} = {values}; name one {column}")
    seeds = rows["seed"] if "seed" in rows else pd.Series(dtype=object)
    if not seeds.is_unique:
        twice = in_words(seeds[seeds.duplicated()].iloc[0])
        raise ValueError(f"a mean must be over different seeds, got seed {twice} twice")


def pairs(left: pd.DataFrame, right: pd.DataFrame) -> pd.DataFrame:
    """Return the values of two selections beside each other, seed by seed.

    Args:
        left: values as `Selection.values` gives them, one for each seed.
        right: the values that they are compared with, likewise.

    Returns:
        Columns seed, left and right; a seed without a partner is left out.

    Raises:
        NothingSelectedError: if there is no pair.

    Example:
        >>> left = pd.DataFrame({"p": 0.2, "seed": [0, 1, 2], "value": [1.0, 2.0, 3.0]})
        >>> right = pd.DataFrame({"p": 0.0, "seed": [2, 1], "value": [5.0, 6.0]})
        >>> pairs(left, right)
           seed  left  right
        0     1   2.0    6.0
        1     2   3.0    5.0
    """
    sides = [
        side[["seed", "value"]] if "seed" in side else pd.DataFrame(columns=["seed", "value"]) for side in (left, right)
    ]
    both = sides[0].merge(sides[1], on="seed").rename(columns={"value_x": "left", "value_y": "right"})
    if both.empty:
        raise NothingSelectedError("no two replicas make a pair: the selections share no seed")
    return both


def _with_mean(frame: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Add the mean of the columns that a star stands for, such as the layers of a stage."""
    stem, star, _ = metric.partition("*")
    columns = [name for name in frame if star and str(name).startswith(stem)]
    if not columns:
        return frame
    return pd.concat([frame, frame[columns].mean(axis=1, skipna=False).rename(metric)], axis=1)


def _next_epoch(rows: pd.DataFrame, metric: str, at: str | float) -> str:
    """Return in words at which epoch after a moment a metric was measured; empty if at none."""
    later = rows["epoch"][(rows["epoch"] > at) & rows[metric].notna()]
    return "" if later.empty else f", but at {in_words(later.min())}"


def _equal(found: Any, value: Any) -> bool:
    if _is_number(found) and _is_number(value):
        if float(found).is_integer() and float(value).is_integer():  # as seeds, which have up to nineteen digits
            return int(found) == int(value)
        return math.isclose(found, value, rel_tol=_EQUAL)
    return bool(found == value) and isinstance(found, bool | np.bool_) == isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def _value(value: Any, key: str) -> Any:
    if not isinstance(value, str) and not (isinstance(value, int | float) and math.isfinite(value)):
        raise ValueError(f"{key} must be a number or a text, got {value!r}")
    return value


def _moment(at: Any, key: str) -> str | float:
    if (isinstance(at, str) and at in _MOMENTS) or (_is_number(at) and 0 <= at < math.inf):
        return at
    raise ValueError(f"{key} must be one of {', '.join(_MOMENTS)}, or an epoch, got {at!r}")
