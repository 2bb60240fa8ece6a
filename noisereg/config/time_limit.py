"""A run with a limit of time: a process of its own, so that whatever hangs in it can be ended from outside."""

import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple, NoReturn

from hydra.errors import CompactHydraException

from noisereg.config.run_folder import RECORD, arm_names, load_record
from noisereg.files.atomic import write_atomically

_PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)
_MOST_GRACE = 60.0  # seconds for a step or an evaluation to finish, and for the save


class End(NamedTuple):
    """How a child ended.

    Attributes:
        code: its exit code; negative for the signal that killed it.
        is_late: whether it was ended as its time was up.
        reason: why it failed, as its record has it; empty if that says nothing.
    """

    code: int
    is_late: bool
    reason: str


def run_within(minutes: float, run: Callable[[], object], *, folder: Path) -> End:
    """Run in a child process, and end it once the time is up.

    It is asked to save and end, as by SIGTERM; if it has not done so after a minute, or after as long again where the
    limit is shorter, it is killed. Its record says "stopped" by the time limit, and its last checkpoint stays. Signals
    that come here are passed on.

    Args:
        minutes: of the limit.
        run: what is done in the child; it says itself why it fails.
        folder: of the run, with its record.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    child, early = 0, list[int]()

    def pass_on(number: int, frame: FrameType | None) -> None:
        if child:
            os.kill(child, number)
        else:
            early.append(number)

    before = {number: signal.signal(number, pass_on) for number in _PASSED_ON}
    try:
        child = os.fork()
        if child == 0:
            _be_child(run, before)
        for number in early:
            os.kill(child, number)
        code, is_late = _wait(child, 60 * minutes)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    reason = f"time limit of {minutes:g} minutes" if is_late else _reason(folder)
    for path in _records(folder) if is_late else ():
        _write_stopped(path, reason)
    return End(code, is_late, reason)


def exit_with(parent: int) -> None:
    """Exit as soon as the process that started this one is gone; it may have gone while this one was being loaded."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _be_child(run: Callable[[], object], handlers: Mapping[signal.Signals, Any]) -> NoReturn:
    """Run, and exit without what the parent has to do at its own end, or as soon as the parent is gone."""
    for number, handler in handlers.items():
        signal.signal(number, handler)
    os.setpgid(0, 0)  # ctrl-c goes to the parent, which passes it on once
    exit_with(os.getppid())
    code = 1
    try:
        run()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except CompactHydraException:  # it has been said
        pass
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _wait(child: int, seconds: float) -> tuple[int, bool]:
    """Wait for a child, end it if that takes longer, and return its exit code and whether it was ended unfinished."""
    deadline, grace = time.monotonic() + seconds, min(_MOST_GRACE, seconds)
    for limit, number in ((deadline, signal.SIGTERM), (deadline + grace, signal.SIGKILL)):
        while time.monotonic() < limit:
            found, status = os.waitpid(child, os.WNOHANG)
            if found:
                code = os.waitstatus_to_exitcode(status)
                return code, number == signal.SIGKILL and code != 0
            time.sleep(0.05)
        os.kill(child, number)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), True


def _records(folder: Path) -> list[Path]:
    """List the records of a run and of its arms that are there."""
    record = _read(folder / RECORD)
    places = [folder, *(folder / arm for arm in arm_names(record.get("config", {})))]
    return [place / RECORD for place in places if (place / RECORD).is_file()]


def _write_stopped(path: Path, reason: str) -> None:
    """Write into a record that its run was stopped, unless it ended before by itself."""
    record = _read(path)
    if record.get("status") in ("running", "stopped"):
        text = json.dumps({**record, "status": "stopped", "reason": reason}, indent=2)
        write_atomically(path, text.encode())


def _reason(folder: Path) -> str:
    record = _read(folder / RECORD)
    return str(record.get("reason", "")) if record.get("status") == "failed" else ""


def _read(path: Path) -> dict[str, Any]:
    try:
        return load_record(path)
    except (OSError, ValueError):  # it has not begun
        return {}
