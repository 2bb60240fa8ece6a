"""Sweeps as a user starts them."""

import json
import re
import signal
import subprocess
import sys
import time

import pytest
from rich.console import Console
from run_program import Program, read_result, run_program

from noisereg.config.check import ComposedRun
from noisereg.config.command_line import check_command_line
from noisereg.config.sweep import Job, Sweep
from noisereg.errors import ConfigError
from noisereg.runs.record import RunRecord

TINY = ["dataset.train_size=50", "dataset.test_size=50", "dataset.batch_size=10", "trainer.max_epochs=2"]
TINY += ["engine=none", "seeds=1", "logger=csv", "hydra.sweep.dir=sweep"]
GRID = ["-m", *TINY, "noise.p=0,0.1"]


@pytest.fixture(scope="module")
def half_failed(tmp_path_factory):
    """A sweep with two jobs that are finished and two that diverge: its folder, and what was printed."""
    cwd = tmp_path_factory.mktemp("half_failed")
    return cwd, run_program(*GRID, "optimizer.lr=0.05,1e30", cwd=cwd)


def test_a_job_that_fails_fails_alone(half_failed):
    cwd, done = half_failed
    assert done.returncode == 1
    status = {path.parent.name: read_result(path.parent)["status"] for path in cwd.glob("sweep/*/result.json")}
    assert status == {
        "noise.p=0,optimizer.lr=0.05": "finished",
        "noise.p=0,optimizer.lr=1e+30": "failed",
        "noise.p=0.1,optimizer.lr=0.05": "finished",
        "noise.p=0.1,optimizer.lr=1e+30": "failed",
    }


def test_the_end_of_a_sweep_says_what_came_of_each_job_and_where_its_log_is(half_failed):
    cwd, done = half_failed
    *_, first, second, last = done.stdout.splitlines()
    for line, p in ((first, "0"), (second, "0.1")):
        name = f"noise.p={p},optimizer.lr=1e+30"
        assert line.startswith(f"{name}: FloatingPointError: ")
        log = cwd / "sweep" / name / "train.log"
        assert line.endswith(f"(sweep/{name}/train.log)")
        assert line.partition("FloatingPointError: ")[2].partition(" (sweep")[0] in log.read_text()
    assert last == "2 done, 2 failed; to go on, give the same command again"


def test_the_same_command_skips_what_is_finished_and_tries_what_failed(half_failed):
    cwd, _ = half_failed
    done = run_program(*GRID, "optimizer.lr=0.05,1e30", cwd=cwd)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1].startswith("2 skipped, 2 failed")


def test_more_values_add_jobs_to_a_sweep(half_failed):
    cwd, _ = half_failed
    done = run_program(*GRID, "optimizer.lr=0.05,0.02", cwd=cwd)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "2 skipped, 2 done"
    assert (cwd / "sweep" / "noise.p=0.1,optimizer.lr=0.02" / "result.json").exists()


def test_a_sweep_in_which_all_is_finished_starts_nothing(half_failed):
    cwd, _ = half_failed
    done = run_program(*GRID, "optimizer.lr=0.05", "hydra.sweep.subdir='noise.p=${noise.p},optimizer.lr=0.05'", cwd=cwd)
    assert done.returncode == 0, done.stderr
    assert "Launching" not in done.stdout
    assert done.stdout.splitlines()[-1] == "2 skipped"


def test_a_job_whose_folder_holds_another_run_ends_the_sweep_before_it_begins(half_failed):
    cwd, _ = half_failed
    done = run_program(*GRID, "optimizer.lr=0.07,0.05", "dataset.d=61", cwd=cwd)
    assert done.returncode == 2
    assert "holds a run of another configuration (dataset.d was 60 and is 61)" in done.stderr
    assert not (cwd / "sweep" / "noise.p=0,optimizer.lr=0.07").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["loss=hinge,hunge"], "loss=hunge: there is no such loss; did you mean hinge?"),
        (["seed=0,-1"], "seed must be"),
        (["trainer.devices=2"], "trainer.devices=2: a job of this sweep is 1 process; take as many"),
        (
            ["seed=0,1", "hydra.sweep.subdir=same"],
            "hydra.sweep.subdir=same is that of two jobs; name seed",
        ),
        (
            ["engine=fused", "dataset.batch_size=1", "optimizer=sgd,adam"],
            "engine=fused cannot run: optimizer Adam is not SGD with momentum and weight decay",
        ),
    ],
)
def test_a_fault_in_any_job_ends_the_sweep_before_the_first(arguments, message, tmp_path):
    done = run_program("-m", *TINY, "noise.p=0.1", *arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {message}")
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_is_stopped_and_goes_on(tmp_path):
    arguments = ["-m", *TINY, "trainer.max_epochs=3000", "noise.p=0.1", "seed=0,1"]
    program = Program(*arguments, cwd=tmp_path)
    first = tmp_path / "sweep" / "seed=0"
    while not list((first / "checkpoints").glob("*")):
        assert program.process.is_alive()
        time.sleep(0.05)
    second = run_program(*arguments, cwd=tmp_path)
    assert second.returncode == 2
    assert f"hydra.sweep.dir={tmp_path / 'sweep'} is written by process {program.process.pid} on " in second.stderr
    program.process.terminate()
    done = program.wait()
    assert done.returncode == 128 + signal.SIGTERM
    assert done.stdout.splitlines()[-1] == "1 stopped, 1 not started; to go on, give the same command again"
    step = read_result(first)["status"], json.loads((first / "result.json").read_text())["reason"]
    assert step == ("stopped", "SIGTERM")


def at_once(cwd, *commands):
    """Start sweeps at the same moment, and wait for them all."""
    return [program.wait() for program in [Program("-m", *command, cwd=cwd) for command in commands]]


def statuses(folder):
    return {path.parent.name: read_result(path.parent)["status"] for path in folder.glob("*/result.json")}


@pytest.mark.slow
@pytest.mark.parametrize("second", ["noise.p=0,0.1", "noise.p=0.1,0.2"], ids=["the same command", "another command"])
def test_of_two_sweeps_that_are_begun_at_once_in_one_folder_one_is_refused_and_each_job_is_trained_once(
    second, tmp_path
):
    first = [*TINY, "noise.p=0,0.1"]
    both = at_once(tmp_path, first, [*TINY, second])
    assert sorted(done.returncode for done in both) == [0, 2]
    (won,), (refused,) = ([done for done in both if done.returncode == code] for code in (0, 2))
    assert won.stdout.splitlines()[-1] == "2 done"
    assert "is written by process" in refused.stderr and refused.stderr.count("\n") == 1
    before = {path: path.read_bytes() for path in tmp_path.rglob("result.json")}
    again = run_program("-m", *TINY, "noise.p=0,0.1,0.2", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert sorted(again.stdout.splitlines()[-1].split(", ")) == ["1 done", "2 skipped"]  # in the order of the jobs
    assert set(statuses(tmp_path / "sweep").values()) == {"finished"}
    assert before.items() <= {path: path.read_bytes() for path in tmp_path.rglob("result.json")}.items()


@pytest.mark.slow
def test_two_sweeps_that_are_begun_at_once_in_one_root_have_a_folder_each_and_are_both_whole(tmp_path):
    common = [value for value in TINY if not value.startswith("hydra")]
    for done in at_once(tmp_path, [*common, "noise.p=0,0.1"], [*common, "noise.p=0.1,0.2"]):
        assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "2 done"), done.stderr
    one, two = sorted((tmp_path / "multirun").iterdir())
    assert [statuses(folder) for folder in (one, two)] in (
        [{"noise.p=0": "finished", "noise.p=0.1": "finished"}, {"noise.p=0.1": "finished", "noise.p=0.2": "finished"}],
        [{"noise.p=0.1": "finished", "noise.p=0.2": "finished"}, {"noise.p=0": "finished", "noise.p=0.1": "finished"}],
    )


LABELS = ["noise=file", "noise.path=a.csv,b.csv"]
DATA = {"a": {"images": 4}, "copy of a": {"images": 4}, "b": {"images": 5}}


def job_on(root, folder):
    settings = {"dataset": {"root": root}}
    return Job(folder / "job", ComposedRun(settings, {"": settings}))


def fingerprint(settings):
    if (root := settings["dataset"]["root"]) not in DATA:
        raise ConfigError(f"{root} cannot be read")
    return DATA[root]


@pytest.mark.parametrize("status", ["finished", "stopped"])
def test_a_job_is_done_if_its_folder_holds_the_run_on_the_same_data(status, tmp_path):
    begun, launched = RunRecord(tmp_path / "job", {"dataset": {"root": "a"}}), []
    begun.keep_data(DATA["a"])
    begun.write(status, seconds=1)

    def run(root):
        launched.clear()
        sweep = Sweep(tmp_path, [job_on(root, tmp_path)], [])
        return sweep.run(lambda: launched.append(root), console=Console(quiet=True), fingerprint=fingerprint)

    for root in ("a", "copy of a", "unreadable here"):
        assert run(root) == (status != "finished")
        assert launched == ([] if status == "finished" else [root])
    with pytest.raises(
        ConfigError, match=r"^hydra.sweep.dir=\S+/job holds a run on other data \(images was 4 and is 5"
    ):
        run("b")
    assert launched == []


@pytest.mark.parametrize(
    ("values", "key"), [(["dataset=image_folder", "dataset.root=a,b"], "dataset.root"), (LABELS, "noise.path")]
)
def test_two_jobs_on_data_or_labels_in_two_places_need_two_folders(values, key):
    told = rf"^hydra\.sweep\.subdir=one is that of two jobs; name {re.escape(key)} in it$"
    with pytest.raises(ConfigError, match=told):
        check_command_line(["-m", *values, "hydra.sweep.dir=s", "hydra.sweep.subdir=one"])


JOB = """
import signal, sys, time
from pathlib import Path
from noisereg.files.lock import locked

def save(*_):
    time.sleep(0.5)
    Path(sys.argv[1], "saved").touch()
    sys.exit(143)

signal.signal(signal.SIGTERM, save)
with locked(Path(sys.argv[1])):
    print("began", flush=True)
    time.sleep(30)
"""


@pytest.mark.parametrize("takes_jobs_along", [True, False])
def test_jobs_that_would_be_killed_end_first_and_have_saved(takes_jobs_along, tmp_path):
    folders = [tmp_path / name for name in ("a", "b", "not begun")]
    jobs = [subprocess.Popen([sys.executable, "-c", JOB, folder], stdout=subprocess.PIPE) for folder in folders[:2]]
    try:
        for job in jobs:
            job.stdout.readline()
        sweep = [Job(folder, ComposedRun({}, {})) for folder in folders]
        Sweep(tmp_path, sweep, [], takes_jobs_along=takes_jobs_along).stop_jobs()
        assert [(folder / "saved").exists() for folder in folders] == [takes_jobs_along, takes_jobs_along, False]
    finally:
        for job in jobs:
            job.kill()
            job.wait()
            job.stdout.close()
