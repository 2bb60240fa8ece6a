"""Files that a reader sees whole or not at all."""

import errno
import io
import os
import re
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from noisereg.files.disk import disk_error, make_folder

_WITHOUT_FOLDER_SYNC = (errno.EINVAL, errno.ENOTSUP)  # from disks on which a rename is as safe as it will be
_LEFTOVER = re.compile(r"\..+\.[a-z0-9_]{8}\.tmp")  # as `write_atomically` names what it has not moved yet


def write_atomically(path: Path, content: bytes | Callable[[IO[bytes]], object], *, is_new: bool = False) -> None:
    """Write a file beside its place, then move it there in one step.

    A failure or a kill at any moment leaves the old file, or none, never a part of the new one. When this returns, a
    loss of power does not take the new one back.

    Args:
        path: of the file; its folder is made if it does not exist.
        content: of the file, or a function that fills the open file.
        is_new: whether a file that is there already is left as it is, and refused.

    Raises:
        DiskError: if the disk is full or refuses the file, whatever the function makes of that.
        FileExistsError: if it must be new and is not.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_atomically(Path(folder) / "note.txt", b"whole")
        ...     (Path(folder) / "note.txt").read_text()
        'whole'
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        make_folder(path.parent)
        raw = _Watched(temporary, "xb")
    except OSError as error:
        raise disk_error(error, path) or error from error
    try:
        with io.BufferedWriter(raw) as file:
            if isinstance(content, bytes):
                file.write(content)
            else:
                content(file)
            file.flush()
            os.fsync(file.fileno())
        if is_new:
            _move_to_new(temporary, path)
        else:
            temporary.replace(path)
        _sync_folder(path.parent)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        fault = raw.fault or error  # torch.save reports a full disk in words of its own
        if isinstance(error, Exception) and isinstance(fault, OSError):
            raise disk_error(fault, path, written=raw.written) or error from error
        raise


def remove_leftovers(*folders: Path) -> list[Path]:
    """Remove the unfinished files that killed writes left in folders, not in those inside them.

    No other process may be writing there.

    Args:
        folders: of a run; one that does not exist has no such files.

    Returns:
        The removed files.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = (Path(folder) / ".last.ckpt.k2_x8ab0.tmp").write_text("half")
        ...     [path.name for path in remove_leftovers(Path(folder))]
        ['.last.ckpt.k2_x8ab0.tmp']
    """
    files = [path for folder in folders if folder.is_dir() for path in sorted(folder.iterdir())]
    found = [path for path in files if _LEFTOVER.fullmatch(path.name)]
    for path in found:
        path.unlink(missing_ok=True)
    return found


class _Watched(io.FileIO):
    """A file that remembers how much was written to it, and the first refusal."""

    written = 0
    fault: OSError | None = None

    def write(self, data: Any, /) -> int:
        try:
            count = super().write(data)
        except OSError as error:
            self.fault = self.fault or error
            raise
        self.written += count
        return count


def _move_to_new(temporary: Path, path: Path) -> None:
    """Move a file to a place that is free, in one step where the disk has links."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError as error:
        if path.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from error
        temporary.replace(path)
    else:
        temporary.unlink()


def _sync_folder(folder: Path) -> None:
    """Make sure that the names of a folder's files are on the disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _WITHOUT_FOLDER_SYNC:
            raise
    finally:
        os.close(handle)
