"""Worker processes that train the parts of a run, each of them one after the other: single replicas, or several.

A worker says over a pipe what happens in it, and its parent shows, logs and writes it down: there is one display, one
log and one record of the run. A worker that dies is replaced, and what it was at is begun again once, after the rest.
Signals are the parent's: it passes them on, and waits until every worker has saved.
"""

import io
import logging
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
import traceback
import warnings
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from logging.handlers import QueueHandler
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from queue import SimpleQueue
from types import ModuleType
from typing import Any, NoReturn

import torch
from rich.console import Console

from noisereg.callbacks.run_checkpoint import SIGNALS, Stopped
from noisereg.engine.measurement import Measurement, Observer
from noisereg.errors import WorkerError
from noisereg.labels import measured_as
from noisereg.runs.progress import SHOWN, RunDisplay
from noisereg.runs.signals import held_signals, stopped_by_signals
from noisereg.terminal import print_lines
from noisereg.training.libraries import quiet_libraries

_SECONDS_BETWEEN_MOVES = 0.1  # of the display
_SECONDS_BETWEEN_LOOKS = 1.0  # for workers that died without a word
# A server that has the libraries loaded starts each worker in a moment. Where forks are unsafe, each loads its own.
_CONTEXT: Any = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
# None of noisereg: the server has not the path of this process, and could load another version that is installed.
_LIBRARIES = ["lightning.pytorch", "torchvision", "torchmetrics", "hydra", "pandas", "scipy.stats", "wandb", "numba"]


class Outlet:
    """What a worker has in place of the console, the display, the observers and the log of the run.

    Attributes:
        console: whose lines the parent prints.
    """

    def __init__(self, link: Connection) -> None:
        self._link, self._lock, self._moved = link, threading.Lock(), 0.0
        self.console = Console(file=_Lines(self), width=10_000, markup=False, emoji=False, highlight=False)

    def send(self, name: str, *arguments: Any, **options: Any) -> None:
        """Send a message whole: no signal is obeyed in the middle of it."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            with self._lock:
                self._link.send((name, arguments, options))
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def observe(self, measurement: Measurement) -> None:
        """Let the observers of the run take a measurement."""
        self.send("observe", measurement._replace(values=dict(measurement.values)))

    def begin(self, place: int, epochs: float, steps: int, *, goes_on: bool) -> None:
        """Let the display begin with a training."""
        self.send("begin", place, epochs, steps, goes_on=goes_on)

    def move(self, place: int, epochs: float, steps: int) -> None:
        """Let the display show how far a training is, if it has not just done so."""
        if time.monotonic() - self._moved > _SECONDS_BETWEEN_MOVES:
            self._moved = time.monotonic()
            self.send("move", place, epochs, steps)

    def print_values(
        self, place: int, epochs: float, steps: int, means: Mapping[str, Any], measured: Mapping[str, Any]
    ) -> None:
        """Let the display print what was measured."""
        floats = {key: float(value) for key, value in means.items()}
        lists = {key: measured[key].tolist() for key in measured_as(SHOWN, measured)}
        self.send("print_values", place, epochs, steps, floats, lists)

    def end(self, place: int) -> None:
        """Leave the end to the parent, for which a training ends when its record is written."""

    def stop(self) -> None:
        """Leave the display to the other workers."""


Work = Callable[[int, Outlet], None]


@dataclass
class _Worker:
    """A worker as its parent sees it, and the number of the part that it trains, if it does."""

    process: BaseProcess
    link: Connection
    number: int | None = None


class Workers:
    """Processes that train the parts of a run.

    Args:
        work: trains the part of a number; it is sent to each worker.
        num_workers: the largest number of processes.
        threads: of torch, that each has.
        devices: value of CUDA_VISIBLE_DEVICES for each; None to leave it.
        console: to print on.
        display: of the run.
        observers: of the run.
        names: of the parts, for messages.
        when_finished: called with the number of each part that is.
    """

    def __init__(
        self,
        work: Work,
        *,
        num_workers: int,
        threads: int,
        devices: Sequence[str] | None,
        console: Console,
        display: RunDisplay,
        observers: Sequence[Observer],
        names: Sequence[str],
        when_finished: Callable[[int], None],
    ) -> None:
        self._work, self._num_workers, self._threads, self._devices = work, num_workers, threads, devices
        self._console, self._display, self._observers, self._names = console, display, observers, names
        self._when_finished = when_finished
        self._workers: list[_Worker] = []
        self._waiting: deque[int] = deque()
        self._deaths: dict[int, list[str]] = {}  # of workers, by the part that they were at
        self._registry: dict[Any, Any] = {}  # of warnings that were shown

    def train(self, numbers: Sequence[int]) -> None:
        """Train the parts of some numbers.

        Raises:
            WorkerError: if two workers died over one part, once the others are finished.
            Exception: what was raised in a worker, once the others have saved where they are.
        """
        self._waiting.extend(numbers)
        if _CONTEXT.get_start_method() == "forkserver":
            _CONTEXT.set_forkserver_preload(_LIBRARIES)
        try:
            while self._waiting or any(worker.number is not None for worker in self._workers):
                self._hand_out()
                self._listen()
            self._hand_out()  # nothing, to all that are left
        except BaseException as error:
            self._stop(first=error.signal if isinstance(error, Stopped) else None)
            raise
        if lost := [f"{self._names[number]}: {words[-1]}" for number, words in self._deaths.items() if len(words) > 1]:
            raise WorkerError(f"{'; '.join(lost)}, for the second time; the others are finished")

    def _hand_out(self) -> None:
        """Hand the next part, or leave to end, to each worker that is free; start as many as there is work for."""
        for worker in [worker for worker in self._workers if worker.number is None]:
            self._assign_part(worker)
        while self._waiting and len(self._workers) < self._num_workers:
            with held_signals():  # until it is among those that are stopped
                worker = self._start()
            self._assign_part(worker)

    def _assign_part(self, worker: _Worker) -> None:
        worker.number = self._waiting.popleft() if self._waiting else None
        try:
            worker.link.send(worker.number)
        except OSError:  # it has died, which is seen next
            return
        if worker.number is None:
            worker.process.join()
            self._workers.remove(worker)

    def _start(self) -> _Worker:
        link, theirs = _CONTEXT.Pipe()
        taken = [worker.process.name for worker in self._workers]
        place = next(place for place in range(self._num_workers) if f"worker {place + 1}" not in taken)
        environment = {**os.environ}
        if self._devices:
            environment["CUDA_VISIBLE_DEVICES"] = self._devices[place % len(self._devices)]
        given = (theirs, self._work, self._threads, environment, logging.getLogger().level)
        process = _CONTEXT.Process(target=_serve, args=given, name=f"worker {place + 1}")
        resource_tracker.ensure_running()  # which would let the signals through
        # Both inherit that signals wait: the worker until it can obey, and the server for ever, as one to all processes
        # of a job would else leave none that knows when a worker has ended.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        # Else the worker would run the program once more that was started, which may have no guard against that.
        program, sys.modules["__main__"] = sys.modules["__main__"], ModuleType("__main__")
        try:
            process.start()
            self._workers.append(_Worker(process, link))
        finally:
            sys.modules["__main__"] = program
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
        return self._workers[-1]

    def _listen(self) -> None:
        """Wait until a worker says something or dies, and act on it."""
        wait([worker.link for worker in self._workers], _SECONDS_BETWEEN_LOOKS)
        for worker in list(self._workers):
            is_dead = not worker.process.is_alive()  # asked first, as it may say something and die
            try:
                message = worker.link.recv() if worker.link.poll() else None
            except (EOFError, OSError):
                message, is_dead = None, True
            if message:
                self._handle_message(worker, *message)
            elif is_dead:
                self._remove_dead_worker(worker)

    def _handle_message(self, worker: _Worker, name: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        """Act on a message, see `Outlet`."""
        match name:
            case "observe":
                for observer in self._observers:
                    observer.observe(*arguments)
            case "begin" | "move" | "print_values":
                getattr(self._display, name)(*arguments, **options)
            case "print":
                print_lines(self._console, *arguments)
            case "log":
                (record,) = arguments
                logger = logging.getLogger(record.name)
                if logger.isEnabledFor(record.levelno):
                    logger.handle(record)
            case "warn":
                message, category, file, line = arguments
                warnings.warn_explicit(message, category, file, line, registry=self._registry)
            case "finished":
                (number,) = arguments
                worker.number = None
                self._deaths.pop(number, None)
                self._display.end(number)
                self._when_finished(number)
            case "failed":
                error, text = arguments
                raise error from _WorkerTraceback(text)

    def _remove_dead_worker(self, worker: _Worker) -> None:
        """Take a worker off that has died, and let what it was at be begun again, if that was its first time."""
        worker.process.join()
        self._workers.remove(worker)
        worker.link.close()
        if (number := worker.number) is None:
            return
        words = f"its {worker.process.name} {_describe_death(worker.process.exitcode)}"
        deaths = self._deaths.setdefault(number, [])
        deaths.append(words)
        self._display.pause(number)
        then = "the others go on"
        if len(deaths) == 1:
            self._waiting.append(number)
            then = "it goes on from its last checkpoint after the others"
        print_lines(self._console, f"warning: {self._names[number]}: {words}; {then}")

    def _stop(self, *, first: int | None) -> None:
        """Let each worker save and end, and wait for it; a second SIGINT kills them."""
        try:
            with held_signals(dropped=True, came=[] if first is None else [first]):
                for worker in self._workers:
                    worker.process.terminate()
                links = [worker.link for worker in self._workers]
                while alive := [worker.process.sentinel for worker in self._workers if worker.process.is_alive()]:
                    for link in wait([*links, *alive], _SECONDS_BETWEEN_LOOKS):
                        if isinstance(link, Connection) and not _read_and_drop(link):
                            links.remove(link)
        finally:
            for worker in self._workers:
                worker.process.kill()
                worker.process.join()


class _WorkerTraceback(Exception):
    """Where in a worker an error was raised, as text."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


class _Lines(io.StringIO):
    """A file whose lines the parent of a worker prints."""

    def __init__(self, outlet: Outlet) -> None:
        super().__init__()
        self._outlet = outlet

    def write(self, text: str, /) -> int:
        """Send a text without the end of its last line."""
        if text.strip():
            self._outlet.send("print", text.rstrip("\n"))
        return len(text)


def _serve(link: Connection, work: Work, threads: int, environment: dict[str, str], level: int) -> None:
    """Train the parts whose numbers come over the link, in a process that was started for it."""
    os.setsid()  # ctrl-c is for the parent
    os.environ.clear()  # it is that of the server, from when it was started
    os.environ.update(environment)  # before the first call of CUDA, which reads its devices once
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    outlet = Outlet(link)
    quiet_libraries()
    logging.basicConfig(handlers=[_LogHandler(outlet)], format="%(message)s", level=level, force=True)
    warnings.showwarning = lambda message, category, file, line, *more: outlet.send(
        "warn", str(message), category, file, line
    )  # what `warnings` has for those who show them elsewhere
    with stopped_by_signals():
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        while (number := _receive(link)) is not None:
            try:
                work(number, outlet)
            except Exception as error:
                outlet.send("failed", _make_sendable(error), traceback.format_exc())
                return
            outlet.send("finished", number)


def _receive(link: Connection) -> int | None:
    try:
        return link.recv()
    except EOFError:  # the parent is gone
        return None


class _LogHandler(QueueHandler):
    """Send the records of a log, without what cannot be sent."""

    def __init__(self, outlet: Outlet) -> None:
        super().__init__(SimpleQueue())  # of which no use is made
        self._outlet = outlet

    def enqueue(self, record: logging.LogRecord) -> None:
        """Send a record."""
        self._outlet.send("log", record)


def _exit_with_parent() -> NoReturn:
    """Exit once the parent is gone: nobody would write down what comes of this process."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
    os._exit(1)


def _make_sendable(error: Exception) -> Exception:
    """Return an error that can be sent: itself, or one with its text."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # whatever its class raises
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _read_and_drop(link: Connection) -> bool:
    """Read what a worker says, which could not end otherwise; return whether there may be more."""
    try:
        return bool(os.read(link.fileno(), 2**16))
    except OSError:
        return False


def _describe_death(code: int | None) -> str:
    """Return in words how a process ended.

    Example:
        >>> _describe_death(-11), _describe_death(143), _describe_death(3)
        ('was killed by SIGSEGV', 'was stopped by SIGTERM', 'ended with exit code 3')
    """
    names = {number.value: number.name for number in signal.Signals}
    if code == -signal.SIGKILL:
        return "was killed by SIGKILL, as one that needs too much memory is"
    if code is not None and -code in names:
        return f"was killed by {names[-code]}"
    if code in {128 + number for number in SIGNALS}:
        return f"was stopped by {names[code - 128]}"
    return f"ended with exit code {code}"
