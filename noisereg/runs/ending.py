"""How a run ends: written down, with a last line that says what to do next, whatever ends it."""

import logging
import os
import re
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.errors import CompactHydraException
from hydra.types import RunMode
from rich.console import Console

from noisereg.callbacks.run_checkpoint import SIGNALS, Stopped
from noisereg.config.commands import resuming_command
from noisereg.config.plan import Plan
from noisereg.config.run_folder import RECORD, remove_refused_folder
from noisereg.config.time_limit import exit_with
from noisereg.errors import ConfigError, DatasetError, DiskError, WorkerError
from noisereg.files.atomic import remove_leftovers, write_atomically
from noisereg.files.lock import locked
from noisereg.runs.environment import is_first_process, process_number
from noisereg.runs.record import RunRecord
from noisereg.runs.signals import held_signals
from noisereg.secrets import hide_secrets
from noisereg.terminal import print_lines

_ONE_LINE = (
    FloatingPointError,
    DatasetError,
    DiskError,
    WorkerError,
    MemoryError,
    torch.OutOfMemoryError,
)  # their text is a whole report

_PARENT = "NOISEREG_PARENT"  # variable with the number of the process that starts the others of a training
_REASON = ".reason-of-process-"  # name of a file, with the number of the process
_PATIENCE = 10.0  # seconds; a process closes its connections before it comes to leave its reason
# gloo and NCCL raise errors of no class of their own
_CONNECTION = re.compile(
    r"gloo|NCCL|[Cc]onnection (closed|reset|refused)|Broken pipe|DistBackendError|DistNetworkError"
)


def is_job_of_sweep() -> bool:
    """Return whether this run is a job of a sweep."""
    return HydraConfig.get().mode == RunMode.MULTIRUN


@contextmanager
def named_as_parent() -> Iterator[None]:
    """Let the processes that this one starts in the `with` block know which one it is, see `exit_with_parent`."""
    os.environ[_PARENT] = str(os.getpid())
    try:
        yield
    finally:
        os.environ.pop(_PARENT, None)


def exit_with_parent() -> None:
    """Exit as soon as the process that started this one is gone: killed, it cannot stop the others any more."""
    exit_with(int(os.environ.get(_PARENT, os.getppid())))


@contextmanager
def recorded_failure(record: RunRecord) -> Iterator[None]:
    """Write to the record why a run ended early, and end the run of W&B as failed.

    Bad input leaves nothing behind, but for a job of a sweep, and a run that was to go on for longer as it is.
    """
    try:
        yield
    except BaseException as error:
        by = _stopped_by(error)
        with held_signals(dropped=True):
            _record_end(record, error, by)
        raise


def _record_end(record: RunRecord, error: BaseException, by: signal.Signals | None) -> None:
    """Write down how a run ended, and end the run of W&B."""
    keeps = record.status == "shorter" or not (record.path.exists() or is_job_of_sweep())
    if record.has_begun or not (keeps and isinstance(error, ConfigError)):
        reason = by.name if by else f"{type(error).__name__}: {error}"
        if not by and (others := _reason_of_others(reason, record)):
            error.add_note(others)
            reason = others
        _write_end(record, "stopped" if by else "failed", reason)
    if (wandb := sys.modules.get("wandb")) is None:  # whose run it is has loaded it
        return
    if by and wandb.run is not None:
        wandb.run.mark_preempting()
    try:
        wandb.finish(exit_code=128 + by if by else 1)
    except Exception as fault:  # what ended the run is what counts
        print(hide_secrets(f"W&B could not end its run: {fault}"), file=sys.stderr)


def _reason_of_others(reason: str, record: RunRecord) -> str:
    """Return why another process failed, or that it has left no reason, if this one has lost its connection to it."""
    # A process that fails leaves its reason in the run's folder, where the first one looks for it; one that has only
    # lost its connection leaves none.
    folder, is_alone = record.path.parent, Plan(record.config).num_processes == 1
    if is_alone or bool(_CONNECTION.search(reason)) != is_first_process():
        return ""
    if not is_first_process():
        write_atomically(folder / f"{_REASON}{process_number()}", hide_secrets(reason).encode())
        return ""
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        for path in sorted(folder.glob(f"{_REASON}*")):
            text = path.read_text()
            path.unlink()
            return f"process {path.name.removeprefix(_REASON)}: {text}"
        time.sleep(0.1)
    return f"another process has ended and left no reason, as one that is killed for its memory ({reason})"


def _write_end(record: RunRecord, status: str, reason: str) -> None:
    """Write how a run ended; on a full disk without what came of it, and failing that, say so."""
    record.known |= record.begun_with  # a command that was refused is not what `resume` is to give again
    try:
        record.write(status, reason=reason)
    except OSError:
        record.known = {key: value for key, value in record.known.items() if key == "command"}
        try:
            record.write(status, reason=reason)
        except OSError as error:
            print(f"{record.path} does not say that the run {status}: {error}", file=sys.stderr)


@contextmanager
def exit_message(console: Console, folder: Path) -> Iterator[None]:
    """Print as the last line what to do next, if a run ends early.

    A job of a sweep fails alone, and says why in its log.

    Raises:
        SystemExit: with 1 if the run failed, or 128 and the number of the signal that stopped it.
        CompactHydraException: if a job of a sweep failed.
    """
    again = resuming_command(folder)
    try:
        yield
    except ConfigError as error:
        if is_job_of_sweep():
            logging.getLogger(__name__).error("failed: %s", error)
        raise
    except BaseException as error:
        if by := _stopped_by(error):
            hint = f"to go on: {again}" if (folder / RECORD).exists() else "nothing was trained yet"
            print_lines(console, f"stopped by {by.name}; {hint}")
            raise SystemExit(128 + by) if isinstance(error, KeyboardInterrupt) else error from None
        if is_job_of_sweep():
            logging.getLogger(__name__).error("%s", _describe_failure(error))
            raise CompactHydraException(hide_secrets(f"{type(error).__name__}: {error}")) from None
        print(_describe_failure(error), file=sys.stderr)
        if (folder / RECORD).exists():
            print(f"to go on, once that is mended: {again}", file=sys.stderr)
        raise SystemExit(1) from None


def _describe_failure(error: BaseException) -> str:
    """Return why a run failed, without secrets, after the calls that led there if the line does not say all."""
    reason = "; ".join([*getattr(error, "__notes__", []), str(error)])
    calls = "" if isinstance(error, _ONE_LINE) else "".join(traceback.format_exception(error))
    return hide_secrets(f"{calls}failed: {reason}")


@contextmanager
def exclusive_folder(folder: Path) -> Iterator[None]:
    """Lock a folder for this run, and remove what a killed one left half written; the first process does both.

    Args:
        folder: of the run; made if it does not exist.

    Raises:
        ConfigError: if another process has it.
    """
    with locked(folder) if is_first_process() else nullcontext():
        if is_first_process():
            remove_leftovers(folder, folder / "checkpoints", folder / "figures")
            for path in folder.glob(f"{_REASON}*"):
                path.unlink()
        yield


@contextmanager
def removed_if_refused(folder: Path) -> Iterator[None]:
    """Remove the folder again where bad input kept a run from beginning; a job of a sweep keeps its record there."""
    try:
        yield
    except ConfigError:
        if is_first_process():
            remove_refused_folder(folder)
        raise


def _stopped_by(error: BaseException) -> signal.Signals | None:
    """Return the signal that ended a run; None if it was none."""
    if isinstance(error, Stopped):
        return error.signal
    if isinstance(error, KeyboardInterrupt):
        return signal.SIGINT
    codes = {128 + number: number for number in SIGNALS}
    return codes.get(error.code) if isinstance(error, SystemExit) and isinstance(error.code, int) else None
