"""The curves of a run as its checkpoints need them: lines in a file that only grows, so that a save costs what is new.

A checkpoint holds how many bytes of the journal belong to it, and their SHA-256 digest. What a killed run wrote beyond
them is cut off by the next write. The journal lies in two copies, as a wrong byte in the only one would spoil every
checkpoint at once: one whole copy is enough, and the other is made anew from it.
"""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from noisereg.files.atomic import write_atomically
from noisereg.files.disk import disk_error, make_folder

COPIES = ("curves-1.jsonl", "curves-2.jsonl")


class Mark(NamedTuple):
    """The part of a journal that belongs to a checkpoint: its first bytes, and their digest."""

    size: int
    sha256: str

    @classmethod
    def of(cls, state: Any) -> "Mark | None":
        """Return the mark in what a checkpoint holds of the curves; None if that needs no journal."""
        return cls(state["size"], state["sha256"]) if isinstance(state, dict) and "sha256" in state else None


class Journal:
    """Lines that are added to two files, of which a checkpoint marks the beginning.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     journal = Journal(Path(folder))
        ...     journal.append(["first"])
        ...     mark = journal.mark()
        ...     journal.append(["second"])
        ...     Journal(Path(folder)).read(mark)
        ['first']
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._size, self._digest = 0, hashlib.sha256()

    def append(self, lines: Sequence[str]) -> None:
        """Write lines behind those that were written or read here, in place of what else stands there.

        Raises:
            DiskError: if the disk is full or refuses them.
        """
        data = "".join(f"{line}\n" for line in lines).encode()
        for name in COPIES:
            path = self._folder / name
            try:
                make_folder(self._folder)
                with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o666), "wb") as file:
                    file.truncate(self._size)
                    file.seek(self._size)
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
            except OSError as error:
                raise disk_error(error, path) or error from error
        self._size += len(data)
        self._digest.update(data)

    def mark(self) -> Mark:
        """Return the mark of all that was written."""
        return Mark(self._size, self._digest.hexdigest())

    def read(self, mark: Mark, *, mend: bool = False) -> list[str]:
        """Return the lines of a checkpoint; what is appended next comes behind them.

        Args:
            mark: of the checkpoint.
            mend: write a copy anew that has not the bytes of the other; for one process alone.

        Raises:
            ValueError: if neither copy has the bytes that belong to the checkpoint.
        """
        found = {name: _beginning(self._folder / name, mark) for name in COPIES}
        data = next((data for data in found.values() if data is not None), None)
        if data is None:
            raise ValueError(f"neither {' nor '.join(COPIES)} beside it has its curves")
        for name in (name for name in COPIES if mend and found[name] is None):
            write_atomically(self._folder / name, data)
        self._size, self._digest = mark.size, hashlib.sha256(data)
        return data.decode().splitlines()


def _beginning(path: Path, mark: Mark) -> bytes | None:
    """Read the bytes of a file that belong to a checkpoint; None if they are not those."""
    if not path.is_file():
        return None if mark.size else b""
    try:
        with path.open("rb") as file:
            data = file.read(mark.size)
    except OSError:
        return None
    return data if hashlib.sha256(data).hexdigest() == mark.sha256 else None
