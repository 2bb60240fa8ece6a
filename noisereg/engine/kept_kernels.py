"""Compiled loops that are kept on disk: to compile one takes seconds at each start, to load it a moment.

A file holds one loop as machine code, in a folder that nobody but the user can write to: whoever could write there
could have the user run anything. Its name is a hash of all that the code depends on: our sources, versions, the
processor, numba's settings, what the loop was compiled for and the types of its arguments. So none is ever out of date,
and two programs at the same time write the same file, each in one step.

numba's own cache on disk does neither: it never finds a function whose closure holds a compiled one, and two processes
that compile for different shapes may each store theirs under one name.

A loop is kept with the functions that it calls, and these are loaded first: a symbol is taken from where it was defined
first, and the copies that the compiler made within the loop may add in another order, so results would have other bits.
"""

import hashlib
import logging
import os
import pickle
import platform
import stat
import threading
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

import numba
import numpy as np
from numba.core.caching import NullCache
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps

from noisereg.files.atomic import write_atomically
from noisereg.files.cache import cache_folder

_COMPILATION = "compilation"  # name of threads that compile
_log = logging.getLogger(__name__)
_SUM_BYTES = 32  # of SHA-256, before the code
_PLAIN = (bool, int, float, str, tuple, type(None))  # what a loop may be compiled for


def keep_on_disk(kernel: Any) -> Any:
    """Let a compiled function take its machine code from disk, and leave it there for the next program.

    A file that is damaged, or that others than the user can write to, is not used, and a folder that cannot be written
    is done without; both with a warning in the log.

    Args:
        kernel: as `numba.njit` returns it, not yet called. Its closure holds plain values and compiled functions only.

    Returns:
        The same function.

    Raises:
        TypeError: if its closure holds anything else, which a name would not tell apart.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as os.environ["NOISEREG_CACHE"]:
        ...     int(keep_on_disk(numba.njit(lambda x: x + 1))(1)), len(list(cache_folder().glob("kernels/*")))
        (2, 1)
        >>> del os.environ["NOISEREG_CACHE"]
    """
    if hasattr(os, "geteuid"):  # else the system has no owners that could be compared
        kernel._cache = _KeptCode(kernel)  # where numba looks for machine code; there is no public way
    return kernel


def compile_beside(call: Callable[[], object]) -> threading.Thread:
    """Begin a first call of a compiled function in a thread of its own; another that comes before its end waits for it.

    Args:
        call: makes it, on a sample of the arguments to come.

    Returns:
        The thread.
    """
    thread = threading.Thread(target=call, daemon=True, name=_COMPILATION)
    thread.start()
    return thread


def wait_for_compilation() -> None:
    """Wait for all that is compiled beside: as numba ends, it restores the filters of warnings that it found."""
    for thread in threading.enumerate():
        if thread.name == _COMPILATION:
            thread.join()


class _KeptCode(NullCache):
    """What numba asks for the machine code of one function, and gives it.

    Args:
        kernel: the compiled function.
    """

    def __init__(self, kernel: Any) -> None:
        self._functions = _with_callees(kernel)
        self._described = _describe(kernel)
        self._callees: list[CompileResult] = []  # that were loaded: they are to live as long as the function
        for function in self._functions:
            _name_by_content(function)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the code for arguments of some types, or None if there is none."""
        target_context.refresh()
        path = self._path(sig, target_context.codegen())
        try:
            content = _read_private(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            _log.warning("%s is not used, and the loop is compiled anew (%s)", path, error)
            return None
        if hashlib.sha256(content[_SUM_BYTES:]).digest() != content[:_SUM_BYTES]:
            _log.warning("%s is damaged, and the loop is compiled anew", path)
            return None
        parts = [CompileResult._rebuild(target_context, *part) for part in pickle.loads(content[_SUM_BYTES:])]
        self._callees += parts[:-1]
        return parts[-1]

    def save_overload(self, sig: Any, cres: Any) -> None:
        """Leave the code for arguments of some types on disk."""
        callees = [part for function in self._functions[:-1] for part in function.overloads.values()]
        code = dumps([part._reduce() for part in (*callees, cres)])
        path = self._path(sig, cres.codegen)
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            _check_private(path.parent.lstat(), path.parent)
            write_atomically(path, lambda file: _write_private(file, hashlib.sha256(code).digest() + code))
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else error
            _log.warning("%s could not be written, so the next start is no quicker (%s)", path, reason)

    def _path(self, sig: Any, codegen: Any) -> Path:
        made_of = (_describe_surroundings(), self._described, str(sig), codegen.magic_tuple())
        return cache_folder() / "kernels" / f"{hashlib.sha256(repr(made_of).encode()).hexdigest()}.bin"


def _with_callees(kernel: Any) -> list[Any]:
    """Return the compiled functions that one calls, and it, each after those that it calls."""
    callees = [value for value in _closure(kernel) if hasattr(value, "py_func")]
    return list(dict.fromkeys([*(function for callee in callees for function in _with_callees(callee)), kernel]))


def _describe(kernel: Any) -> tuple[Any, ...]:
    """Return what a function is compiled from, beside the sources: the values in its closure, and in those of these."""
    return kernel.__module__, kernel.py_func.__code__.co_firstlineno, *map(_describe_value, _closure(kernel))


def _describe_value(value: Any) -> Any:
    if isinstance(value, _PLAIN):
        return type(value).__name__, value
    if hasattr(value, "py_func"):
        return _describe(value)
    raise TypeError(f"a loop that is kept on disk must be compiled for plain values, got {type(value).__name__}")


def _closure(kernel: Any) -> list[Any]:
    return [cell.cell_contents for cell in kernel.py_func.__closure__ or ()]


def _name_by_content(kernel: Any) -> None:
    """Name a function by a hash of what it is compiled from, as its symbol begins with its name.

    numba counts the functions of a process to tell those of one name apart. Of a loop of another process the numbers
    may be those of other functions here, and the first of two symbols would be called in place of both.
    """
    name, _, _ = kernel.py_func.__qualname__.partition("#")
    made_of = repr((_describe_surroundings(), _describe(kernel))).encode()
    kernel.py_func.__qualname__ = f"{name}#{hashlib.sha256(made_of).hexdigest()[:16]}"


@cache
def _describe_surroundings() -> tuple[Any, ...]:
    """Return what else the machine code depends on."""
    sources = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        sources.update(hashlib.sha256(path.read_bytes()).digest())
    settings = sorted((name, value) for name, value in os.environ.items() if name.startswith("NUMBA_"))
    versions = (platform.python_version(), np.__version__, numba.__version__, version("llvmlite"))
    return sources.hexdigest(), versions, tuple(settings)


def _read_private(path: Path) -> bytes:
    """Read a file that nobody but this user can write to, in such a folder.

    Raises:
        OSError: if it is not there, or others can write to it.
    """
    _check_private(path.parent.lstat(), path.parent)
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
        _check_private(os.fstat(file.fileno()), path)
        return file.read()


def _write_private(file: IO[bytes], content: bytes) -> None:
    os.fchmod(file.fileno(), 0o600)  # what some users create, their group can write to
    file.write(content)


def _check_private(status: os.stat_result, path: Path) -> None:
    if stat.S_ISLNK(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise PermissionError(f"others than the user can write to {path}")
