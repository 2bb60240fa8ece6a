"""One process at a time writes in a folder."""

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from noisereg.errors import ConfigError

LOCK = ".lock"


@contextmanager
def locked(folder: Path, *, key: str = "hydra.run.dir") -> Iterator[None]:
    """Keep a folder for this process while the `with` block lasts; it is freed however the process ends.

    The lock is the kernel's, on the file `.lock`, which says who holds it and stays. It is of the kind that holds over
    network file systems and that children of the process do not share; within one process it refuses nothing.

    Args:
        folder: of the run; made if it does not exist.
        key: of the configuration that names the folder, for the error.

    Raises:
        ConfigError: if another process has it, naming that.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder, locked(Path(folder)):
        ...     json.loads((Path(folder) / ".lock").read_text())["pid"] == os.getpid()
        True
    """
    folder.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666), "r+") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            raise ConfigError(
                f"{key}={folder} is written by {_holder(file.read())}; wait for it, or name another folder"
            ) from None
        since = datetime.now().astimezone().isoformat(timespec="seconds")
        file.truncate(0)
        file.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": since}))
        file.flush()
        yield


def _holder(text: str) -> str:
    try:
        holder = json.loads(text)
        return f"process {holder['pid']} on {holder['host']} since {holder['since']}"
    except (ValueError, KeyError, TypeError):  # it has just begun
        return "another process"
