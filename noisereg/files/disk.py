"""A disk that fails a run is told in one line, and what a killed write left behind is swept away."""

import errno
import os
import re
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
}
_MENDS = {
    errno.ENOSPC: "make room and give the same command again",
    errno.EDQUOT: "make room and give the same command again",
}
_OTHER_MEND = "let it be written to, or name another folder by hydra.run.dir"
_LEFTOVER = re.compile(r"\..+\.[a-z0-9_]{8}\.tmp")  # as `write_atomically` names what it has not moved yet


def check_space(folder: Path, need: int) -> None:
    """See to it that a run's folder can be written to and has room, before any work is done.

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
    probe = folder / "probe"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".probe.", suffix=".tmp") as file:
            probe = Path(file.name)
            file.write(b"\0" * 4096)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise disk_error(error, probe) or error from None
    if (free := shutil.disk_usage(folder).free) < need:
        raise DiskError(
            f"disk too small: the run needs {need:,} bytes, and {free:,} are free in {folder}: "
            "make room, or name a folder on another disk by hydra.run.dir",
            errno.ENOSPC,
        )


def disk_error(error: OSError, path: Path, *, written: int = 0) -> DiskError | None:
    """Say in one line what kept a file from being written; None if it is no fault of the disk.

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
    if code in _MENDS:
        where = f"{_free(path.parent):,} bytes free in {path.parent} {where} ({written:,} bytes written)"
        words = f"{words}:"
    return DiskError(f"{words} {where}: {mend}", code)


def remove_leftovers(*folders: Path) -> list[Path]:
    """Delete the unfinished files that killed writes left in folders, not in those inside them.

    No other process may be writing there.

    Args:
        folders: of a run; one that does not exist has no such files.

    Returns:
        What was deleted.

    Example:
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


def _free(folder: Path) -> int:
    """Count the free bytes of the disk that a folder lies on, or would lie on."""
    existing = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    return shutil.disk_usage(existing).free
