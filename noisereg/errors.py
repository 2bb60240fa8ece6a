"""Errors that a user reads in one line: what is wrong, where, and the mend."""

import math
import sys
from numbers import Integral


class ConfigError(ValueError):
    """A wrong input. Its text is one line: the key, the value, what it must be, and the mend where there is one."""


class DatasetError(ValueError):
    """A data set's files are missing, broken or not what they should be.

    The text is one line: the file or folder, what is wrong with it, and the command or argument that mends it.

    Example:
        >>> raise DatasetError("data/cifar10.tgz is cut short; copy it again")
        Traceback (most recent call last):
        noisereg.errors.DatasetError: data/cifar10.tgz is cut short; copy it again
    """


class DiskError(OSError):
    """What a run has to write cannot be written. Its text is one line: the fault, the place, the mend.

    Args:
        text: the line.
        code: of the error, as `errno` has it.

    Example:
        >>> import errno
        >>> DiskError("disk full", errno.ENOSPC).errno == errno.ENOSPC
        True
    """

    def __init__(self, text: str, code: int | None = None) -> None:
        super().__init__(text)
        self.errno = code


class WorkerError(RuntimeError):
    """Processes that trained replicas of a run have died. Its text is one line: which, of what, and what is left."""


def report_interrupt() -> int:
    """Print that a command was interrupted, and return its exit code, that of a program that SIGINT ends."""
    print("stopped by ctrl-c", file=sys.stderr)
    return 130


def require_positive(*, at_least: int = 1, **sizes: object) -> None:
    """Raise ValueError for a size that is no whole number, at least 1 or another one, by the name of its argument.

    Example:
        >>> require_positive(hidden=240, batch_size=0)
        Traceback (most recent call last):
        ValueError: batch_size must be a whole number, at least 1, got 0
    """
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, Integral) or size < at_least:
            raise ValueError(f"{name} must be a whole number, at least {at_least}, got {size!r}")


def require_above_zero(**numbers: float) -> None:
    """Raise ValueError for a number that is not finite and above 0, by the name of its argument.

    Example:
        >>> require_above_zero(lr=0.1, beta=float("nan"))
        Traceback (most recent call last):
        ValueError: beta must be a finite number above 0, got nan
    """
    for name, number in numbers.items():
        if not 0 < number < math.inf:
            raise ValueError(f"{name} must be a finite number above 0, got {number!r}")
