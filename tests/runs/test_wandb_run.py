import numpy as np
import pytest
import wandb
from wandb_files import wandb_files

from noisereg.config.composing import compose_settings
from noisereg.config.plan import Plan
from noisereg.config.run_folder import identity
from noisereg.engine.measurement import Measurement
from noisereg.runs.curves import Curves
from noisereg.runs.wandb_run import WandbBands, open_wandb_run, run_name

CONFIG = compose_settings("noise.p=0.1", "seeds=1", "logger.tags=[a]")


class Sweep:
    """What Hydra says of a sweep."""

    dir, subdir = "multirun/sweep", "noise.p=0.1"


@pytest.fixture(autouse=True)
def _finished():
    yield
    wandb.finish()


def log(folder, *, step=0, config=CONFIG, **more):
    """Log one row, and leave the run open."""
    run, _ = open_wandb_run(Plan(config), folder, **more)
    WandbBands(run, [{"p": 0.1, "seed": 0}]).observe(Measurement(step, 0, [0], {"test/error": np.array([0.5])}))
    return run.id


def test_two_runs_of_one_process_stay_two_although_the_first_was_not_finished(tmp_path):
    folders = [tmp_path / name for name in ("first", "second")]
    ids = []
    for step, folder in enumerate(folders):
        folder.mkdir()
        ids.append(log(folder, step=step))
    wandb.finish()
    parts = [wandb_files(folder) for folder in folders]
    assert [part.id for (part,) in parts] == ids
    assert [[row["trainer/global_step"] for row in part.history] for (part,) in parts] == [[0], [1]]


def test_a_folder_keeps_its_run_and_numbers_its_rows_on(tmp_path):
    ids = {log(tmp_path, step=step) for step in (0, 10)}
    wandb.finish()
    first, second = (part.history[0] for part in wandb_files(tmp_path))
    assert len(ids) == 1
    assert (first["trainer/global_step"], second["trainer/global_step"]) == (0, 10)
    assert first["_step"] < second["_step"]


def test_the_id_that_an_agent_gives_is_for_one_run(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_RUN_ID", "agents-own")
    folders = [tmp_path / name for name in ("first", "second")]
    for folder in folders:
        folder.mkdir()
    first, second = (log(folder) for folder in folders)
    assert first == "agents-own" != second
    wandb.finish()
    assert log(folders[0]) == first


def test_the_group_is_that_of_the_configuration_if_it_names_one(tmp_path):
    named = {**CONFIG, "logger": {**CONFIG["logger"], "group": "mine"}}
    for folder, config in {"by_sweep": CONFIG, "by_name": named}.items():
        log(tmp_path / folder, config=config, sweep=Sweep)
    wandb.finish()
    runs = {folder: wandb_files(tmp_path / folder)[0] for folder in ("by_sweep", "by_name")}
    assert {folder: part.run["run_group"] for folder, part in runs.items()} == {"by_sweep": "sweep", "by_name": "mine"}
    assert runs["by_name"].config == {**named, "identity": identity(named)}


class Run:
    """Takes what W&B is given."""

    def __init__(self):
        self.rows, self.summary = [], {}

    def log(self, row):
        self.rows.append(row)


def logged(replicas, values, *, measured=None, **how):
    run, numbers = Run(), range(len(replicas)) if measured is None else measured
    measurement = Measurement(20, 2, list(numbers), {"test/error": np.array(values)})
    WandbBands(run, replicas, **how).observe(measurement)
    (row,) = run.rows
    assert (row.pop("trainer/global_step"), row.pop("epoch")) == (20, 2)
    return row


def grid(strengths, seeds, **more):
    return [{"p": p, "seed": seed, **more} for p in strengths for seed in seeds]


def test_each_p_has_its_mean_and_the_ends_of_its_t_interval():
    row = logged(grid([0.0, 0.5], [0, 1]), [0.1, 0.3, 0.25, 0.25])
    half = 12.7062047 * 0.1  # t of one degree of freedom, times the standard error
    assert row == pytest.approx(
        {
            "test/error/p=0": 0.2,
            "test/error/p=0/low": 0.2 - half,
            "test/error/p=0/high": 0.2 + half,
            "test/error/p=0.5": 0.25,
            "test/error/p=0.5/low": 0.25,
            "test/error/p=0.5/high": 0.25,
        },
        rel=1e-6,
    )


def test_the_only_p_has_the_name_that_one_network_has_too():
    row = logged(grid([0.5], [0, 1], lr=0.1), [0.25, 0.75])
    assert row["test/error"] == row["test/error/p=0.5/lr=0.1"] == 0.5
    assert len(row) == 4


def test_one_replica_logs_as_one_network_does():
    assert logged(grid([0.5], [3]), [0.25]) == {"test/error": 0.25}


def test_replicas_that_have_stopped_are_left_out_of_the_mean():
    assert logged(grid([0.0, 0.5], [0, 1]), [0.5], measured=[0]) == {"test/error/p=0": 0.5}


def test_replicas_one_after_the_other_are_logged_by_name_and_their_means_at_the_end():
    replicas = grid([0.5], [0, 1])
    assert logged(replicas, [0.25], measured=[1], at_once=False) == {"test/error/p=0.5/seed=1": 0.25}
    run, curves = Run(), Curves(None, replicas)
    for number, errors in enumerate(([0.5, 0.25], [1.0, 0.75])):
        for step, error in enumerate(errors):
            curves.observe(Measurement(step, step, [number], {"test/error": np.array([error])}))
    WandbBands(run, replicas, at_once=False).finish(curves, [{**replica, "a": 1.0} for replica in replicas], [])
    means = [(row["trainer/global_step"], row["test/error"]) for row in run.rows[:2]]
    assert means == [(0, 0.75), (1, 0.5)]


def test_the_summary_has_the_mean_over_all_replicas_at_their_ends():
    run = Run()
    first, second = grid([0.5], [0, 1])
    ends = [{**first, "test/error": 0.25, "ended_by": "budget"}, {**second, "test/error": 0.75, "fitted_epoch": 7}]
    WandbBands(run, [first, second]).finish(Curves(None, [first, second]), ends, [])
    assert run.summary["test/error"] == 0.5
    assert run.summary["fitted_epoch"] == 7
    assert run.rows[0]["replicas"].columns == ["p", "seed", "test/error", "ended_by", "fitted_epoch"]


@pytest.mark.parametrize(
    ("overrides", "more", "name"),
    [
        (["noise.p=0.1", "seeds=1", "seed=3"], [], "TwoLayer-Hypercube-Resample-p0.1-s3"),
        ([], [], "TwoLayer-Hypercube-Resample-p0..0.2-s0..19"),
        ([], ["smoothing", ""], "TwoLayer-Hypercube-Resample-p0..0.2-s0..19-smoothing"),
        (["noise.p=0.1", "seeds=1"], ["", "noise.p=0.1,seed=0"], "TwoLayer-Hypercube-Resample-p0.1-s0"),
        (["noise.p=0.1", "seeds=1"], ["", "model.hidden=60"], "TwoLayer-Hypercube-Resample-p0.1-s0-model.hidden=60"),
    ],
)
def test_a_run_is_named_by_what_it_trains_and_what_sets_it_apart(overrides, more, name):
    assert run_name(Plan(compose_settings(*overrides)), *more) == name


def test_the_summary_says_of_how_many_replicas_the_means_are_where_some_diverged():
    run, names = Run(), [{"p": p, "seed": seed} for p in (0, 0.2) for seed in range(2)]
    ends = [{**name, "ended_by": "budget", "test/error": 0.5} for name in names[:3]]
    ends.append({**names[3], "ended_by": "non-finite weights"})
    WandbBands(run, names).finish(Curves(None, names), ends, [])
    counts = {name: value for name, value in run.summary.items() if name.startswith(("diverged", "replicas"))}
    assert counts == {"diverged/p=0": 0, "replicas/p=0": 2, "diverged/p=0.2": 1, "replicas/p=0.2": 2}
    assert run.summary["test/error/p=0.2"] == 0.5


def test_nothing_is_said_of_waiting_if_there_is_no_wait(tmp_path):
    said = []
    open_wandb_run(Plan(CONFIG), tmp_path, announce=said.append)
    assert said == []
