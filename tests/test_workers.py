"""Replicas that are trained by two workers, in whole processes that are killed and asked to stop."""

import json
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest
from restarts import find_differences
from run_program import Program, read_result, run_program

pytestmark = pytest.mark.slow
GRID = [
    *("model=mlp", "model.hidden=[20]", "dataset.train_size=40", "dataset.test_size=50", "dataset.batch_size=8"),
    *("optimizer.momentum=0.9", "noise.p=[0,0.3]", "seeds=2", "engine=single", "threads=1", "logger=csv"),
    *("callbacks.sparsity.every_n_epochs=10", "callbacks.checkpoint.every_n_epochs=1", "trainer.max_epochs=60"),
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of the grid as one process trains it."""
    cwd = tmp_path_factory.mktemp("whole")
    done = run_program(*GRID, "workers=1", "hydra.run.dir=one", cwd=cwd)
    assert done.returncode == 0, done.stderr
    return cwd / "one"


def start(cwd: Path) -> Program:
    return Program(*GRID, "workers=2", "hydra.run.dir=two", cwd=cwd)


def pid_of_worker(folder: Path) -> int:
    """Wait until a replica has its first checkpoint and is not finished, and return the process that trains it."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for path in folder.glob("replicas/*/checkpoints/last.ckpt"):
            place = path.parents[1]
            if json.loads((place / "result.json").read_text())["status"] == "running":
                return json.loads((place / ".lock").read_text())["pid"]
        time.sleep(0.02)
    raise TimeoutError(f"no replica is under way in {folder}")


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_worker_that_is_killed_is_told_and_the_run_ends_as_if_it_were_not(whole, tmp_path):
    program = start(tmp_path)
    os.kill(pid_of_worker(tmp_path / "two"), signal.SIGKILL)
    done = program.wait()
    assert done.returncode == 0, done.stderr
    assert "was killed by SIGKILL, as one that needs too much memory is; it goes on from its last" in done.stdout
    assert find_differences(whole, tmp_path / "two") == []


def family(pid: int) -> list[int]:
    """Return the processes that come from one, the youngest first, and that one."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    children = [child for child, parent in parents.items() if parent == pid]
    return [other for child in children for other in family(child)] + [pid]


@pytest.mark.parametrize(
    ("number", "whom"),
    [(signal.SIGTERM, lambda pid: [pid]), (signal.SIGTERM, family), (signal.SIGKILL, lambda pid: [pid])],
    ids=["stopped", "all-stopped", "killed"],
)
def test_a_run_that_is_stopped_or_killed_leaves_no_worker_and_goes_on_to_the_same_bits(number, whom, whole, tmp_path):
    program = start(tmp_path)
    pid = pid_of_worker(tmp_path / "two")
    for process in whom(program.process.pid):
        os.kill(process, number)
    done = program.wait()
    if number == signal.SIGTERM:
        assert done.returncode == 143
        assert done.stdout.splitlines()[-1].startswith("stopped by SIGTERM; to go on: ")
        assert read_result(tmp_path / "two")["status"] == "stopped"
        assert not is_alive(pid)  # the run ends after its workers
    deadline = time.monotonic() + 10
    while is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not is_alive(pid)
    again = start(tmp_path).wait()
    assert again.returncode == 0, again.stderr
    assert "goes on replica " in again.stdout
    assert find_differences(whole, tmp_path / "two") == []
