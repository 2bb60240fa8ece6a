"""One heap for all threads of the program."""

import ctypes
import os
import sys

_ARENA_MAX = -8  # M_ARENA_MAX of malloc.h


def share_one_heap() -> None:
    """Let all threads that this process starts from now on take memory from one heap.

    glibc, the C library of most Linux systems, gives each thread a heap of its own, and what one thread has freed no
    other can take: 30 MiB of figure 1's run, whose networks are measured by threads. With another library nothing is
    done, nor where a variable of the environment, such as `MALLOC_ARENA_MAX`, tells glibc something.

    Source: mallopt(3) of the Linux manual.

    Example:
        >>> share_one_heap()
    """
    is_told = any(name == "GLIBC_TUNABLES" or name.startswith("MALLOC_") for name in os.environ)
    if is_told or sys.platform != "linux":
        return
    library = ctypes.CDLL(None)  # this program and all that it has loaded
    if hasattr(library, "gnu_get_libc_version"):
        library.mallopt(_ARENA_MAX, 1)
