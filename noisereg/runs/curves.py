"""The curves of a run: one row a replica and step, one column a metric."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import pairwise
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

    def best(self, metric: str) -> list[dict[str, float]]:
        """Return for each replica the smallest value of a metric and the epoch it was first seen in, as `best/...`."""
        return [
            {f"best/{metric}": value, f"best/{metric}/epoch": epoch} if found else {}
            for found, epoch, (value,) in self._smallest(metric, [metric])
        ]

    def selected(self, metric: str, *, by: str, beside: Sequence[str] = ()) -> list[dict[str, float]]:
        """Return for each replica a metric where another one was first smallest, and the epoch, as `selected/...`.

        Args:
            metric: that is selected.
            by: the other one.
            beside: further metrics of the same row, as far as they were measured there.
        """
        return [
            {
                f"selected/{metric}": value,
                f"selected/{metric}/epoch": epoch,
                **{f"selected/{key}": other for key, other in zip(beside, others, strict=True) if np.isfinite(other)},
            }
            if found
            else {}
            for found, epoch, (_, value, *others) in self._smallest(by, [by, metric], beside)
        ]

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
        if "step" in state:  # of an older version: a column a metric
            columns = {key: column.numpy() for key, column in state.items()}
            self._load({key: columns.pop(key) for key in PLACE}, columns.pop("replica"), columns)
            return
        written: list[str] = []
        if mark := Mark.of(state):
            if self._journal is None:
                raise ValueError("the rows are in a journal, and none was given")
            written = self._journal.read(mark, mend=is_first_process())
        self._measurements = []
        for line in [*written, *state["lines"]]:
            _add(self._measurements, _measurement(line))
        self._num_written = len(written)

    def read_replica(self, path: Path, replica: int) -> None:
        """Read the rows of one replica from the file of a run with that replica alone."""
        table = pandas.read_csv(path).drop(columns=list(self.replicas[replica]))
        known, self._measurements = self._measurements, []
        columns = {key: table[key].to_numpy() for key in table}
        self._load({key: columns.pop(key) for key in PLACE}, np.full(len(table), replica), columns)
        self._measurements = [part for part in known if list(part.replicas) != [replica]] + self._measurements

    def has_last(self, metric: str) -> bool:
        """Return whether a metric was measured at the last step."""
        return metric in self._measurements[-1].values

    def _load(self, where: dict[str, np.ndarray], numbers: np.ndarray, values: dict[str, np.ndarray]) -> None:
        changes = (np.diff(where["step"], prepend=-1) != 0) | (np.diff(numbers, prepend=-1) < 0)
        edges = [*np.flatnonzero(changes), len(numbers)]
        self._measurements = []
        for first, stop in pairwise(edges):
            mine = {key: column[first:stop].astype(np.float64) for key, column in values.items()}
            known = {key: column for key, column in mine.items() if not np.isnan(column).all()}
            step, epoch = (int(where[key][first]) for key in PLACE)
            _add(self._measurements, Measurement(step, epoch, numbers[first:stop].tolist(), known))

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

    def _smallest(
        self, metric: str, wanted: Sequence[str], beside: Sequence[str] = ()
    ) -> Iterator[tuple[bool, int, list[float]]]:
        """Find where a metric is first smallest for each replica, among the rows that have all wanted values.

        The values of that row follow: the wanted ones, then those `beside` them, which may be nan.
        """
        where, numbers, values = self._columns()
        nothing = np.full(len(numbers), np.nan)
        columns = np.array([values.get(key, nothing) for key in (*wanted, *beside)])
        for replica in range(len(self.replicas)):
            rows = np.flatnonzero((numbers == replica) & np.isfinite(columns[: len(wanted)]).all(axis=0))
            if not len(rows):
                yield False, 0, [np.nan] * len(columns)
                continue
            row = rows[values[metric][rows].argmin()]
            yield True, int(where["epoch"][row]), columns[:, row].tolist()


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


def _measurement(line: str) -> Measurement:
    """Return the measurement in a line."""
    step, epoch, replicas, values = json.loads(line)
    return Measurement(step, epoch, replicas, values)


def _seven_digits(values: Float[np.ndarray, " k"]) -> Float[np.ndarray, " k"]:
    """Round to the digits that float32 has."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        scale = 10.0 ** (6 - np.floor(np.log10(np.abs(values))))
        rounded = np.round(values * scale) / scale
    return np.where(np.isfinite(rounded) & (values != 0), rounded, values)
