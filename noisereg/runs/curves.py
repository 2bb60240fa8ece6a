"""The curves of a run: one row a replica and step, one column a metric."""

import json
import time
from ast import literal_eval
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas
from jaxtyping import Float, Float64, Int64

from noisereg.engine.measurement import Measurement
from noisereg.files.atomic import write_atomically
from noisereg.runs.environment import is_first_process
from noisereg.runs.journal import Journal, Mark

PLACE = ("step", "epoch")
_SHARE_OF_TIME = 0.02  # that writing the file may take
_LEAST_SECONDS = 5.0  # between two writes


class Curves:
    """Collect what is measured of every replica of a run, and write it to a csv file if given one.

    Rows begin with step, epoch and what names the replica (p, seed and, if there are several, lr). A replica that has
    stopped has no more rows. Values have the seven digits that float32 has. The file is written whole, from time to
    time and at the end, so a reader never sees half a row.

    Args:
        path: of the csv file; None to keep the rows in memory only.
        replicas: what names each, column by column.
        journal: that takes the measurements which checkpoints need; None for a checkpoint that holds them itself.

    Attributes:
        replicas: the same names.

    Example:
        >>> curves = Curves(None, [{"p": 0.0, "seed": 0}, {"p": 0.2, "seed": 0}])
        >>> curves.observe(Measurement(240, 1, [0, 1], {"test/error": np.array([0.5, 0.25])}))
        >>> curves.frame()[["step", "p", "test/error"]].values.tolist()
        [[240.0, 0.0, 0.5], [240.0, 0.2, 0.25]]
    """

    def __init__(
        self, path: Path | None, replicas: Sequence[Mapping[str, Any]], *, journal: Journal | None = None
    ) -> None:
        self.path, self.replicas = path, list(replicas)
        self._journal, self._num_written = journal, 0
        self._measurements: list[Measurement] = []
        self._written, self._price = time.monotonic(), 0.0

    def observe(self, measurement: Measurement) -> None:
        """Add a row for each of the measured replicas, or values to the rows of the same step."""
        _add(self._measurements, _rounded(measurement))
        if time.monotonic() - self._written > max(_LEAST_SECONDS, self._price / _SHARE_OF_TIME):
            self.write()

    def write(self) -> None:
        """Write all rows; of several processes the first one does."""
        began = time.monotonic()
        if self.path is not None and self._measurements and is_first_process():
            text = self.frame().to_csv(index=False, lineterminator="\n")
            write_atomically(self.path, text.encode())
        self._written = time.monotonic()
        self._price = self._written - began

    def frame(self) -> pandas.DataFrame:
        """Return all rows, in the order of the steps, and the metrics by name; what was not measured is nan."""
        where, numbers, values = self._columns()
        order = np.lexsort((numbers, where["step"]))
        names = {key: [self.replicas[number][key] for number in numbers[order]] for key in self.replicas[0]}
        places = {key: where[key][order] for key in PLACE}
        return pandas.DataFrame({**places, **names, **{key: values[key][order] for key in sorted(values)}})

    def last(self) -> list[dict[str, float]]:
        """Return the newest value of every metric for each replica."""
        newest: list[dict[str, float]] = [{} for _ in self.replicas]
        for measurement in self._measurements:
            for place, replica in enumerate(measurement.replicas):
                newest[replica] |= {key: float(values[place]) for key, values in measurement.values.items()}
        return newest

    def best(
        self, metric: str, *, by: str = "", beside: Sequence[str] = (), name: str = "best"
    ) -> list[dict[str, float]]:
        """Return for each replica a metric where it, or another one, was first smallest, and the epoch, as `best/...`.

        Args:
            metric: that is returned.
            by: the other one; empty for the metric itself.
            beside: further metrics of the same row, as far as they were measured there.
            name: that stands in front of all these.
        """
        where, numbers, values = self._columns()
        nothing, by = np.full(len(numbers), np.nan), by or metric
        has_both = np.isfinite([values.get(key, nothing) for key in (metric, by)]).all(axis=0)
        found: list[dict[str, float]] = []
        for replica in range(len(self.replicas)):
            rows = np.flatnonzero((numbers == replica) & has_both)
            if not len(rows):
                found.append({})
                continue
            row = rows[values[by][rows].argmin()]
            others = [key for key in beside if np.isfinite(values.get(key, nothing)[row])]
            found.append(
                {
                    f"{name}/{metric}": float(values[metric][row]),
                    f"{name}/{metric}/epoch": int(where["epoch"][row]),
                    **{f"{name}/{key}": float(values[key][row]) for key in others},
                }
            )
        return found

    def state(self, pending: Measurement | None = None) -> dict[str, Any]:
        """Return what a checkpoint is to hold, as plain values, after writing to the journal what is new.

        The last measurement is not written there but returned, as more values of the same evaluation may come.

        Args:
            pending: a measurement that is about to come, and belongs to the checkpoint.
        """
        open_ones = self._measurements[-1:]
        state: dict[str, Any] = {}
        if self._journal is None:
            open_ones = list(self._measurements)
        elif is_first_process():
            complete = self._measurements[self._num_written : -1]
            self._journal.append([_line(measurement) for measurement in complete])
            self._num_written += len(complete)
            state = self._journal.mark()._asdict()
        if pending is not None:
            _add(open_ones, _rounded(pending))
        return {**state, "lines": [_line(measurement) for measurement in open_ones]}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore the rows of the run that is resumed.

        Raises:
            ValueError: if they are in a journal that does not have them.
        """
        written: list[str] = []
        if mark := Mark.of(state):
            if self._journal is None:
                raise ValueError("the rows are in a journal, and none was given")
            written = self._journal.read(mark, mend=is_first_process())
        self._measurements = []
        for line in [*written, *state["lines"]]:
            _add(self._measurements, Measurement(*json.loads(line)))
        self._num_written = len(written)

    def read_part(self, path: Path, replicas: Sequence[int]) -> None:
        """Read the rows of some replicas from the file of a run with these alone."""
        table = pandas.read_csv(path, dtype=dict.fromkeys(self.replicas[0], str))
        number_of = {tuple(self.replicas[number].values()): number for number in replicas}
        texts = [table.pop(key) for key in self.replicas[0]]
        names = [column.map({text: literal_eval(text) for text in column.unique()}) for column in texts]
        numbers = np.array([number_of[name] for name in zip(*names, strict=True)], dtype=np.int64)
        self._measurements = [part for part in self._measurements if not {*part.replicas} & {*replicas}]
        for (step, epoch), rows in table.groupby(list(PLACE), sort=False):
            measured = rows.drop(columns=list(PLACE)).dropna(axis="columns", how="all")
            values = {str(key): measured[key].to_numpy(np.float64) for key in measured}
            _add(self._measurements, Measurement(int(step), int(epoch), numbers[rows.index].tolist(), values))

    def has_last(self, metric: str) -> bool:
        """Return whether a metric was measured at the last step."""
        return metric in self._measurements[-1].values

    def _columns(self) -> tuple[dict[str, np.ndarray], Int64[np.ndarray, " rows"], dict[str, np.ndarray]]:
        """Return step and epoch, the number of the replica and the values of every row, the oldest first."""
        sizes = [len(part.replicas) for part in self._measurements]
        numbers = np.array([number for part in self._measurements for number in part.replicas], dtype=np.int64)
        where = {
            key: np.repeat(np.array([getattr(part, key) for part in self._measurements], dtype=np.int64), sizes)
            for key in PLACE
        }
        values: dict[str, Float64[np.ndarray, " rows"]] = {}
        first = 0
        for part, size in zip(self._measurements, sizes, strict=True):
            for key, column in part.values.items():
                values.setdefault(key, np.full(len(numbers), np.nan))[first : first + size] = column
            first += size
        return where, numbers, values


class _Values(Mapping[str, Float64[np.ndarray, " k"]]):
    """The values of one measurement in one array: an array for each of a hundred metrics takes thirty times the room.

    Args:
        places: row of each metric, by its name; those of all measurements with the same metrics are one object.
        matrix: (metrics, k).
    """

    __slots__ = ("_matrix", "_places")

    def __init__(self, places: dict[str, int], matrix: Float64[np.ndarray, "metrics k"]) -> None:
        self._places, self._matrix = places, matrix

    def __getitem__(self, key: str) -> Float64[np.ndarray, " k"]:
        return self._matrix[self._places[key]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


@cache
def _places(*names: str) -> dict[str, int]:
    return {name: place for place, name in enumerate(names)}


def _add(measurements: list[Measurement], measurement: Measurement) -> None:
    """Add a measurement to others, or its values to the last one if that is of the same evaluation."""
    values: dict[str, Any] = dict(measurement.values)
    replicas: Sequence[int] = list(map(int, measurement.replicas))
    last = measurements[-1] if measurements else None
    if last and list(last.replicas) == replicas:
        replicas = last.replicas  # one object, as few runs stop a replica often
        if last.step == measurement.step:
            measurement = measurements.pop()._replace(epoch=last.epoch)
            values = {**last.values, **values}
    matrix = np.array([np.asarray(column, np.float64) for column in values.values()]).reshape(len(values), -1)
    measurements.append(measurement._replace(replicas=replicas, values=_Values(_places(*values), matrix)))


def _rounded(measurement: Measurement) -> Measurement:
    values = {key: _seven_digits(np.asarray(column, np.float64)) for key, column in measurement.values.items()}
    return measurement._replace(values=values)


def _line(measurement: Measurement) -> str:
    """Return a measurement as a line of JSON, in which numbers are exact."""
    values = {key: column.tolist() for key, column in measurement.values.items()}
    return json.dumps([int(measurement.step), int(measurement.epoch), list(map(int, measurement.replicas)), values])


def _seven_digits(values: Float[np.ndarray, " k"]) -> Float[np.ndarray, " k"]:
    """Round to the digits that float32 has."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        scale = 10.0 ** (6 - np.floor(np.log10(np.abs(values))))
        rounded = np.round(values * scale) / scale
    return np.where(np.isfinite(rounded) & (values != 0), rounded, values)
