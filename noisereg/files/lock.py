"""One process at a time writes in a folder."""

import errno
import fcntl
import json
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import IO

from noisereg.errors import ConfigError

LOCK = ".lock"
_ENOTSUP_OF_MACOS = 45  # which a file system that is served from there may hand on
_WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL, _ENOTSUP_OF_MACOS)
_log = logging.getLogger(__name__)
_held: dict[tuple[int, Path], IO[str]] = {}  # by which process, as a child has none of its parent's


@contextmanager
def locked(folder: Path, *, key: str = "hydra.run.dir") -> Iterator[None]:
    """Keep a folder for this process while the `with` block lasts; it is freed however the process ends.

    The lock is the kernel's, on the file `.lock`, which says who holds it and stays. It is of the kind that holds over
    network file systems and that children of the process do not share; within one process it refuses nothing, and the
    first `with` block that took the folder frees it. A file system without locks is used without one, with a warning.

    Args:
        folder: of the run; made if it does not exist.
        key: of the configuration that names the folder, for the error.

    Raises:
        ConfigError: if another process has it, naming that, or the file cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder, locked(Path(folder)):
        ...     json.loads((Path(folder) / ".lock").read_text())["pid"] == os.getpid()
        True
    """
    place = (os.getpid(), folder.resolve())
    if place in _held:  # closing the file a second time would free it
        yield
        return
    with _open_lock(folder, key) as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            raise ConfigError(
                f"{key}={folder} is written by {_holder(file.read())}; wait for it, or name another folder"
            ) from None
        except OSError as error:
            if error.errno not in _WITHOUT_LOCKS:
                raise _refusal(folder, key, error) from error
            _warn_of_no_lock(folder, error.strerror)
        since = datetime.now().astimezone().isoformat(timespec="seconds")
        text = json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": since})
        with suppress(OSError):  # the lock holds on a full disk too
            os.ftruncate(file.fileno(), 0)
            os.pwrite(file.fileno(), text.encode(), 0)
        _held[place] = file
        try:
            yield
        finally:
            _held.pop(place, None)


@contextmanager
def released(folder: Path) -> Iterator[None]:
    """Let another process take a folder while the `with` block lasts, if this one has it; then take it back.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder, locked(Path(folder)), released(Path(folder)):
        ...     (os.getpid(), Path(folder).resolve()) in _held
        False
    """
    place = (os.getpid(), folder.resolve())
    file = _held.pop(place, None)
    if file is None:
        yield
        return
    with suppress(OSError):  # of a file system without locks
        fcntl.lockf(file, fcntl.LOCK_UN)
    try:
        yield
    finally:
        with suppress(OSError):  # somebody else was quicker
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _held[place] = file


def find_holder(folder: Path) -> int | None:
    """Return the number of the process of this machine that keeps a folder; None if it is this one or none."""
    if (os.getpid(), folder.resolve()) in _held:
        return None
    with suppress(OSError, ValueError, KeyError, TypeError), (folder / LOCK).open("r+") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            holder = json.loads(file.read())
            return int(holder["pid"]) if holder["host"] == socket.gethostname() else None
    return None


def _open_lock(folder: Path, key: str) -> IO[str]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return os.fdopen(os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666), "r+")
    except OSError as error:
        raise _refusal(folder, key, error) from error


def _refusal(folder: Path, key: str, error: OSError) -> ConfigError:
    return ConfigError(f"{key}={folder} cannot be locked ({LOCK}: {error.strerror}); name another folder")


@cache
def _warn_of_no_lock(folder: Path, reason: str) -> None:
    _log.warning("warning: %s has no locks (%s): start no other run in it", folder, reason)


def _holder(text: str) -> str:
    try:
        holder = json.loads(text)
        return f"process {holder['pid']} on {holder['host']} since {holder['since']}"
    except (ValueError, KeyError, TypeError):  # it has just begun
        return "another process"
