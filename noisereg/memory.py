"""Memory that the program has freed: who takes it next, and when the system gets it back.

The C library of most Linux systems, glibc, decides this, and can be told. With another one nothing is done here, nor
where a variable of the environment, such as `MALLOC_ARENA_MAX`, tells glibc something.

Source: mallopt(3) and malloc_trim(3) of the Linux manual.
"""

import ctypes
import os
import sys

_ARENA_MAX = -8  # M_ARENA_MAX of malloc.h


def share_one_heap() -> None:
    """Let all threads that this process starts from now on take memory from one heap.

    By itself glibc gives each a heap of its own, and what one thread has freed no other can take: 40 MiB of figure 1's
    run, whose networks are measured by threads.

    Example:
        >>> share_one_heap()
    """
    if library := _glibc():
        library.mallopt(_ARENA_MAX, 1)


def return_freed_memory() -> None:
    """Return to the system what is free.

    Example:
        >>> return_freed_memory()
    """
    if library := _glibc():
        library.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    """Return glibc, if that is the C library and the environment tells it nothing."""
    is_told = any(name == "GLIBC_TUNABLES" or name.startswith("MALLOC_") for name in os.environ)
    if is_told or sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)  # this program and all that it has loaded
    return library if hasattr(library, "gnu_get_libc_version") else None
