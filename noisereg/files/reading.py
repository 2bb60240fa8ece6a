"""Files that are read, and nothing else: reading from a pipe or a device may never end."""

import errno
import stat
from pathlib import Path


def read_file(path: Path, *, most: int | None = None) -> bytes:
    """Return the bytes of a file, and open nothing else.

    Args:
        path: of the file, or a link to it.
        most: bytes that it may have; None for any number.

    Raises:
        OSError: if it is missing, no file, too large, or cannot be read.

    Example:
        >>> read_file(Path("/dev/zero"))
        Traceback (most recent call last):
        ...
        OSError: [Errno 22] it is no regular file
    """
    check_regular(path)
    if most is not None and (size := path.stat().st_size) > most:
        raise OSError(errno.EFBIG, f"it has {size:,} bytes, and at most {most:,} are read")
    return path.read_bytes()


def check_regular(path: Path) -> None:
    """Raise an OSError unless a path is that of a file, or of a link to one."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "it is no regular file")
