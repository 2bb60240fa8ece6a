"""What is printed: a user's text as it is written, and no failure of the terminal that ends a run."""

import io
import os
import sys
from typing import Any

from rich.console import Console


def open_console(*, quiet: bool = False) -> Console:
    """Return a console that prints every text as it is: no `[red]`, `:smile:` or number in it means anything.

    Args:
        quiet: whether nothing is printed.

    Example:
        >>> open_console().print("out/[/old] :smile:")
        out/[/old] :smile:
    """
    return Console(quiet=quiet, markup=False, emoji=False, highlight=False)


def guard_output() -> None:
    """Let no failure of the standard streams end the program: what counts is what it writes to its files.

    What the terminal's encoding lacks is printed as a question mark. Once a stream fails, as a pipe whose reader has
    gone or a full disk, what is printed there is dropped. Streams that were put in the place of the process's own, as
    by a test or a notebook, are left as they are.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper) and stream is getattr(sys, f"__{name}__"):
            stream.flush()
            raw = io.BufferedWriter(_Guarded(stream.fileno(), "wb", closefd=False))
            at_once = stream.line_buffering or name == "stderr"
            guarded = io.TextIOWrapper(raw, encoding=stream.encoding, errors="replace", line_buffering=at_once)
            setattr(sys, name, guarded)


class _Guarded(io.FileIO):
    """A file that goes on as the null device once it cannot be written to."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self.fileno())  # children print there too
            os.close(null)
            return len(data)
