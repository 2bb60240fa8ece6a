"""Labels from a file, such as those that people gave: one a sample, in place of a law that labels are drawn from."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from noisereg.noise.assigned import Assigned
from noisereg.noise.label_table import UNNAMED, Column, read_content, read_label_table, whole_numbers
from noisereg.noise.rule import Rule

GIVEN, CLEAN, INDEX, FILE = "given", "clean", "index", "file"  # columns by what they hold
_CLEAN_NAMES = (CLEAN, "clean_label")  # the second one is that of CIFAR-N
_MOST_NAMED = 8  # columns in an error
_TRAIN = "train/"


@dataclass(frozen=True, eq=False)
class Samples:
    """The training samples that labels of a file are for.

    Args:
        labels: clean, of all training samples that the data set has, in its order.
        rows: which of them are trained on: number i of the training split is number rows[i] of all. None: all.
        names: of their files below the folder of the training data, one for each label; None if they have none.
        source: what they are, in words.
    """

    labels: Int64[Tensor, " n"]
    rows: Int64[Tensor, " k"] | None = None
    names: Sequence[str] | None = None
    source: str = "the data set"

    @property
    def trained(self) -> Int64[Tensor, " k"]:
        """The numbers of those that are trained on."""
        return torch.arange(len(self.labels)) if self.rows is None else self.rows


@dataclass(frozen=True, kw_only=True)
class FileLabels(Rule):
    """With probability p, give a sample the label that a file has for it.

    The file is a csv with a first line of names, or an npy, npz or torch file, such as those of CIFAR-N. It has a label
    a training sample, in the order of the data set. With a column `index` the numbers of the samples in the data set
    stand there, and with a column `file` the names of their images below the folder of the training data, such as
    cat/1.png; then it may leave out samples that are not trained on. Clean labels, if it has them, must be those of the
    data set: that is how a wrong order is found.

    The law of a redrawn label, as a matrix, is the one that the file's labels have given the clean ones. In expected
    mode a target is the average over the draw: 1 - p for the clean label and p for that of the file.

    Args:
        path: of the file: .csv, .npy, .npz, .pt or .pth, at most 256 MiB.
        column: of the labels; None for `given`, or the only one beside those of clean labels, indices and files.
        clean_column: of the clean labels; None for `clean` or `clean_label` if there is one.
        assigned: labels of the samples, see `of`.

    Raises:
        ValueError: if there is no path; from `of` on, if the labels are not what the samples need.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = (Path(folder) / "labels.csv").write_text("clean,given\\n0,1\\n1,1\\n")
        ...     rule = FileLabels(p=0.5, path=f"{folder}/labels.csv").of(Samples(torch.tensor([0, 1])), num_classes=2)
        >>> rule.assigned.labels, rule.transition(2).tolist()
        (tensor([1, 1]), [[0.5, 0.5], [0.0, 1.0]])

    Source: labels that people gave: Wei, Zhu, Cheng, Liu, Niu, Liu, "Learning with noisy labels revisited", ICLR 2022.
    """

    path: str | None = None
    column: str | None = None
    clean_column: str | None = None
    assigned: Assigned | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.path:
            raise ValueError("path must name a file of labels: csv, npy, npz or one of torch; got none")

    @property
    def keeps_labels(self) -> bool:
        """Whether a sample has one label throughout: where it is not mixed anew with the clean one."""
        return self.frozen or (self.p == 1 and not self.expected)

    def redraw_law(self, num_classes: int) -> Float64[Tensor, "classes classes"]:
        """Return the law of the file's label given the clean one, as the samples in the file have it."""
        if self.assigned is None:
            raise ValueError(f"path={self.path}: its labels belong to samples; take FileLabels.of(samples)")
        law = self.assigned.law()
        if len(law) != num_classes:
            raise ValueError(f"path={self.path} has labels of {len(law)} classes, and {num_classes} are asked for")
        return law

    def fingerprint(self) -> dict[str, int | str]:
        """Return what tells the file from one of other contents, wherever it lies.

        Raises:
            ValueError: if it cannot be read.
        """
        content = read_content(Path(str(self.path)))
        return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()[:16]}

    def of(self, samples: Samples, *, num_classes: int) -> "FileLabels":
        """Return the rule with the labels that the file has for some samples.

        Args:
            samples: of the data set that is trained on.
            num_classes: C.

        Returns:
            The rule, with the names of the columns that were found and what they assign.

        Raises:
            ValueError: naming what is wrong with the file, or that it does not fit the samples.
        """
        table = self._table
        column = self._label_column(table)
        given = self._numbers(table, column)
        place = self._places(table, samples, len(given), column)
        self._check_range(given, column, num_classes)
        clean_column = self._clean_column(table)
        clean = samples.labels.cpu().numpy()
        if clean_column is not None:
            self._check_clean(self._numbers(table, clean_column), clean[place], clean_column, place, samples)
        of_all = np.full(len(clean), -1)
        of_all[place] = given
        rows = samples.trained.cpu().numpy()
        if (missing := rows[of_all[rows] < 0]).size:
            raise ValueError(
                f"path={self.path} has no label for {missing.size:,} of the {len(rows):,} training samples, the first "
                f"is {_describe_sample(samples, int(missing[0]))}: give one a sample"
            )
        pairs = np.bincount(clean[place] * num_classes + given, minlength=num_classes**2)
        assigned = Assigned(
            labels=torch.from_numpy(of_all[rows]),
            clean=torch.from_numpy(clean[rows]),
            counts=torch.from_numpy(pairs.reshape(num_classes, num_classes)),
        )
        return replace(self, assigned=assigned, column=column, clean_column=clean_column)

    @cached_property
    def _table(self) -> dict[str, Column]:
        return read_label_table(Path(str(self.path)))

    def _label_column(self, table: Mapping[str, Column]) -> str:
        if self.column is not None:
            self._check_column("column", self.column, table)
            return self.column
        found = [name for name in table if name not in (*_CLEAN_NAMES, self.clean_column, INDEX, FILE)]
        if GIVEN not in found and len(found) != 1:
            named = ", ".join(found[:_MOST_NAMED]) or "none that could be meant"
            raise ValueError(f"column must name the labels in {self.path}, which has the columns {named}")
        return GIVEN if GIVEN in found else found[0]

    def _clean_column(self, table: Mapping[str, Column]) -> str | None:
        if self.clean_column is not None:
            self._check_column("clean_column", self.clean_column, table)
            return self.clean_column
        return next((name for name in _CLEAN_NAMES if name in table), None)

    def _check_column(self, argument: str, name: str, table: Mapping[str, Column]) -> None:
        if name in table:
            return
        if set(table) == {UNNAMED}:
            raise ValueError(f"{argument}={name}: {self.path} has one column without a name; leave {argument} out")
        close = get_close_matches(name, list(table), cutoff=0.5)
        mend = f"did you mean {' or '.join(close)}?" if close else f"it has {', '.join(list(table)[:_MOST_NAMED])}"
        raise ValueError(f"{argument}={name}: {self.path} has no such column; {mend}")

    def _numbers(self, table: Mapping[str, Column], column: str) -> np.ndarray:
        try:
            return whole_numbers(table[column])
        except ValueError as error:
            raise ValueError(f"path={self.path}: {_in_words(column)} {error}") from None

    def _places(self, table: Mapping[str, Column], samples: Samples, num_labels: int, column: str) -> np.ndarray:
        """Return the number of the sample in the data set that each label is for."""
        n = len(samples.labels)
        if FILE in table and column != FILE:
            places = self._places_of_files(table[FILE], samples)
        elif INDEX in table and column != INDEX:
            places = self._numbers(table, INDEX)
            if (outside := places[(places < 0) | (places >= n)]).size:
                raise ValueError(f"path={self.path}: index must be in [0, {n}) for {samples.source}, got {outside[0]}")
        elif num_labels != n:
            raise ValueError(
                f"path={self.path} has {num_labels:,} labels, and {samples.source} has {n:,} training samples, before "
                "any are left out: give one a sample, in their order, or add a column index with their numbers"
            )
        else:
            return np.arange(n)
        if len(places) != num_labels:
            raise ValueError(f"path={self.path} has {num_labels:,} labels and names {len(places):,} samples")
        numbers, times = np.unique(places, return_counts=True)
        if (twice := numbers[times > 1]).size:
            raise ValueError(f"path={self.path} has {_describe_sample(samples, int(twice[0]))} more than once")
        return places

    def _places_of_files(self, values: Column, samples: Samples) -> np.ndarray:
        if samples.names is None:
            raise ValueError(
                f"path={self.path} goes by the names of files, and the samples of {samples.source} have none; "
                f"rename its column {FILE} to go by {INDEX}, or by the order"
            )
        place_of = {name: place for place, name in enumerate(samples.names)}
        names = [str(name).removeprefix("./").removeprefix(_TRAIN) for name in values]
        places = [place_of.get(name, -1) for name in names]
        if -1 in places:
            unknown = names[places.index(-1)]
            raise ValueError(
                f"path={self.path} names {places.count(-1):,} files that are not among the training images, such as "
                f"{unknown[:80]!r}: name them as {samples.names[0]!r}"
            )
        return np.array(places, dtype=np.int64)

    def _check_range(self, labels: np.ndarray, column: str, num_classes: int) -> None:
        if (outside := np.flatnonzero((labels < 0) | (labels >= num_classes))).size:
            raise ValueError(
                f"path={self.path}: {_in_words(column)} must be in [0, {num_classes}), got {labels[outside[0]]} in "
                f"place {outside[0]}"
            )

    def _check_clean(
        self, found: np.ndarray, clean: np.ndarray, column: str, place: np.ndarray, samples: Samples
    ) -> None:
        if len(found) != len(clean):
            raise ValueError(f"path={self.path}: {column} has {len(found):,} labels beside {len(clean):,} given ones")
        if (wrong := np.flatnonzero(found != clean)).size:
            first = int(wrong[0])
            raise ValueError(
                f"path={self.path}: the clean labels in {column} are not those of {samples.source} in {wrong.size:,} "
                f"of {len(clean):,} samples, the first is {_describe_sample(samples, int(place[first]))} "
                f"({found[first]}, and {clean[first]} in the data): the file is of other data or in another order"
            )


def _in_words(column: str) -> str:
    return f"column {column}" if column != UNNAMED else "its labels"


def _describe_sample(samples: Samples, place: int) -> str:
    return f"number {place}" if samples.names is None else f"{samples.names[place]}"
