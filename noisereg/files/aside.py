"""Arrays that there is no room for in memory, in a file that no one else sees and that is gone with the process."""

import errno
import logging
import shutil
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from io import BufferedRandom
from typing import NamedTuple, cast

import numpy as np

log = logging.getLogger(__name__)


class _Place(NamedTuple):
    """Where an array begins in the file, and what it is."""

    offset: int
    dtype: np.dtype
    shape: tuple[int, ...]


class SetAside:
    """Keep arrays in a temporary file, and read them again when they are asked for.

    The file lies where Python has such files (`TMPDIR` says where), without a name, so that a killed process leaves
    nothing. It takes at most half of what is free there. What it does not take is not kept.

    Args:
        need: bytes that all arrays will have together; where they have no room, nothing is kept.

    Example:
        >>> aside = SetAside(need=1000)
        >>> aside.put(0, {"test": [np.arange(3), np.zeros(1)]})
        >>> aside.get(0), aside.get(1)
        ({'test': [array([0, 1, 2]), array([0.])]}, None)
    """

    def __init__(self, need: int) -> None:
        self._places: dict[int, dict[str, list[_Place]]] = {}
        self._end, self._file = 0, self._open(need)

    def put(self, key: int, arrays: Mapping[str, Sequence[np.ndarray]]) -> None:
        """Keep arrays by name under a key, if there is room."""
        if self._file is None:
            return
        try:
            self._places[key] = {name: [self._append(array) for array in some] for name, some in arrays.items()}
            self._file.flush()
        except OSError as error:  # others have filled the disk since
            self._give_up(error)

    def get(self, key: int) -> dict[str, list[np.ndarray]] | None:
        """Return the arrays under a key; None if they are not kept."""
        if self._file is None or key not in self._places:
            return None
        try:
            return {name: list(map(self._read, places)) for name, places in self._places[key].items()}
        except OSError as error:
            self._give_up(error)
            return None

    def _append(self, array: np.ndarray) -> _Place:
        place = _Place(self._end, array.dtype, array.shape)
        file = cast(BufferedRandom, self._file)
        file.seek(place.offset)
        self._end += file.write(_bytes_of(np.ascontiguousarray(array)))
        return place

    def _read(self, place: _Place) -> np.ndarray:
        array = np.empty(place.shape, place.dtype)
        file = cast(BufferedRandom, self._file)
        file.seek(place.offset)
        if file.readinto(_bytes_of(array)) < array.nbytes:  # the rest would be whatever was in memory
            raise OSError(errno.EIO, "less was read than was written")
        return array

    def _give_up(self, error: OSError) -> None:
        """Keep nothing from here on, and leave the disk to others."""
        log.info("nothing is kept in %s: %s", tempfile.gettempdir(), error.strerror)
        with suppress(OSError):  # of what is still to be written
            cast(BufferedRandom, self._file).close()
        self._file = None

    def _open(self, need: int) -> BufferedRandom | None:
        try:
            if shutil.disk_usage(tempfile.gettempdir()).free < 2 * need:
                return None
            file = cast(BufferedRandom, tempfile.TemporaryFile())  # noqa: SIM115 - open as long as this object
        except OSError:
            return None
        weakref.finalize(self, file.close)
        return file


def _bytes_of(array: np.ndarray) -> memoryview:
    return memoryview(array.reshape(-1).view(np.uint8))  # type: ignore[arg-type]
