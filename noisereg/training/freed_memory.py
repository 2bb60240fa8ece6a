"""Memory that one training step frees and the next one takes."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
_MOST = 2**31 - 1  # bytes, what mallopt can be told
_LARGEST = 32 * 2**20  # bytes of an array that glibc takes from its heap, at most


@contextmanager
def keep_freed_memory() -> Iterator[None]:
    """Let glibc keep what is freed while the `with` block lasts, up to 2 GiB.

    A backward pass frees what the layers computed, some hundred MB in a step of a ResNet. By itself glibc returns the
    end of its heap to the system once that is twice the largest array, and the next step pays for each page anew: some
    tenth of its processor time. Arrays above 32 MiB are returned all the same.

    At the end what is free is returned, and glibc is left as it makes itself once a program has freed an array of
    32 MiB. Nothing is done where a variable of the environment sets its thresholds, nor by other libraries than glibc.

    Source: mallopt(3) and malloc_trim(3) of the Linux manual.

    Example:
        >>> with keep_freed_memory():
        ...     numbers = [[0] * 1000 for _ in range(1000)]
    """
    library = ctypes.CDLL(None)  # this program and all that it has loaded
    is_glibc = hasattr(library, "gnu_get_libc_version")
    if not is_glibc or os.environ.keys() & {"MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"}:
        yield
        return
    library.mallopt(_MMAP_THRESHOLD, _LARGEST)
    library.mallopt(_TRIM_THRESHOLD, _MOST)
    try:
        yield
    finally:
        library.mallopt(_TRIM_THRESHOLD, 2 * _LARGEST)
        library.malloc_trim(0)
