"""Signals over the whole of a run: in a training `RunCheckpoint` takes them, and everywhere else this."""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

from noisereg.callbacks.run_checkpoint import SIGNALS, Stopped
from noisereg.runs.environment import is_first_process


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Let a signal end what is done in the `with` block by `Stopped`, whoever handled it before.

    Whoever did is called first: by SIGUSR2 submitit queues its job of SLURM again, and ends this one with a code of its
    own, which is kept. Only the main thread of a process gets signals; in another one this does nothing.

    Example:
        >>> with stopped_by_signals():
        ...     try:
        ...         os.kill(os.getpid(), signal.SIGTERM)
        ...     except Stopped as end:
        ...         print(end.signal.name, end.code)
        SIGTERM 143
    """
    before: dict[int, Any] = {}
    first: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        if first and number not in (*first, signal.SIGINT):  # SLURM sends SIGTERM as soon as it has queued a job again
            return
        first[:] = [number]
        handler, code = before.get(number), None if is_first_process() else 0
        if callable(handler):
            try:
                handler(number, frame)
            except SystemExit as end:
                raise Stopped(number, code=end.code if isinstance(end.code, int) else code) from None
            except KeyboardInterrupt:  # Python's own handler of SIGINT
                raise Stopped(number, code=code) from None
            if number == signal.SIGUSR2:  # submitit ends the first of several processes alone
                first.clear()
                return
        raise Stopped(number, code=code)

    with _handled_by(stop, before):
        yield


@contextmanager
def held_signals(*, dropped: bool = False, came: Sequence[int] = ()) -> Iterator[None]:
    """Let signals wait until the `with` block, which takes seconds, is left; a second SIGINT does not wait.

    Args:
        dropped: whether they are forgotten then, as nothing is left to be stopped.
        came: those that came before; if SIGINT is among them, the next one is the second.
    """
    before: dict[int, Any] = {}
    waiting = list(came)

    def hold(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and number in waiting:
            raise Stopped(number)
        waiting.append(number)

    with _handled_by(hold, before):
        yield
    if waiting and not dropped:
        os.kill(os.getpid(), waiting[0])


@contextmanager
def _handled_by(handler: Callable[[int, FrameType | None], None], before: dict[int, Any]) -> Iterator[None]:
    """Register a handler of all signals that stop a run, and restore those that are found, and put into `before`."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    try:
        for number in SIGNALS:
            found = signal.signal(number, handler)
            before[number] = signal.SIG_DFL if found is None else found  # None: of a library that is not in Python
        yield
    finally:
        for name, handler_before in before.items():
            signal.signal(name, handler_before)
