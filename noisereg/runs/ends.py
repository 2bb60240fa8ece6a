"""How a run ends: alone in its folder, written down, and told, whatever ends it."""

import logging
import os
import shlex
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
import wandb
from hydra.core.hydra_config import HydraConfig
from hydra.errors import CompactHydraException
from hydra.types import RunMode
from rich.console import Console

from noisereg.callbacks.run_checkpoint import SIGNALS, Stopped
from noisereg.config.run_folder import remove_refused_folder
from noisereg.errors import ConfigError, DatasetError, DiskError
from noisereg.files.atomic import remove_leftovers
from noisereg.files.lock import locked
from noisereg.runs.environment import is_first_process
from noisereg.runs.record import RunRecord

_TOLD = (FloatingPointError, DatasetError, DiskError, MemoryError, torch.OutOfMemoryError)  # their line says it all


def say(console: Console, *lines: str) -> None:
    """Print lines as they are."""
    console.print(*lines, sep="\n", highlight=False, soft_wrap=True)


def is_one_of_many() -> bool:
    """Tell whether this run is a job of a sweep."""
    return HydraConfig.get().mode == RunMode.MULTIRUN


def end_with_parent() -> None:
    """End this process as soon as the one that started it is gone: killed, it cannot tell the others any more."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def failure_recorded(record: RunRecord, **known: Any) -> Iterator[None]:
    """Write down why a run ended early, and end the run of W&B as failed.

    Bad input leaves nothing behind, but for a job of a sweep.

    Args:
        record: of the run.
        known: what else the record holds.
    """
    try:
        yield
    except BaseException as error:
        by = _stopped_by(error)
        if record.path.exists() or is_one_of_many() or not isinstance(error, ConfigError):
            reason = by.name if by else f"{type(error).__name__}: {error}"
            record.write("stopped" if by else "failed", **known, reason=reason)
        if by and wandb.run is not None:
            wandb.run.mark_preempting()
        wandb.finish(exit_code=128 + by if by else 1)
        raise


@contextmanager
def end_told(console: Console, folder: Path) -> Iterator[None]:
    """Say as the last thing what to do next, if a run ends early.

    A job of a sweep fails alone, and says why in its log.

    Args:
        console: to print on.
        folder: of the run.

    Raises:
        SystemExit: with 1 if the run failed, or 128 and the number of the signal that stopped it.
        CompactHydraException: if a job of a sweep failed.
    """
    again = f"python train.py resume={shlex.quote(str(folder))}"
    try:
        yield
    except ConfigError as error:
        if is_one_of_many():
            logging.getLogger(__name__).error("failed: %s", error)
        raise
    except BaseException as error:
        if by := _stopped_by(error):
            say(console, f"stopped by {by.name}; to go on: {again}")
            raise SystemExit(128 + by) if isinstance(error, KeyboardInterrupt) else error from None
        if is_one_of_many():
            logging.getLogger(__name__).error("failed: %s", error, exc_info=not isinstance(error, _TOLD))
            raise CompactHydraException(f"{type(error).__name__}: {error}") from None
        if not isinstance(error, _TOLD):
            traceback.print_exc()
        print(f"failed: {error}\nto go on, once that is mended: {again}", file=sys.stderr)
        raise SystemExit(1) from None


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep a folder for this run, and sweep away what a killed one left half written; the first process does.

    Args:
        folder: of the run; made if it does not exist.

    Raises:
        ConfigError: if another process has it.
    """
    with locked(folder) if is_first_process() else nullcontext():
        if is_first_process():
            remove_leftovers(folder, folder / "checkpoints", folder / "figures")
        yield


@contextmanager
def refused_cleared(folder: Path) -> Iterator[None]:
    """Leave no folder behind where bad input kept a run from beginning; a job of a sweep keeps its record there."""
    try:
        yield
    except ConfigError:
        if is_first_process():
            remove_refused_folder(folder)
        raise


def _stopped_by(error: BaseException) -> signal.Signals | None:
    """Name the signal that ended a run; None if it was none."""
    if isinstance(error, Stopped):
        return error.signal
    if isinstance(error, KeyboardInterrupt):
        return signal.SIGINT
    codes = {128 + number: number for number in SIGNALS}
    return codes.get(error.code) if isinstance(error, SystemExit) and isinstance(error.code, int) else None
