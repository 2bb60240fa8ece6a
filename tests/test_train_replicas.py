"""Many small networks in one run, as a user trains them: real processes, real Hydra, real W&B files."""

import csv
import json
import statistics
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
from run_program import read_result, run_program

TINY = ["trainer.max_epochs=4", "callbacks.sparsity.every_n_epochs=2", "dataset.train_size=20", "dataset.test_size=50"]
QUIET = "logger=csv"
GRID = ["noise.p=[0,0.5]", "seeds=2"]


def _rows(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "metrics.csv").read_text().splitlines()))


def test_a_grid_of_replicas_leaves_a_row_for_each_with_figures_and_bands(tmp_path):
    done = run_program(*TINY, *GRID, "seed=3", "optimizer.lr=[0.1,0.01]", "hydra.run.dir=run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "engine  fused: 8 replicas at once (2 seeds for each p)" in done.stdout
    assert "a label changes with probability 0, 0.25" in done.stdout
    assert "steps/s" in done.stdout and "left" in done.stdout

    result = read_result(tmp_path / "run")
    assert (result["status"], result["steps"]) == ("finished", 80)
    grid = [(replica["lr"], replica["p"], replica["seed"]) for replica in result["replicas"]]
    assert sorted(grid) == sorted(product([0.1, 0.01], [0, 0.5], [3, 4]))
    for replica in result["replicas"]:
        assert replica["noise/effective_rate"] == replica["p"] / 2
        assert replica["best/test/error"] <= replica["test/error"]
        assert (replica["epochs"], replica["ended_by"]) == (4, "budget")

    rows = _rows(tmp_path / "run")
    assert list(rows[0])[:5] == ["step", "epoch", "p", "seed", "lr"]
    assert [(row["step"], row["epoch"]) for row in rows[::8]] == [("0", "0"), ("40", "2"), ("80", "4")]
    names = {"test/error", "train/error", "test/loss", "train/clean_loss", "train/active_neurons"}
    names |= {
        "test/dead_fraction",
        "train/associated_neurons",
        "norm/hidden",
        "bias_mean/hidden",
        "noise/measured_rate",
    }
    assert names <= rows[-1].keys()
    last = {(float(row["lr"]), float(row["p"]), int(row["seed"])): row for row in rows[-8:]}
    for replica, name in product(result["replicas"], names):
        assert float(last[replica["lr"], replica["p"], replica["seed"]][name]) == replica[name]

    for figure in ("curves", "against_p"):
        assert (tmp_path / "run" / "figures" / f"{figure}.png").read_bytes().startswith(b"\x89PNG")
        assert (tmp_path / "run" / "figures" / f"{figure}.svg").read_text().startswith("<svg")
        assert "mean of two seeds" in (tmp_path / "run" / "figures" / f"{figure}.html").read_text()
    _check_wandb(tmp_path / "run", result["replicas"])


def _check_wandb(folder: Path, replicas: list[dict]) -> None:
    """The mean of each p and learning rate, its band, the table and the figures are in the W&B files."""
    (run,) = (folder / "wandb").glob("offline-run-*")
    inspect = [str(Path(sys.executable).parent / "wandb"), "leet", "inspect", str(run)]
    text = subprocess.run([*inspect, "--summary", "--json"], capture_output=True, check=True).stdout
    summary = json.loads(text)["summary"]
    errors = [replica["test/error"] for replica in replicas if (replica["lr"], replica["p"]) == (0.1, 0.5)]
    mean = sum(errors) / len(errors)
    assert summary["test/error/p=0.5/lr=0.1"] == pytest.approx(mean, rel=1e-5)
    half = 12.7062 * abs(errors[0] - errors[1]) / 2  # t of one degree of freedom
    low = summary["test/error/p=0.5/lr=0.1/low"]
    assert low == pytest.approx(mean - half, rel=1e-4, abs=1e-6)
    assert {"replicas", "figures/curves", "figures/against_p"} <= summary.keys()


def test_replicas_stop_when_they_have_fitted_their_data_for_long_enough(tmp_path):
    stop = ["noise.p=[0,1]", "seeds=1", "stopping.extra_epochs=4", "trainer.max_epochs=40", "dataset.train_size=60"]
    done = run_program(*TINY, *stop, QUIET, "optimizer.lr=0.05", "hydra.run.dir=run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    clean, noisy = read_result(tmp_path / "run")["replicas"]
    assert clean["ended_by"] == "zero train error" and clean["epochs"] == clean["fitted_epoch"] + 4 < 40
    assert noisy["epochs"] == 40 or noisy["ended_by"] == "zero train error"
    epochs = [int(row["epoch"]) for row in _rows(tmp_path / "run") if float(row["p"]) == 0]
    assert epochs[-1] == clean["epochs"]


def test_a_replica_that_diverges_is_named_and_the_others_go_on(tmp_path):
    done = run_program(*TINY, *GRID, QUIET, "optimizer.lr=[0.01,1e30]", "hydra.run.dir=run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "infinite or nan weights by step" in done.stdout + done.stderr
    assert "lr=1e+30 p=0.5 seed=1" in done.stdout + done.stderr
    ends = {(row["lr"], row["ended_by"]) for row in read_result(tmp_path / "run")["replicas"]}
    assert ends == {(0.01, "budget"), (1e30, "non-finite weights")}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["noise.p=[0.1,0.1]"], "error: noise.p must be a number in [0, 1], or a list of different ones"),
        (["model=mlp", "engine=blocked"], "error: engine=blocked cannot run: model MLP is not TwoLayer or Neuron"),
        (["engine=fused", "dataset.batch_size=129"], "error: engine=fused cannot run: dataset.batch_size=129"),
        (["dataset.test_size=0"], "dataset.test_size"),
    ],
)
def test_bad_input_ends_in_one_line_and_exit_code_2(arguments, message, tmp_path):
    done = run_program(*TINY, QUIET, *arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert message in line
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("engine", ["stacked", "single"])
def test_a_run_that_logs_nothing_still_draws_its_curves(engine, tmp_path):
    done = run_program(*TINY, *GRID, "logger=none", f"engine={engine}", "hydra.run.dir=run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "run" / "metrics.csv").exists()
    assert len(read_result(tmp_path / "run")["replicas"]) == 4
    assert list((tmp_path / "run" / "figures").glob("curves.*"))


def test_a_finished_run_whose_files_are_damaged_is_mended_from_its_checkpoints_or_says_that_it_cannot_be(tmp_path):
    line = [*TINY, "noise.p=[0,0.5]", "seeds=1", QUIET, "engine=single", "hydra.run.dir=run"]
    assert run_program(*line, cwd=tmp_path).returncode == 0
    folder = tmp_path / "run"
    names = ["metrics.csv", "fires.npz", "replicas/p=0.5,seed=0/metrics.csv"]
    whole, replicas = [(folder / name).read_bytes() for name in names], read_result(folder)["replicas"]
    for name, data in zip(names, whole, strict=True):
        (folder / name).write_bytes(data[: len(data) // 2])
    done = run_program(*line, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"{folder} holds the finished run of this configuration, but metrics.csv, fires.npz is not" in done.stdout
    assert f"{folder / 'replicas/p=0.5,seed=0'}: metrics.csv is made anew, as it is damaged" in done.stdout
    assert done.stdout.count("is made anew, as it is damaged") == 1  # of the other replica nothing was
    assert [(folder / name).read_bytes() for name in names] == whole
    assert read_result(folder)["replicas"] == replicas
    (folder / "metrics.csv").write_bytes(b"")
    for path in folder.rglob("*.ckpt"):
        path.unlink()
    refused = run_program(*line, cwd=tmp_path)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert refused.stderr.startswith(f"error: {folder} holds the finished run of this configuration, but metrics.csv")
    assert refused.stderr.endswith(f"no checkpoint to mend it from; delete {folder}/result.json to train again\n")
    assert read_result(folder)["replicas"] == replicas


@pytest.mark.slow
def test_the_squared_gradient_of_figure_1_is_that_of_an_independent_program(tmp_path):
    """That program has 3,420 +- 40 at p = 0 after 100 epochs, and 232 +- 2 at p = .2 after 600: standard errors."""
    given = ["noise.p=[0,0.2]", "seeds=10", "trainer.max_epochs=600", QUIET, "hydra.run.dir=run"]
    done = run_program(*given, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = _rows(tmp_path / "run")
    for p, epoch, expected, error in ((0.0, 100, 3420, 40), (0.2, 600, 232, 2)):
        found = [
            float(row["train/gradient_norm_squared"])
            for row in rows
            if (float(row["p"]), int(row["epoch"])) == (p, epoch)
        ]
        assert len(found) == 10
        own_error = statistics.stdev(found) / 10**0.5
        assert abs(statistics.mean(found) - expected) < 3 * (error**2 + own_error**2) ** 0.5
