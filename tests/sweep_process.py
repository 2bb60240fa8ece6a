"""A sweep of twelve small runs in a process that is killed and started again, and compared with an undisturbed one."""

import json
import os
import signal
import time
from pathlib import Path

import psutil
from restarts import find_differences
from run_program import Program

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


def start_sweep(cwd: Path, *more: str) -> Program:
    """Start the sweep in a folder."""
    cwd.mkdir(exist_ok=True)
    return Program(*ARGUMENTS, *more, cwd=cwd)


def time_sweep(cwd: Path, *more: str) -> float:
    """Run the sweep to its end, and return the seconds that it took."""
    began = time.monotonic()
    done = start_sweep(cwd, *more).wait()
    assert done.returncode == 0, done.stderr
    return time.monotonic() - began


def kill_sweep(cwd: Path, seconds: float, *more: str) -> dict[str, int]:
    """Start the sweep, kill it and all that it started after some seconds, and return the jobs that are finished."""
    program = start_sweep(cwd, *more)
    time.sleep(seconds)
    family = psutil.Process(program.process.pid)
    for process in [family, *family.children(recursive=True)]:
        process.send_signal(signal.SIGKILL)
    assert program.wait().returncode == -signal.SIGKILL
    return finished_jobs(cwd)


def finished_jobs(cwd: Path) -> dict[str, int]:
    """Return the names of the jobs that are finished with their figures, and when each record was written (ns)."""
    records = {path: json.loads(path.read_text()) for path in (cwd / "sweep").glob("*/result.json")}
    return {
        path.parent.name: os.stat(path).st_mtime_ns
        for path, record in records.items()
        if record["status"] == "finished" and record.get("drawn", True)
    }


def finish_and_compare(whole: Path, other: Path, *more: str) -> None:
    """Run a sweep that was killed to its end: finished jobs stay as they are, and all are equal to undisturbed ones."""
    before = finished_jobs(other)
    done = start_sweep(other, *more).wait()
    assert done.returncode == 0, done.stderr
    after = finished_jobs(other)
    assert after.keys() == finished_jobs(whole).keys()
    assert before.items() <= after.items()
    for name in after:
        assert find_differences(whole / "sweep" / name, other / "sweep" / name) == []
