"""Whether a disk can take what a run writes, and its faults in one line each."""

import errno
import os
import shutil
import tempfile
from pathlib import Path

from noisereg.errors import DiskError

_WORDS = {
    errno.ENOSPC: "disk full",
    errno.EDQUOT: "disk quota used up",
    errno.EROFS: "disk is read-only",
    errno.EACCES: "no permission to write",
    errno.EPERM: "no permission to write",
    errno.EFBIG: "file too large for the disk",
    errno.EIO: "disk error",
    errno.ESTALE: "network disk lost",
    errno.EISDIR: "a folder is in the place of the file",
    errno.ENOTDIR: "a file is in the place of a folder",
}
_FULL = (errno.ENOSPC, errno.EDQUOT)
_MENDS = {
    **dict.fromkeys(_FULL, "make room and give the same command again"),
    **dict.fromkeys((errno.EISDIR, errno.ENOTDIR), "remove it and give the same command again"),
}
_OTHER_MEND = "let it be written to, or name another folder by hydra.run.dir"


def check_writable(folder: Path, *, num_bytes: int) -> None:
    """Check that a file of some bytes can be written in a folder; it is gone again afterwards.

    Args:
        folder: that exists.
        num_bytes: of the file, at least 0.

    Raises:
        OSError: as the system has it.
    """
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".probe.", suffix=".tmp") as file:
        file.write(bytes(num_bytes))
        file.flush()
        os.fsync(file.fileno())


def make_folder(folder: Path) -> None:
    """Make a folder if it does not exist, with those above it.

    Raises:
        OSError: as the system has it; NotADirectoryError if a file is in its place.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder)) from None


def check_space(folder: Path, need: int) -> None:
    """Check that a run's folder can be written to and has room, before any work is done.

    Args:
        folder: of the run; it is made if it does not exist.
        need: bytes that the run will write at most, at least 0.

    Raises:
        DiskError: if a small file cannot be written there, or fewer bytes are free.

    Example:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     check_space(Path(folder), 1000)
        ...     list(Path(folder).iterdir())
        []
    """
    try:
        make_folder(folder)
        check_writable(folder, num_bytes=4096)
    except OSError as error:
        raise disk_error(error, folder / "probe") or error from None
    if (free := shutil.disk_usage(folder).free) < need:
        raise DiskError(
            f"disk too small: the run needs {need:,} bytes, and {free:,} are free in {folder}: "
            "make room, or name a folder on another disk by hydra.run.dir",
            errno.ENOSPC,
        )


def disk_error(error: OSError, path: Path, *, written: int = 0) -> DiskError | None:
    """Return in one line what kept a file from being written; None if it is no fault of the disk.

    Args:
        error: that the system raised.
        path: of the file.
        written: bytes of it that were written before.

    Example:
        >>> print(disk_error(OSError(errno.EROFS, "Read-only file system"), Path("/run/last.ckpt")))
        disk is read-only while writing /run/last.ckpt: let it be written to, or name another folder by hydra.run.dir
    """
    code = error.errno
    if code not in _WORDS:
        return None
    words, mend = _WORDS[code], _MENDS.get(code, _OTHER_MEND)
    where = f"while writing {path}"
    if code in _FULL:
        existing = existing_folder(path.parent)
        if code == errno.ENOSPC and _has_no_inode(existing):
            text = f"no room for another file in {path.parent}, whose disk has no free inodes, {where}"
            return DiskError(f"{text}: delete files there and give the same command again", code)
        free = shutil.disk_usage(existing).free
        where = f"{free:,} bytes free in {path.parent} {where} ({written:,} bytes written)"
        words = f"{words}:"
    return DiskError(f"{words} {where}: {mend}", code)


def existing_folder(folder: Path) -> Path:
    """Return a folder, or the nearest one above it that exists.

    Example:
        >>> existing_folder(Path("/nowhere/at/all"))
        PosixPath('/')
    """
    return next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())


def _has_no_inode(folder: Path) -> bool:
    """Return whether a disk can hold no more files, however small; some file systems have no such limit."""
    found = os.statvfs(folder)
    return found.f_files > 0 and found.f_favail == 0
