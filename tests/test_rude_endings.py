"""Whole programs that are begun, stopped, or cut off from their terminal at a bad moment."""

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time

import pytest
import torch
from run_program import ROOT, Program, read_result, run_program
from wandb_files import wandb_files
from wandb_server import KEY

import noisereg

TINY = [
    "trainer.max_epochs=2",
    "dataset.train_size=20",
    "dataset.test_size=20",
    "engine=blocked",
    "seeds=1",
    "noise.p=0.2",
    "logger=csv",
    "hydra.run.dir=run",
]

WANDB = [*TINY, "logger=wandb"]


def wait_for(path, process):
    while not path.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


def test_the_second_of_two_jobs_in_one_folder_leaves_the_first_as_it_is(tmp_path):
    first = Program(*TINY, "seed=1", "trainer.max_epochs=30", cwd=tmp_path)
    lock = tmp_path / "run" / ".lock"
    while not (lock.exists() and lock.read_text()):  # it is there a moment before it says whose it is
        assert first.process.is_alive()
        time.sleep(0.01)
    os.kill(first.process.pid, signal.SIGSTOP)  # else it may have finished before the second one is ready
    second = run_program(*TINY, "seed=2", cwd=tmp_path)
    os.kill(first.process.pid, signal.SIGCONT)
    assert second.returncode == 2
    assert second.stderr.startswith("error: hydra.run.dir=run is written by process ")
    assert first.wait().returncode == 0
    assert "seed=1" in (tmp_path / "run" / ".hydra" / "overrides.yaml").read_text()
    (tmp_path / "run" / ".hydra" / "overrides.yaml").write_text("")
    again = run_program("resume=run", cwd=tmp_path)
    assert (again.returncode, read_result(tmp_path / "run")["config"]["seed"]) == (0, 1)
    assert "holds the finished run of this configuration; nothing to do" in again.stdout


def test_a_run_ends_as_it_should_though_nothing_can_be_printed(tmp_path):
    command = shlex.join([sys.executable, str(ROOT / "train.py"), *TINY])
    done = subprocess.run(
        ["bash", "-c", f"{command} > /dev/full"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert read_result(tmp_path / "run")["status"] == "finished"


def test_what_a_user_names_is_printed_as_it_is(tmp_path):
    done = run_program(*TINY[:-1], "hydra.run.dir=[red]a[/old]=:smile:", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(f"all numbers in {tmp_path}/[red]a[/old]=:smile:/result.json\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_the_libraries_are_loaded_ends_the_program_and_leaves_nothing(number, tmp_path):
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), *TINY],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    wait_for(tmp_path / "run" / ".hydra" / "overrides.yaml", process)
    process.send_signal(number)
    printed, _ = process.communicate(timeout=60)
    assert (process.returncode, printed) == (128 + number, "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_there_is_refused_before_a_folder_is_made(tmp_path):
    done = run_program(*TINY, "trainer.accelerator=gpu", "logger=wandb", cwd=tmp_path, WANDB_MODE="offline")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: trainer.accelerator=gpu: torch finds none on this machine; take auto or cpu\n"
    assert list(tmp_path.iterdir()) == []


def test_a_stopped_run_goes_on_by_the_line_that_it_prints_with_its_options_and_its_trust(tmp_path):
    (tmp_path / "my conf" / "model").mkdir(parents=True)
    (tmp_path / "my conf" / "model" / "mine.yaml").write_text("_target_: mine.Net\n")
    options = ["--config-dir", str(tmp_path / "my conf")]
    line = [*options, *TINY[:3], *TINY[4:], "model=mine", "trust=[mine]", "trainer.max_epochs=100000"]
    net = "class Net(torch.nn.Linear):\n    def __init__(self, input_shape, num_outputs, seed):\n"
    net += "        super().__init__(*input_shape, num_outputs)\n"
    (tmp_path / "mine.py").write_text(f"import torch\n\n\n{net}")
    stopped = Program(*line, cwd=tmp_path, PYTHONPATH=str(tmp_path))
    while not (tmp_path / "run" / "checkpoints" / "last.ckpt").exists():
        assert stopped.process.is_alive(), stopped.wait()
        time.sleep(0.01)
    stopped.process.terminate()
    hint = stopped.wait().stdout.splitlines()[-1]
    program, *arguments = shlex.split(hint.partition("to go on: ")[2])
    assert program == "noisereg-train"
    assert arguments == [*options, f"resume={tmp_path / 'run'}", "trust=[mine]"]
    record = tmp_path / "run" / "result.json"
    command = shlex.split(json.loads(record.read_text())["command"])
    assert command[:3] == ["noisereg-train", *options] and command[-3:] == line[-3:]
    again = Program(*arguments, cwd=tmp_path, PYTHONPATH=str(tmp_path))
    while json.loads(record.read_text())["status"] != "running":
        assert again.process.is_alive(), again.wait()
        time.sleep(0.01)
    time.sleep(1)
    again.process.terminate()
    assert "goes on at epoch " in again.wait().stdout


def test_the_version_is_that_of_this_program(tmp_path):
    done = run_program("--version", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"noisereg {noisereg.__version__}\n")


def test_the_help_names_the_program_as_it_is_started_there(tmp_path):
    done = run_program("--help", cwd=tmp_path)
    assert done.returncode == 0 and "python train.py" not in done.stdout
    assert "\n  noisereg-train model=resnet20 noise.p=0.1" in done.stdout


def test_a_run_with_a_key_goes_on_offline_if_the_server_does_not_answer(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:  # takes calls and says nothing
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        done = run_program(*WANDB, cwd=tmp_path, WANDB_BASE_URL=url, WANDB_API_KEY=KEY, WANDB_MODE="")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"W&B     waits for {url}; without a server: WANDB_MODE=offline or logger=csv" in done.stdout
    assert f"W&B     offline as {url} does not answer; look with: wandb leet " in done.stdout
    assert read_result(tmp_path / "run")["status"] == "finished"
    assert wandb_files(tmp_path / "run")[0].exit_code == 0


def test_no_answer_is_an_error_if_online_was_asked_for(tmp_path):
    nowhere = {"WANDB_BASE_URL": "http://127.0.0.1:9", "WANDB_API_KEY": KEY, "WANDB_MODE": "online"}
    done = run_program(*WANDB, cwd=tmp_path, **nowhere)
    line = "error: WANDB_MODE=online: http://127.0.0.1:9 does not answer; without a server: WANDB_MODE=offline"
    assert done.returncode == 2
    assert done.stderr.startswith(line)
    assert done.stderr.count("\n") == 1
