"""Arrays that took long to make, kept on disk for the next start."""

import hashlib
import logging
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import platformdirs

from noisereg.files.arrays import load_arrays
from noisereg.files.atomic import write_atomically

_log = logging.getLogger(__name__)
Arrays = dict[str, np.ndarray]


def cached(name: str, identity: object, build: Callable[[], Arrays]) -> Arrays:
    """Return the arrays that `build` makes, from the cache if it has made them before.

    They lie in one .npz file (no pickle, each array with its checksum), which appears whole or not at all. A broken
    file is built anew and a folder that cannot be written is done without; both with a warning in the log.

    Args:
        name: begins the file's name.
        identity: all that the arrays depend on, as its `repr`: where they come from, how they are made.
        build: makes the arrays.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as os.environ["NOISEREG_CACHE"]:
        ...     first = cached("ones", 1, lambda: {"x": np.ones(2)})
        ...     cached("ones", 1, lambda: {"x": np.zeros(2)})
        {'x': array([1., 1.])}
        >>> del os.environ["NOISEREG_CACHE"]
    """
    path = cache_folder() / f"{name}-{hashlib.sha256(repr(identity).encode()).hexdigest()[:16]}.npz"
    try:
        with path.open("rb") as file:
            return load_arrays(file)
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        _log.warning("%s is broken and is built anew (%s)", path, error)
    arrays = build()
    try:
        write_atomically(path, lambda file: np.savez(file, **arrays))  # type: ignore[arg-type]
    except OSError as error:  # of a DiskError the mend is that of a run's folder
        reason = os.strerror(error.errno) if error.errno else error
        _log.warning("%s could not be written, so the next start is no quicker (%s)", path, reason)
    return arrays


def cache_folder() -> Path:
    """Return the folder of the cache: NOISEREG_CACHE, or the one that the system has for such things."""
    return Path(os.environ.get("NOISEREG_CACHE") or platformdirs.user_cache_dir("noisereg"))
