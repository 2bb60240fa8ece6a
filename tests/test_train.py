"""The program as a user runs it: real processes, real Hydra, real W&B files."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from run_program import ROOT, Program, read_result, run_program

TINY = ["trainer.max_epochs=2", "callbacks.sparsity.every_n_epochs=1", "dataset.train_size=20", "dataset.test_size=50"]
TINY += ["engine=none", "seeds=1", "noise.p=0.2"]  # one network; replicas have tests of their own
QUIET = "logger=csv"


def test_a_run_prints_its_numbers_and_leaves_its_files(tmp_path):
    done = run_program(*TINY, "noise.p=0.5", "seed=3", "hydra.run.dir=run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "W&B     offline as there is no key; look with: wandb leet" in done.stdout
    assert "a label changes with probability 0.25" in done.stdout
    assert "test error" in done.stdout
    assert "engine  single: one network" in done.stdout

    folder = tmp_path / "run"
    result = read_result(folder)
    assert result["status"] == "finished"
    assert result["steps"] == 40
    assert result["config"]["noise"]["p"] == 0.5
    assert {"python", "packages", "device", "threads", "commit"} <= result["environment"].keys()
    (replica,) = result["replicas"]
    assert (replica["p"], replica["seed"]) == (0.5, 3)
    assert replica["noise/effective_rate"] == 0.25
    assert replica["best/test/error"] <= replica["test/error"]

    rows = list(csv.DictReader((folder / "metrics.csv").read_text().splitlines()))
    assert [(row["step"], row["epoch"], row["p"], row["seed"]) for row in rows] == [
        ("0", "0", "0.5", "3"),
        ("20", "1", "0.5", "3"),
        ("40", "2", "0.5", "3"),
    ]
    names = {"train/loss", "test/error", "train/error", "train/active_neurons", "test/active_fraction"}
    names |= {
        "train/dead_fraction",
        "train/associated_neurons",
        "norm/hidden",
        "bias_mean/hidden",
        "noise/measured_rate",
    }
    assert names <= rows[-1].keys()
    for name in names:
        assert float(rows[-1][name]) == replica[name]
    assert (folder / "checkpoints" / "last.ckpt").exists()

    (run,) = (folder / "wandb").glob("offline-run-*")
    inspect = [str(Path(sys.executable).parent / "wandb"), "leet", "inspect", str(run)]
    summary = json.loads(subprocess.run([*inspect, "--summary", "--json"], capture_output=True, check=True).stdout)
    assert summary["config"]["noise"]["p"] == 0.5
    assert summary["summary"]["test/error"] == pytest.approx(replica["test/error"], rel=1e-6)


def test_the_same_command_gives_the_same_numbers_and_another_seed_gives_others(tmp_path):
    for name, seed in [("a", 0), ("b", 0), ("c", 1)]:
        assert run_program(*TINY, QUIET, f"seed={seed}", f"hydra.run.dir={name}", cwd=tmp_path).returncode == 0
    curves = {name: (tmp_path / name / "metrics.csv").read_text() for name in "abc"}
    assert curves["a"] == curves["b"]
    assert read_result(tmp_path / "a")["replicas"] == read_result(tmp_path / "b")["replicas"]
    assert (
        read_result(tmp_path / "a")["replicas"][0]["test/loss"]
        != read_result(tmp_path / "c")["replicas"][0]["test/loss"]
    )


def test_a_finished_run_is_left_alone_and_another_configuration_refused(tmp_path):
    assert run_program(*TINY, QUIET, "hydra.run.dir=run", cwd=tmp_path).returncode == 0
    before = (tmp_path / "run" / "result.json").read_bytes()
    again = run_program(*TINY, QUIET, "hydra.run.dir=run", cwd=tmp_path)
    assert again.returncode == 0
    assert "holds the finished run of this configuration; nothing to do" in again.stdout
    other = run_program(*TINY, QUIET, "hydra.run.dir=run", "noise.p=0.3", cwd=tmp_path)
    assert other.returncode == 2
    assert "holds a run of another configuration (noise.p was 0.2 and is 0.3)" in other.stderr
    assert (tmp_path / "run" / "result.json").read_bytes() == before


ARMS = [
    "+experiment.id=A",
    "+experiment.title=two",
    "+experiment.arms={low: ['noise.p=0.1'], high: ['noise.p=0.3']}",
    "+experiment.figure=[{title: error, x: epoch, metrics: {test/error: test}}]",
]


@pytest.mark.parametrize(("experiment", "figure"), [([], "curves"), (ARMS, "experiment")])
def test_a_run_that_is_killed_while_it_draws_has_its_results_and_is_drawn_later(tmp_path, experiment, figure):
    arguments, folder = [*TINY, QUIET, *experiment, "hydra.run.dir=run"], tmp_path / "run"
    program, record = Program(*arguments, cwd=tmp_path), folder / "result.json"
    while not (record.exists() and "drawn" in read_result(folder)):
        assert program.process.is_alive()
        time.sleep(0.001)
    program.process.kill()
    assert program.wait().returncode == -9
    killed = read_result(folder)
    assert (killed["status"], killed["drawn"]) == ("finished", False)
    again = run_program(*arguments, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert (folder / "figures" / f"{figure}.png").exists()
    ended = read_result(folder)
    assert "drawn" not in ended
    assert [ended[key] for key in ("status", "steps", "replicas")] == [
        killed[key] for key in ("status", "steps", "replicas")
    ]
    assert "nothing to do" in run_program(*arguments, cwd=tmp_path).stdout


def test_a_run_that_is_told_to_end_says_so_in_its_exit_code(tmp_path):
    command = [
        sys.executable,
        str(ROOT / "train.py"),
        *TINY[1:],
        QUIET,
        "trainer.max_epochs=100000",
        "hydra.run.dir=run",
    ]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    for _ in range(600):
        if last.exists() or process.poll() is not None:
            break
        time.sleep(0.1)
    process.terminate()
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 143
    assert printed.splitlines()[-1] == f"stopped by SIGTERM; to go on: noisereg-train resume={tmp_path / 'run'}"
    assert read_result(tmp_path / "run")["status"] == "stopped"
    assert read_result(tmp_path / "run")["reason"] == "SIGTERM"


def test_a_multirun_makes_a_run_for_each_value(tmp_path):
    done = run_program("-m", *TINY, "noise.p=0,0.1,0.2", QUIET, "hydra.sweep.dir=sweep", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    results = [read_result(tmp_path / "sweep" / f"noise.p={p}") for p in ("0", "0.1", "0.2")]
    assert [result["replicas"][0]["p"] for result in results] == [0, 0.1, 0.2]
    assert {result["status"] for result in results} == {"finished"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["noise.p=1.5"], "error: noise.p must be a number in [0, 1], or a list of different ones, got 1.5"),
        (["model=resnet21"], "did you mean resnet20?"),
        (["dataset=mnist", "dataset.root=/proc/nowhere"], "/proc/nowhere"),
        (["+noise.pp=0.1"], "error: noise.pp=0.1: Resample has no such argument; did you mean p?"),
        (["dataset.train_size=10", "dataset.val_size=10"], "dataset.val_size"),
        (["model=resnet20", "dataset=hypercube"], "error: "),
        (["noise=asymmetric"], "error: noise.moves must stay within classes 0 to 1, got 9 -> 1"),
        (["callbacks.sparsity.layers=[rel]"], "rel"),
        (["engine=blocked", "optimizer=adam"], "error: engine=blocked cannot run: optimizer Adam is not plain SGD"),
        (["trainer.accelerator=gpu"], "error: trainer.accelerator=gpu: torch finds none on this machine"),
    ],
)
def test_bad_input_ends_in_one_line_and_exit_code_2(arguments, message, tmp_path):
    done = run_program(*TINY, QUIET, *arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(lines) == 1
    assert message in lines[0]
    assert "Traceback" not in done.stderr


def test_help_says_what_can_be_chosen_in_a_screenful(tmp_path):
    done = run_program("--help", cwd=tmp_path)
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) <= 45
    for name in ("resnet20", "hypercube", "smoothing", "cross_entropy", "noise.p", "engine", "resume=", "trust="):
        assert name in done.stdout


def test_a_user_adds_a_rule_in_one_file_and_one_yaml(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from dataclasses import dataclass\n"
        "import torch\n"
        "from noisereg.noise import Rule\n"
        "@dataclass(frozen=True, kw_only=True)\n"
        "class ToZero(Rule):\n"
        "    def redraw_law(self, num_classes):\n"
        "        return torch.eye(num_classes, dtype=torch.float64)[:1].expand(num_classes, num_classes)\n"
    )
    (tmp_path / "conf" / "noise").mkdir(parents=True)
    (tmp_path / "conf" / "noise" / "to_zero.yaml").write_text("_target_: mine.ToZero\np: 0.4\n")
    arguments = [
        "--config-dir",
        "conf",
        *TINY,
        "noise=to_zero",
        "noise.p=0.4",
        "trust=[mine]",
        "hydra.run.dir=run",
        QUIET,
    ]
    done = run_program(*arguments, cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert read_result(tmp_path / "run")["replicas"][0]["noise/effective_rate"] == 0.2


def test_a_signal_gives_its_exit_code_also_where_a_library_makes_an_error_of_the_exit(tmp_path):
    script = """
import os, signal, sys
from noisereg import __main__ as program

def train():
    try:
        os.kill(os.getpid(), signal.SIGUSR1)
    except SystemExit:
        sys.exit(1)

program.train = train
sys.argv[1:] = ["trainer.max_epochs=1"]
program.main()
"""
    around = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=around, check=False)
    assert done.returncode == 128 + signal.SIGUSR1
