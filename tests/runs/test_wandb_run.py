import pytest
import wandb
from wandb_files import wandb_files

from noisereg.runs.wandb_run import wandb_logger

CONFIG = {"logger": {"project": "noisereg", "group": None, "tags": ["a"]}, "noise": {"p": 0.1}}


@pytest.fixture(autouse=True)
def _finished():
    yield
    wandb.finish()


def log(folder, *, step=0, config=CONFIG, **more):
    """Log one row, and leave the run open."""
    logger, _ = wandb_logger(folder, name="a run", config=config, **more)
    logger.log_metrics({"test/error": 0.5}, step=step)
    return logger.experiment.id


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
        (tmp_path / folder).mkdir()
        log(tmp_path / folder, config=config, group="sweep", identity="3f9a")
    wandb.finish()
    runs = {folder: wandb_files(tmp_path / folder)[0] for folder in ("by_sweep", "by_name")}
    assert {folder: part.run["run_group"] for folder, part in runs.items()} == {"by_sweep": "sweep", "by_name": "mine"}
    assert runs["by_name"].config == {**named, "identity": "3f9a"}
