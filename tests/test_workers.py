"""Replicas that are trained by two workers, in whole processes that are killed and asked to stop."""

import json
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from run_program import Program, read_result, run_program

from noisereg.runs.reading import read_arrays
from noisereg.training.load import load

COMMON = [
    *("model=mlp", "model.hidden=[20]", "dataset.train_size=40", "dataset.test_size=50", "dataset.batch_size=8"),
    *("optimizer.momentum=0.9", "noise.p=[0,0.3]", "threads=1", "logger=csv"),
    *("callbacks.sparsity.every_n_epochs=10", "callbacks.checkpoint.every_n_epochs=1"),
]
GRIDS = {
    "single": [*COMMON, "engine=single", "seeds=2", "trainer.max_epochs=60"],
    "stacked": [*COMMON, "engine=stacked", "seeds=4", "trainer.max_epochs=400"],
}


@pytest.fixture(scope="module", params=GRIDS)
def grid(request):
    return GRIDS[request.param]


@pytest.fixture(scope="module")
def whole(grid, tmp_path_factory):
    """The folder of the grid as one process trains it."""
    cwd = tmp_path_factory.mktemp("whole")
    done = run_program(*grid, "workers=1", "hydra.run.dir=one", cwd=cwd)
    assert done.returncode == 0, done.stderr
    return cwd / "one"


def start(grid: list[str], cwd: Path, *, workers: int = 2) -> Program:
    return Program(*grid, f"workers={workers}", "hydra.run.dir=two", cwd=cwd)


def find_differences(whole: Path, other: Path) -> list[str]:
    """Return the names of what two runs have come to that is not the same, bit by bit."""
    texts = [(folder / "metrics.csv").read_text() for folder in (whole, other)]
    faults = ["metrics.csv"] * (texts[0] != texts[1])
    one, two = (read_result(folder) for folder in (whole, other))
    faults += [key for key in ("status", "replicas", "steps") if one[key] != two[key]]
    for name in ("analysis.npz", "fires.npz"):
        arrays = [read_arrays(folder / name) or {} for folder in (whole, other)]
        faults += [name] * (arrays[0].keys() != arrays[1].keys())
        faults += [
            f"{name}: {key}" for key in arrays[0] if not np.array_equal(*(part[key] for part in arrays), equal_nan=True)
        ]
    runs = [load(folder) for folder in (whole, other)]
    for names in runs[0].replica_names:
        if "non-finite" in runs[0].ended_by[runs[0].find_replicas(**names)[0]]:
            continue
        weights = [run.network(**names).state_dict() for run in runs]
        faults += [f"{names}: {key}" for key in weights[0] if not torch.equal(*(part[key] for part in weights))]
    return faults


def test_parts_of_stacked_networks_by_two_workers_are_one_run_with_the_bits_of_one_process(tmp_path):
    grid = [*GRIDS["stacked"], "optimizer.lr=[0.05,1e30]", "stopping.extra_epochs=20", "trainer.max_epochs=100"]
    for workers in (1, 2):
        done = run_program(*grid, f"workers={workers}", f"hydra.run.dir={workers}", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    assert "engine  stacked: 16 replicas (4 seeds for each p) in 2 parts, 2 at a time, each in a process" in done.stdout
    assert "part 2 of 2 (replicas 3-4, 7-8, 11-12, 15-16 of 16), epoch " in done.stdout
    assert {path.name for path in (tmp_path / "2" / "replicas").iterdir()} == {"1-of-2", "2-of-2"}
    ends = {row["ended_by"] for row in read_result(tmp_path / "2")["replicas"]}
    assert ends == {"zero train error", "non-finite weights"}  # and replicas stop at other epochs than their neighbours
    assert len({row["epochs"] for row in read_result(tmp_path / "2")["replicas"]}) > 2
    assert find_differences(tmp_path / "1", tmp_path / "2") == []


def pid_of_worker(folder: Path) -> int:
    """Wait until a part has its first checkpoint and is not finished, and return the process that trains it."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for path in folder.glob("replicas/*/checkpoints/last.ckpt"):
            place = path.parents[1]
            if json.loads((place / "result.json").read_text())["status"] == "running":
                return json.loads((place / ".lock").read_text())["pid"]
        time.sleep(0.02)
    raise TimeoutError(f"no part is under way in {folder}")


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
def test_a_worker_that_is_killed_is_told_and_the_run_ends_as_if_it_were_not(grid, whole, tmp_path):
    program = start(grid, tmp_path)
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


@pytest.mark.slow
@pytest.mark.parametrize(
    "case",
    [
        (signal.SIGINT, lambda pid: [pid], 2),
        (signal.SIGTERM, lambda pid: [pid], 1),
        (signal.SIGTERM, family, 2),
        (signal.SIGKILL, lambda pid: [pid], 2),
    ],
    ids=["ctrl-c", "stopped, then one worker", "all-stopped", "killed"],
)
def test_a_run_that_is_stopped_or_killed_leaves_no_worker_and_goes_on_to_the_same_bits(case, grid, whole, tmp_path):
    number, whom, then = case
    program = start(grid, tmp_path)
    pid = pid_of_worker(tmp_path / "two")
    for process in whom(program.process.pid):
        os.kill(process, number)
    done = program.wait()
    if number != signal.SIGKILL:
        assert done.returncode == 128 + number
        assert done.stdout.splitlines()[-1].startswith(f"stopped by {signal.Signals(number).name}; to go on: ")
        assert read_result(tmp_path / "two")["status"] == "stopped"
        assert not is_alive(pid)  # the run ends after its workers
    deadline = time.monotonic() + 10
    while is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not is_alive(pid)
    again = start(grid, tmp_path, workers=then).wait()
    assert again.returncode == 0, again.stderr
    assert "goes on replica " in again.stdout or "goes on part " in again.stdout
    assert find_differences(whole, tmp_path / "two") == []


@pytest.mark.slow
def test_a_run_that_was_begun_in_one_process_goes_on_in_one(tmp_path):
    grid = [value for value in GRIDS["stacked"] if value != "engine=stacked"]
    whole, program = Program(*grid, "hydra.run.dir=one", cwd=tmp_path), start(grid, tmp_path, workers=1)
    while not (tmp_path / "two" / "checkpoints" / "last.ckpt").exists():
        time.sleep(0.02)
    program.process.terminate()
    assert program.wait().returncode == 143
    again = start(grid, tmp_path).wait()
    assert "; not by workers, as this run was begun in one process" in again.stdout
    assert "goes on at epoch " in again.stdout
    assert whole.wait().returncode == 0
    assert find_differences(tmp_path / "one", tmp_path / "two") == []


@pytest.mark.slow
def test_a_run_of_auto_goes_on_by_the_engine_that_has_begun_it(tmp_path):
    network = ["dataset.train_size=40", "dataset.test_size=50", "seeds=4", "threads=1", "logger=csv"]
    grid = [*network, "dataset.batch_size=8", "model.hidden=20", "trainer.max_epochs=400"]  # which one process fuses
    program = start(grid, tmp_path)
    os.kill(program.process.pid, signal.SIGKILL if pid_of_worker(tmp_path / "two") else 0)
    program.wait()
    again = start(grid, tmp_path, workers=1).wait()
    assert "engine  stacked: 8 replicas (4 seeds for each p) in 2 parts, one after the other" in again.stdout
    assert "goes on part " in again.stdout
