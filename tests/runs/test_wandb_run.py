import sys
from types import SimpleNamespace

import pandas
import pytest
import wandb
from wandb_files import wandb_files

from noisereg.config.composing import compose_settings
from noisereg.config.plan import Plan
from noisereg.config.same_run import identity
from noisereg.runs.run_logger import RunDescription
from noisereg.runs.wandb_run import open_wandb_run

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
    logger, _ = open_wandb_run(RunDescription(Plan(config), folder, **more))
    logger.log({"test/error": 0.5}, step=step, epoch=0)
    return wandb.run.id


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


def test_no_run_loads_launch_nor_fails_to(tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("wandb.sdk.launch")]:
        monkeypatch.delitem(sys.modules, name)
    log(tmp_path)
    assert not [name for name in sys.modules if name.startswith("wandb.sdk.launch")]
    wandb.finish()
    (text,) = (path.read_text() for path in tmp_path.glob("wandb/offline-run-*/logs/debug.log"))
    assert "Problem" not in text and "Traceback" not in text


def test_inputs_that_were_staged_for_a_run_are_looked_for(tmp_path, monkeypatch):
    runs = []
    module = SimpleNamespace(StagedLaunchInputs=lambda: SimpleNamespace(apply=runs.append))
    monkeypatch.setitem(sys.modules, "wandb.sdk.launch.inputs.internal", module)
    log(tmp_path)
    assert runs == [wandb.run]


def test_the_end_of_several_replicas_is_a_table_and_a_summary(tmp_path):
    logger, _ = open_wandb_run(RunDescription(Plan(CONFIG), tmp_path))
    table = pandas.DataFrame({"p": [0.1, 0.1], "seed": [0, 1], "ended_by": ["budget", "budget"]})
    logger.finish({"test/error": 0.5, "ended_by": "budget"}, replicas=table, figures=[], step=20)
    (part,) = wandb_files(tmp_path)
    assert part.table("replicas") == ["p", "seed", "ended_by"]
    assert (part.summary["test/error"], part.summary["ended_by"], part.exit_code) == (0.5, "budget", 0)


def test_nothing_is_said_of_waiting_if_there_is_no_wait(tmp_path):
    said = []
    open_wandb_run(RunDescription(Plan(CONFIG), tmp_path), announce=said.append)
    assert said == []
