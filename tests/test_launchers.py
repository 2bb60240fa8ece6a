"""A sweep comes to the same numbers whatever starts its jobs: Hydra itself, Ray, or submitit."""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from functools import partial

import psutil
import pytest
import slurm
import slurm_node
import sweep_process
import torch
from interruptions import INTERRUPTION
from restarts import CASES, find_differences, write_images
from run_program import ROOT, Program, read_result, run_program

from noisereg.config.command_line import check_command_line
from noisereg.errors import ConfigError
from noisereg.runs.checkpoints import find_checkpoint

SWEEP = ["-m", "seed=0,1", "seeds=1", "noise.p=0.2", "engine=none", "dataset.train_size=60"]
SWEEP += ["dataset.test_size=60", "dataset.batch_size=10", "trainer.max_epochs=20", "trainer.accelerator=cpu"]
SWEEP += ["callbacks.sparsity.every_n_epochs=10"]
IMAGES = [*CASES["minibatches"], *INTERRUPTION, "logger=csv"]
TWO_DEVICES = ["hydra/launcher=ray", "hydra.launcher.ray.init.num_cpus=2", "hydra.launcher.ray.init.num_gpus=2"]
TWO_CORES = ["hydra/launcher=ray_cpu", "hydra.launcher.ray.init.num_cpus=2"]
FOUND = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}


@pytest.fixture
def ray_home(tmp_path):
    """Variables that keep what Ray writes out of the user's folder; its sockets need a short path."""
    with tempfile.TemporaryDirectory(dir="/tmp", ignore_cleanup_errors=True) as folder:
        yield {**FOUND, "HOME": str(tmp_path), "RAY_TMPDIR": folder}


def jobs(sweep):
    """The folder of each job of a sweep, by its name."""
    return {path.parent.name: path.parent for path in sweep.glob("*/result.json")}


def assert_equal_sweeps(sweep, other):
    """Check that all jobs of two sweeps are finished, and equal bit by bit."""
    assert jobs(sweep).keys() == jobs(other).keys()
    for name, folder in jobs(sweep).items():
        assert read_result(folder)["status"] == "finished"
        assert find_differences(folder, other / name) == []


def test_a_job_that_would_wait_for_ever_for_a_gpu_is_refused():
    asked = f"hydra.launcher.ray.remote.num_gpus={torch.cuda.device_count() + 1}"
    with pytest.raises(ConfigError, match=f"^{asked}: this machine has .* GPUs; take hydra/launcher=ray_cpu"):
        check_command_line(["-m", "seed=0,1", "hydra/launcher=ray", asked])


@pytest.mark.parametrize("launcher", ["basic", "ray_cpu", "submitit_local"])
def test_a_network_of_several_processes_is_refused_where_each_job_is_one(launcher):
    with pytest.raises(
        ConfigError, match=r"^trainer.devices=2: a job of this sweep is 1 process; take as many devices"
    ):
        check_command_line(["-m", "model=mlp", "seed=0,1", "trainer=ddp", f"hydra/launcher={launcher}"])


def test_on_slurm_a_job_may_have_as_many_processes_as_tasks():
    ddp = ["-m", "model=mlp", "seed=0,1", "trainer=ddp", "hydra/launcher=slurm"]
    assert len(check_command_line([*ddp, "hydra.launcher.tasks_per_node=2"]).jobs) == 2
    with pytest.raises(ConfigError, match=r"^trainer.devices=2: a job of this sweep is 4 processes; take as many"):
        check_command_line([*ddp, "hydra.launcher.tasks_per_node=4"])


@pytest.mark.slow
def test_with_ray_jobs_at_once_have_a_device_each_and_come_to_what_they_do_one_by_one(tmp_path, ray_home):
    one_by_one = run_program(*SWEEP, "logger=csv", "hydra.sweep.dir=basic", cwd=tmp_path)
    assert one_by_one.returncode == 0, one_by_one.stderr
    done = run_program(*SWEEP, *TWO_DEVICES, "hydra.sweep.dir=ray", cwd=tmp_path, **ray_home)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    assert_equal_sweeps(tmp_path / "basic", tmp_path / "ray")
    folders = jobs(tmp_path / "ray").values()
    assert sorted(read_result(folder)["environment"]["visible_devices"] for folder in folders) == ["0", "1"]
    last_began = max((folder / ".hydra" / "config.yaml").stat().st_mtime for folder in folders)
    assert last_began < min((folder / "result.json").stat().st_mtime for folder in folders)
    assert len({path.name.rpartition("-")[2] for path in tmp_path.glob("ray/*/wandb/offline-run-*")}) == 2


@pytest.mark.slow
def test_with_ray_on_cores_the_module_runs_from_any_folder_with_a_thread_a_job(tmp_path, ray_home):
    command = [sys.executable, "-m", "noisereg", *SWEEP, *TWO_CORES, "logger=csv", "hydra.sweep.dir=ray"]
    known = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"} | ray_home
    done = subprocess.run(command, cwd=tmp_path, env=known, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    around = [read_result(folder)["environment"] for folder in jobs(tmp_path / "ray").values()]
    assert [one["threads"] for one in around] == [1, 1]


def kill(cwd, *, begun, delay, alone):
    """Start the sweep, and kill it a while after so many jobs have begun: all its processes, or only the first one."""
    program = sweep_process.start_sweep(cwd, *TWO_CORES)
    while len(jobs(cwd / "sweep")) < begun:
        time.sleep(0.02)
    time.sleep(delay)
    first = psutil.Process(program.process.pid)
    others = first.children(recursive=True)
    workers = [process for process in others if "_run_job" in name_of(process)]
    for process in [first] if alone else [first, *others]:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    program.wait()
    _, alive = psutil.wait_procs(workers, timeout=30)
    assert not alive


def name_of(process):
    """Return the name of a process, empty if it has ended."""
    try:
        return process.name()
    except psutil.NoSuchProcess:
        return ""


@pytest.mark.slow
def test_a_sweep_with_ray_killed_three_times_ends_as_one_left_alone(tmp_path, ray_home, monkeypatch):
    sweep_process.time_sweep(tmp_path / "whole")
    monkeypatch.setattr(sweep_process, "Program", partial(Program, **ray_home))
    draws, before = random.Random(0), {}
    for begun, alone in ((2, False), (6, True), (10, False)):
        kill(tmp_path / "cut", begun=begun, delay=draws.uniform(0, 1), alone=alone)
        after = sweep_process.finished_jobs(tmp_path / "cut")
        assert before.items() <= after.items()
        assert len(after) < sweep_process.JOBS
        before = after
    sweep_process.finish_and_compare(tmp_path / "whole", tmp_path / "cut", *TWO_CORES)


@pytest.mark.slow
def test_ctrl_c_lets_the_jobs_of_ray_save_before_they_end(tmp_path, ray_home):
    tiny = ["dataset.train_size=200", "dataset.test_size=50", "dataset.batch_size=10", "engine=none", "logger=csv"]
    grid = ["-m", "noise.p=0,0.1", "seeds=1", "trainer.max_epochs=100000", "hydra.sweep.dir=sweep"]
    program = Program(*tiny, *grid, *TWO_CORES, cwd=tmp_path, **ray_home)
    while len(list(tmp_path.glob("sweep/*/checkpoints/last.ckpt"))) < 2:
        assert program.process.is_alive()
        time.sleep(0.1)
    os.kill(program.process.pid, signal.SIGINT)
    assert program.wait().returncode == 128 + signal.SIGINT
    for folder in (tmp_path / "sweep").glob("noise.p=*"):
        assert (read_result(folder)["status"], read_result(folder)["reason"]) == ("stopped", "SIGTERM")
        assert find_checkpoint(folder / "checkpoints") == folder / "checkpoints" / "last.ckpt"


def test_the_settings_for_slurm_reach_it(tmp_path):
    cluster = slurm.install_commands(tmp_path / "slurm")
    (tmp_path / "slurm" / "sbatch").write_text("#!/bin/sh\nexit 1\n")
    arguments = [*SWEEP, "hydra/launcher=slurm", "hydra.launcher.partition=long", "hydra.sweep.dir=sweep"]
    assert run_program(*arguments, cwd=tmp_path, **cluster).returncode == 1
    (script,) = (tmp_path / "sweep" / ".submitit").rglob("*.sh")
    asked = {line.removeprefix("#SBATCH --") for line in script.read_text().splitlines()}
    assert {"time=1440", "gpus-per-node=1", "ntasks-per-node=1", "cpus-per-task=4", "requeue"} <= asked
    assert {"signal=USR2@300", "open-mode=append", "array=0-1%2", "partition=long"} <= asked


def test_within_slurm_a_signal_ends_a_run_without_a_requeue_by_lightning(tmp_path):
    write_images(tmp_path / "images")
    around = {**slurm.install_commands(tmp_path / "slurm"), **slurm.ONE_TASK, "SLURM_JOB_ID": "7", **FOUND}
    done = run_program(*IMAGES, "hydra.run.dir=run", cwd=tmp_path, INTERRUPT_AT="step 13 SIGUSR1", **around)
    assert done.returncode == 138, done.stderr
    assert read_result(tmp_path / "run")["status"] == "stopped"
    assert (tmp_path / "slurm" / "calls").read_text() == ""
    assert not list(tmp_path.rglob("hpc_ckpt*"))


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["slurm", "submitit_local"])
def test_a_job_whose_time_is_up_is_started_again_by_submitit_alone_and_goes_on(launcher, tmp_path):
    write_images(tmp_path / "images")
    cluster = slurm.install_commands(tmp_path / "slurm")
    whole = run_program("-m", "seed=0,1", *IMAGES, "hydra.sweep.dir=basic", cwd=tmp_path, **FOUND)
    assert whole.returncode == 0, whole.stderr
    arguments = ["-m", "seed=0,1", *IMAGES, f"hydra/launcher={launcher}", "hydra.sweep.dir=sweep"]
    done = run_program(*arguments, cwd=tmp_path, INTERRUPT_AT="step 13 SIGUSR2", **FOUND, **cluster)
    assert done.returncode == 0, done.stderr
    assert_equal_sweeps(tmp_path / "basic", tmp_path / "sweep")
    logs = [path.read_text() for path in (tmp_path / "sweep" / ".submitit").rglob("*_log.out")]
    requeued = [line for text in logs for line in text.splitlines() if line.startswith("Requeued job")]
    calls = (tmp_path / "slurm" / "calls").read_text().splitlines()
    assert len(requeued) == len(set(requeued)) == 2
    assert sorted(calls) == (["requeue 7_0", "requeue 7_1"] if launcher == "slurm" else [])


@pytest.mark.slow
@pytest.mark.skipif(not slurm_node.is_installed(), reason="needs apt-get install slurm-wlm munge, and root")
@pytest.mark.parametrize("moment", ["step 13", "end 1"])
def test_on_a_real_slurm_a_job_whose_time_is_up_is_queued_again_and_goes_on(moment, tmp_path):
    write_images(tmp_path / "images")
    whole = run_program("-m", "seed=0,1", *IMAGES, "hydra.sweep.dir=basic", cwd=tmp_path, **FOUND)
    assert whole.returncode == 0, whole.stderr
    arguments = ["-m", "seed=0,1", *IMAGES, "hydra/launcher=slurm", "hydra.launcher.gpus_per_node=null"]
    arguments += ["hydra.launcher.cpus_per_task=1", "hydra.sweep.dir=sweep"]
    with slurm_node.one_node(tmp_path / "node") as cluster:
        done = run_program(*arguments, cwd=tmp_path, timeout=500, INTERRUPT_AT=f"{moment} SIGUSR2", **FOUND, **cluster)
    assert done.returncode == 0, done.stderr
    assert_equal_sweeps(tmp_path / "basic", tmp_path / "sweep")
    logs = [path.read_text() for path in (tmp_path / "sweep" / ".submitit").rglob("*_log.out")]
    assert [text.count("\nRequeued job") for text in logs] == [1, 1]
    assert all(text.count("stopped by SIGUSR2; to go on: ") == 1 for text in logs)
    assert not any("failed" in text for text in logs)


@pytest.mark.slow
@pytest.mark.skipif(not slurm_node.is_installed(), reason="needs apt-get install slurm-wlm munge, and root")
def test_on_a_real_slurm_a_job_is_timed_out_another_queued_again_by_hand_and_a_third_left_alone(tmp_path):
    write_images(tmp_path / "images")
    grid = ["-m", "seed=0,1,2", *CASES["minibatches"], "trainer.max_epochs=60", "logger=csv"]
    whole = run_program(*grid, "hydra.sweep.dir=basic", cwd=tmp_path)
    assert whole.returncode == 0, whole.stderr
    arguments = [*grid, "hydra/launcher=slurm", "hydra.launcher.gpus_per_node=null", "hydra.launcher.cpus_per_task=1"]
    with slurm_node.one_node(tmp_path / "node") as cluster:
        program = Program(*arguments, "hydra.sweep.dir=sweep", cwd=tmp_path, **FOUND, **cluster)
        for number, command in ((0, ["scancel", "--signal=USR2"]), (1, ["scontrol", "requeue"])):
            folder = tmp_path / "sweep" / f"seed={number}" / "checkpoints"
            while not (folder / "last.ckpt").exists():
                assert program.process.is_alive()
                time.sleep(0.05)
            (script,) = (tmp_path / "sweep" / ".submitit").glob("*_0")
            job = f"{script.name.partition('_')[0]}_{number}"
            subprocess.run([*command, job], env={**os.environ, **cluster}, check=True)
        done = program.wait(900)
    assert done.returncode == 0, done.stderr
    assert_equal_sweeps(tmp_path / "basic", tmp_path / "sweep")
    logs = ["".join(path.read_text() for path in tmp_path.glob(f"sweep/.submitit/*_{n}/*_log.out")) for n in range(3)]
    assert "stopped by SIGUSR2" in logs[0] and logs[0].count("\nRequeued job") == 1
    assert "stopped by SIGTERM" in logs[1] and "failed" not in "".join(logs)
    assert "stopped" not in logs[2]
