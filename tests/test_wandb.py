"""What W&B has of a sweep, of a run of many networks and of an interrupted run, read from the files of these runs."""

import csv
import os
import re
import subprocess
from itertools import product
from pathlib import Path
from statistics import mean

import pytest
from interruptions import INTERRUPTION
from run_program import read_result, run_program
from wandb_files import WANDB, wandb_files
from wandb_server import wandb_server

from noisereg.dashboard import SECTIONS, WorkspacePanel, WorkspaceSection

TINY = ["trainer.max_epochs=4", "callbacks.sparsity.every_n_epochs=2", "dataset.train_size=20", "dataset.test_size=50"]
ONE = [*TINY, "dataset=hypercube", "model=mlp", "model.hidden=[8,6]", "noise.p=0.2", "seeds=1"]
T_OF_ONE_DEGREE = 12.7062047
NO_METRICS = {"p", "seed", "epochs", "fitted_epoch", "ended_by"}


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """Three runs, of which the last one diverges, by learning rate."""
    cwd = tmp_path_factory.mktemp("sweep")
    rates = ["optimizer.lr=0.01,0.02,1e30", "hydra.sweep.dir=multirun/rates", "hydra.sweep.subdir=${optimizer.lr}"]
    done = run_program("-m", *ONE, *rates, "logger.tags=[first,look]", cwd=cwd)
    assert done.returncode == 1, done.stderr
    return {float(path.parent.name): path.parent for path in (cwd / "multirun" / "rates").glob("*/wandb")}


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """A run of two networks for each p, which end at times of their own."""
    cwd = tmp_path_factory.mktemp("many")
    stops = ["stopping.extra_epochs=0", "optimizer.lr=0.05"]
    done = run_program(*TINY, *stops, "noise.p=[0,0.5]", "seeds=2", "hydra.run.dir=run", cwd=cwd)
    assert done.returncode == 0, done.stderr
    return cwd / "run"


def test_each_run_of_a_sweep_is_a_run_of_its_own(sweep):
    parts = [wandb_files(folder) for folder in sweep.values()]
    assert [len(part) for part in parts] == [1, 1, 1]
    assert len({part.id for (part,) in parts}) == 3
    for folder, (part,) in zip(sweep.values(), parts, strict=True):
        assert part.run["run_id"] == part.id
        assert (part.run["run_group"], part.run["job_type"], part.run["tags"]) == ("rates", "train", ["first", "look"])
        assert part.run["display_name"].startswith("MLP-Hypercube-Resample-p0.2-s0")
        assert part.run["display_name"].endswith(f"-s0-{folder.name}")
        result = read_result(folder)
        assert part.config == {**result["config"], "identity": result["identity"]}


def test_a_run_that_fails_is_shown_as_failed_and_the_others_are_not(sweep):
    codes = {rate: wandb_files(folder)[0].exit_code for rate, folder in sweep.items()}
    assert codes == {0.01: 0, 0.02: 0, 1e30: 1}


def test_what_one_network_logs_is_what_its_result_says(sweep):
    (part,), (replica,) = wandb_files(sweep[0.01]), read_result(sweep[0.01])["replicas"]
    rows = _rows(sweep[0.01])
    metrics = [key for key in rows[-1] if key not in ("step", "epoch", "p", "seed")]
    assert len(metrics) > 20
    for metric in metrics:
        assert part.summary[metric] == pytest.approx(replica[metric], rel=1e-6)
        logged = [(row["trainer/global_step"], row[metric]) for row in part.history if metric in row]
        assert logged == [
            (int(row["step"]), pytest.approx(float(row[metric]), rel=1e-6)) for row in rows if row[metric]
        ]
    assert {"best/test/error", "test/ece", "test/nll"} <= replica.keys()
    numbers = {key: value for key, value in replica.items() if not isinstance(value, str)}
    assert {key: part.summary[key] for key in numbers} == pytest.approx(numbers, rel=1e-6, nan_ok=True)
    assert part.summary["ended_by"] == replica["ended_by"] == "budget"


def test_what_many_networks_log_is_what_their_result_says(many):
    (part,), replicas = wandb_files(many), read_result(many)["replicas"]
    metrics = [key for key in replicas[0] if key not in NO_METRICS]
    assert {"test/error", "best/test/error", "train/active_neurons", "norm/hidden"} <= set(metrics)
    for p, metric in product((0, 0.5), metrics):
        first, second = (replica[metric] for replica in replicas if replica["p"] == p)
        half, name = T_OF_ONE_DEGREE * abs(first - second) / 2, f"{metric}/p={p:g}"
        middle = mean([first, second])
        assert part.summary[name] == pytest.approx(middle, rel=1e-6)
        assert part.summary[f"{name}/low"] == pytest.approx(middle - half, rel=1e-5, abs=1e-9)
        assert part.summary[f"{name}/high"] == pytest.approx(middle + half, rel=1e-5, abs=1e-9)
    assert set(replicas[0]) <= set(part.table("replicas"))


def test_an_interrupted_run_goes_on_with_its_own_run_and_a_sync_makes_one_of_its_parts(tmp_path):
    path, codes = str(Path(__file__).parent), []
    for moment in ("epoch 2 SIGKILL", "epoch 3 SIGTERM", "never 0 SIGTERM"):
        run = [*ONE, *INTERRUPTION, "trainer.max_epochs=8", "hydra.run.dir=run"]
        done = run_program(*run, cwd=tmp_path, PYTHONPATH=path, INTERRUPT_AT=moment)
        codes.append(done.returncode)
    assert codes == [-9, 143, 0], done.stderr

    killed, stopped, finished = wandb_files(tmp_path / "run")
    assert killed.id == stopped.id == finished.id
    assert (stopped.exit_code, finished.exit_code) == (143, 0)
    numbers = [row["_step"] for part in (stopped, finished) for row in part.history]
    assert numbers == sorted(set(numbers))
    with wandb_server() as server:
        command = [WANDB, "sync", str(finished.folder), str(stopped.folder)]
        environment = {**os.environ, **server.environment}
        done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    ((run, synced),) = server.history.items()
    assert run == killed.id
    assert [row["_step"] for row in synced] == numbers
    steps = {row["trainer/global_step"] for row in synced}
    assert steps <= {int(row["step"]) for row in _rows(tmp_path / "run")}
    assert max(steps) == 160


def test_a_key_that_wandb_refuses_ends_in_one_line(tmp_path):
    done = run_program(*ONE, "hydra.run.dir=run", cwd=tmp_path, WANDB_API_KEY="short")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: logger=wandb: WANDB_API_KEY invalid")
    assert line.endswith("; without a server: WANDB_MODE=offline or logger=csv")
    assert not (tmp_path / "run" / "result.json").exists()


def test_every_metric_of_the_dashboard_is_logged(sweep, many):
    assert list(_unknown(SECTIONS, sweep[0.01], many)) == []


def test_a_metric_that_is_not_logged_is_found(sweep, many):
    wrong = [
        WorkspacePanel("lines", ("test/accuracy",), "trainer/global_step", "No metric"),
        WorkspacePanel("lines", ("scale/<layer>",), "trainer/global_step", "No layer"),
        WorkspacePanel("points", ("test/error",), "config.noise.q", "No key"),
        WorkspacePanel("networks", ("test/accuracy",), "p", "No column"),
        WorkspacePanel("pictures", ("figures/curves", "figures/loss"), title="No picture"),
    ]
    found = _unknown([WorkspaceSection("Wrong", tuple(wrong))], sweep[0.01], many)
    assert list(found) == ["test/accuracy", "scale/<layer>", "config.noise.q", "test/accuracy", "figures/loss"]


def _unknown(sections, one, many):
    """Name what panels draw that was not logged: not by one network, or not by many where the panel is of these."""
    (alone,), (stacked,) = wandb_files(one), wandb_files(many)
    columns = stacked.table("replicas")
    for panel in (panel for section in sections for panel in section.panels):
        part = stacked if panel.kind in ("replicas", "table", "pictures") else alone
        for name in filter(None, [*panel.y, panel.x]):
            if name.startswith("config."):
                known = _has(part.config, name.split(".")[1:])
            elif panel.kind == "networks":
                known = name in columns
            elif panel.pattern and name in panel.y:
                known = any(re.search(panel.pattern, logged) for logged in part.names)
            else:
                known = name in part.names
            if not known:
                yield name


def _has(config, path):
    for key in path:
        if key not in config:
            return False
        config = config[key]
    return True


def _rows(folder):
    return list(csv.DictReader((folder / "metrics.csv").read_text().splitlines()))
