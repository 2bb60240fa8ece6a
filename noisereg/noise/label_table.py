"""A file of labels as columns: csv, npy, npz and what torch saves, each read without running anything that it may hold.

A csv has a first line of names. An npy has one column without a name, or named ones if its numbers are structured. An
npz and a file of torch, such as those of CIFAR-N, have a column for each of their arrays.
"""

import csv
import io
import pickle
import re
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from noisereg.files.reading import read_file

Column = Sequence[str] | np.ndarray
UNNAMED = ""  # the one column of a file that names none
_LARGEST = 1 << 28  # bytes, unpacked: ten million labels with the names of their files
_WHOLE = re.compile(r"\s*[+-]?[0-9]{1,18}\s*")
_NUMPY = np.empty(0).__reduce__()[0]  # what a pickle of an array calls to make one
_DAMAGE = (
    ValueError,
    EOFError,
    KeyError,
    TypeError,
    IndexError,
    AttributeError,
    RuntimeError,
    MemoryError,
    zipfile.BadZipFile,
    csv.Error,
)


def read_label_table(path: Path) -> dict[str, Column]:
    """Read the columns of a file of labels, by name.

    Args:
        path: of a .csv, .npy, .npz, .pt or .pth file of at most 256 MiB, unpacked.

    Returns:
        The texts of a csv, of one length; the arrays of other files, which need not be.

    Raises:
        ValueError: if it is of another kind, no file, too large, damaged, or holds more than arrays and plain values.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = (Path(folder) / "labels.csv").write_text("clean,given\\n0,1\\n1,1\\n")
        ...     read_label_table(Path(folder) / "labels.csv")
        {'clean': ['0', '1'], 'given': ['1', '1']}
    """
    content = read_content(path)
    try:
        return _READERS[path.suffix.lower()](content)
    except pickle.UnpicklingError:
        raise ValueError(f"path={path} holds more than arrays and plain values, and is not loaded") from None
    except _DAMAGE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"path={path} cannot be read as labels ({reason})") from None


def read_content(path: Path) -> bytes:
    """Return the bytes of a file of labels.

    Args:
        path: as of `read_label_table`.

    Raises:
        ValueError: if its name is that of another kind of file, or it is no file, too large, or cannot be read.
    """
    if path.suffix.lower() not in _READERS:
        raise ValueError(f"path={path} must be a file of labels that is one of {', '.join(_READERS)}")
    try:
        return read_file(path, most=_LARGEST)
    except OSError as error:
        raise ValueError(f"path={path} cannot be read as labels ({error.strerror})") from None


def whole_numbers(values: Column) -> np.ndarray:
    """Return the numbers of a column as int64.

    Args:
        values: texts, or an array of whole numbers, (n,) or (n, 1).

    Raises:
        ValueError: naming the first that is no whole number, by its place from 0.

    Example:
        >>> whole_numbers(["3", "0"])
        array([3, 0])
        >>> whole_numbers(["3", "cat"])
        Traceback (most recent call last):
        ValueError: must be whole numbers, got 'cat' in place 1
    """
    if not isinstance(values, np.ndarray):
        for place, text in enumerate(values):
            if not _WHOLE.fullmatch(text):
                raise ValueError(f"must be whole numbers, got {text[:40]!r} in place {place}")
        return np.array([int(text) for text in values], dtype=np.int64)
    if values.dtype.kind not in "iu":
        raise ValueError(f"must be whole numbers, got an array of {values.dtype}: save it as int64")
    if values.ndim == 0 or values.size != len(values):
        raise ValueError(f"must be one number a sample, got an array of shape {values.shape}")
    largest = np.iinfo(np.int64).max
    if values.dtype.kind == "u" and (outside := np.flatnonzero(values.reshape(-1) > largest)).size:
        raise ValueError(f"must be whole numbers below 2**63, got another in place {outside[0]}")
    return values.reshape(-1).astype(np.int64)


def _read_csv(content: bytes) -> dict[str, Column]:
    lines = csv.reader(io.StringIO(content.decode("utf-8-sig", "surrogateescape"), newline=""), strict=True)
    names = [name.strip() for name in next(lines, [])]
    if not any(names):
        raise ValueError("it is empty")
    if all(_WHOLE.fullmatch(name) for name in names):
        raise ValueError("its first line must name the columns, such as given, and holds numbers")
    if len(set(names)) < len(names):
        raise ValueError("two columns have one name")
    rows = list(lines)
    while rows and not rows[-1]:
        rows.pop()
    for number, row in enumerate(rows, start=1):
        if len(row) != len(names):
            raise ValueError(f"row {number} has {len(row)} values, and the first line names {len(names)} columns")
    return {name: [row[place] for row in rows] for place, name in enumerate(names)}


def _read_npy(content: bytes) -> dict[str, Column]:
    values = _load_npy(content)
    if values.dtype.names:
        return {name: values[name] for name in values.dtype.names}
    return {UNNAMED: values}


def _read_npz(content: bytes) -> dict[str, Column]:
    with _checked_archive(content) as archive:
        return {name.removesuffix(".npy"): _load_npy(archive.read(name)) for name in archive.namelist()}


def _load_npy(content: bytes) -> np.ndarray:
    values = np.load(io.BytesIO(content), allow_pickle=False)
    if not isinstance(values, np.ndarray):
        raise ValueError("it is no array")
    return values


def _read_torch(content: bytes) -> dict[str, Column]:
    if zipfile.is_zipfile(io.BytesIO(content)):
        _checked_archive(content).close()
    makers: list[Any] = [_NUMPY, (_NUMPY, "numpy.core.multiarray._reconstruct"), np.ndarray, np.dtype]
    kinds = [type(np.dtype(kind)) for kind in (*"bhilq", *"BHILQ", *"efd", "?")]
    with torch.serialization.safe_globals([*makers, *dict.fromkeys(kinds)]):
        found = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    columns = found if isinstance(found, Mapping) else {UNNAMED: found}
    return {str(name): _as_array(values) for name, values in columns.items()}


def _as_array(values: Any) -> np.ndarray:
    return values.numpy() if isinstance(values, torch.Tensor) else np.asarray(values)


def _checked_archive(content: bytes) -> zipfile.ZipFile:
    """Open an archive that unpacks to as much as is read, and not to more."""
    archive = zipfile.ZipFile(io.BytesIO(content))
    if sum(entry.file_size for entry in archive.infolist()) > _LARGEST:
        raise ValueError(f"it unpacks to more than {_LARGEST:,} bytes")
    return archive


_READERS: dict[str, Callable[[bytes], dict[str, Column]]] = {
    ".csv": _read_csv,
    ".npy": _read_npy,
    ".npz": _read_npz,
    ".pt": _read_torch,
    ".pth": _read_torch,
}
