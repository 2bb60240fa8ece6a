"""A sweep of twelve small runs that is killed and started again, and what it is compared with."""

import json
import os
import signal
import time
from pathlib import Path

import psutil
from program import Program
from restarts import differences

JOBS = 12
ARGUMENTS = ["-m", "noise.p=0,0.1,0.2,0.3", "seed=0,1,2", "seeds=1", "logger=csv", "hydra.sweep.dir=sweep"]
ARGUMENTS += [
    "engine=none",
    "dataset.train_size=60",
    "dataset.test_size=60",
    "dataset.batch_size=10",
    "trainer.max_epochs=20",
]
ARGUMENTS += ["callbacks.sparsity.every_n_epochs=10", "callbacks.checkpoint.every_n_train_steps=10"]


def start(cwd: Path, *more: str) -> Program:
    """Start the sweep in a folder."""
    cwd.mkdir(exist_ok=True)
    return Program(*ARGUMENTS, *more, cwd=cwd)


def undisturbed(cwd: Path, *more: str) -> float:
    """Run the sweep to its end, and give the seconds that it took."""
    began = time.monotonic()
    done = start(cwd, *more).end()
    assert done.returncode == 0, done.stderr
    return time.monotonic() - began


def killed(cwd: Path, seconds: float, *more: str) -> dict[str, int]:
    """Start the sweep, kill it and all that it started after some seconds, and give what was finished by then."""
    program = start(cwd, *more)
    time.sleep(seconds)
    family = psutil.Process(program.process.pid)
    for process in [family, *family.children(recursive=True)]:
        process.send_signal(signal.SIGKILL)
    assert program.end().returncode == -signal.SIGKILL
    return finished(cwd)


def finished(cwd: Path) -> dict[str, int]:
    """Name the jobs that are finished, and when the record of each was written, in nanoseconds."""
    records = {path: json.loads(path.read_text()) for path in (cwd / "sweep").glob("*/result.json")}
    return {
        path.parent.name: os.stat(path).st_mtime_ns
        for path, record in records.items()
        if record["status"] == "finished"
    }


def assert_ends_alike(whole: Path, other: Path, *more: str) -> None:
    """Run a sweep that was killed to its end: what was finished stays as it is, and all is as if left alone."""
    before = finished(other)
    done = start(other, *more).end()
    assert done.returncode == 0, done.stderr
    after = finished(other)
    assert after.keys() == finished(whole).keys()
    assert before.items() <= after.items()
    for name in after:
        assert differences(whole / "sweep" / name, other / "sweep" / name) == []
