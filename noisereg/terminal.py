"""What is printed: a user's text as it is written, no secret, and no failure of the terminal that ends a run."""

import io
import logging
import os
import re
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import cache
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from noisereg.errors import report_interrupt
from noisereg.secrets import find_secrets, hide_known

# Control characters but for tab and newline; marks that turn the direction of what follows; halves of a character.
_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def open_console(*, quiet: bool = False) -> Console:
    """Return a console that prints every text as it is: no `[red]`, `:smile:` or number in it means anything.

    Nor does a terminal's escape sequence, which is shown and not obeyed.

    Args:
        quiet: whether nothing is printed.

    Example:
        >>> open_console().print("out/[/old] :smile:")
        out/[/old] :smile:
    """
    return _PlainConsole(quiet=quiet, markup=False, emoji=False, highlight=False)


def print_lines(console: Console, *lines: str) -> None:
    """Print lines as they are, on any console, and wrap none."""
    console.print(*lines, sep="\n", markup=False, emoji=False, highlight=False, soft_wrap=True)


def plain_text(text: str) -> str:
    """Return a text in which what a terminal or a page would obey stands as it is written in Python, without secrets.

    That is control characters, such as those that begin a terminal's escape sequence, and the marks that turn the
    direction of writing, by which a text can look like another. Secrets are those of `hide_secrets`.

    Example:
        >>> plain_text("a\\x1b[2Jb"), plain_text("näïve 日本"), plain_text("\\u202efdp.exe")
        ('a\\\\x1b[2Jb', 'näïve 日本', '\\\\u202efdp.exe')
    """
    return _OBEYED.sub(lambda found: found[0].encode("unicode-escape").decode(), hide_known(text, _secrets()))


def run_command(
    command: Callable[[Namespace, Console], int | None], *, parser: ArgumentParser, arguments: Sequence[str] | None
) -> int:
    """Run a command of the shell, and print bad input as one line on stderr.

    Args:
        command: takes what the parser reads and a console, and returns its exit code; None is 0. Bad input is a
            ValueError or an OSError.
        parser: of the arguments.
        arguments: of the command line; None: those of this process.

    Returns:
        The exit code: that of the command, 2 for bad input, or 130 if it was interrupted.
    """
    guard_output()
    asked = parser.parse_args(arguments)
    try:
        return command(asked, open_console()) or 0
    except (ValueError, OSError) as error:
        print(plain_text(f"error: {error}"), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return report_interrupt()


class _PlainConsole(Console):
    """A console that obeys nothing in a text; what moves the cursor, as a progress line does, is no text."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(plain_text(segment.text), segment.style)


def silence_output() -> Callable[[str], None]:
    """Drop what this process and its children print to stdout from here on.

    Returns:
        A function that prints a line there all the same.
    """
    sys.stdout.flush()
    kept = os.dup(1)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)

    def answer(text: str) -> None:
        with suppress(OSError):  # a pipe whose reader has gone
            os.write(kept, f"{plain_text(text)}\n".encode())

    return answer


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
            guarded = _Hiding(raw, encoding=stream.encoding, errors="replace", line_buffering=at_once)
            setattr(sys, name, guarded)


def guard_logs() -> None:
    """Leave secrets out of what is logged to the handlers of the root logger, as Hydra makes them for each job."""
    for handler in logging.getLogger().handlers:
        handler.setFormatter(_HidingFormatter(handler.formatter or logging.Formatter()))


class _HidingFormatter(logging.Formatter):
    def __init__(self, whole: logging.Formatter) -> None:
        super().__init__()
        self._whole = whole

    def format(self, record: logging.LogRecord) -> str:
        return hide_known(self._whole.format(record), _secrets())


class _Hiding(io.TextIOWrapper):
    """A stream of texts that leaves their secrets out, whoever prints them."""

    def write(self, text: str, /) -> int:
        super().write(hide_known(text, _secrets()))
        return len(text)


@cache
def _secrets() -> list[str]:
    """Return the secrets of the environment that this process began with."""
    return list(find_secrets(os.environ).values())


def guard_captures() -> None:
    """Leave secrets out of what a library takes that has put its own function before the streams, as W&B does.

    It is to be called once the library has done so; streams that are not of `guard_output` are left as they are.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, _Hiding) and not isinstance(stream.write, _Hidden):
            stream.write = _Hidden(stream.write)  # type: ignore[method-assign]


class _Hidden:
    """A function that takes a text, called with one that has no secret."""

    def __init__(self, write: Callable[[str], int]) -> None:
        self._write = write

    def __call__(self, text: str, /) -> int:
        self._write(hide_known(text, _secrets()))
        return len(text)


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
