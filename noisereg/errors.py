"""Errors that a user reads in one line: what is wrong, where, and the mend."""

import sys


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
