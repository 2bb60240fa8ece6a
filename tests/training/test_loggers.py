import pytest
from lightning.pytorch.loggers import CSVLogger

from noisereg.config.composing import compose_settings
from noisereg.config.plan import Plan
from noisereg.errors import ConfigError
from noisereg.runs.run_logger import RunDescription
from noisereg.runs.wandb_run import WandbRun
from noisereg.training import loggers
from noisereg.training.loggers import open_loggers

ADDRESS = "https://me:hidden@host/track"


def described(folder, *overrides):
    return RunDescription(Plan(compose_settings("noise.p=0.1", "seeds=1", *overrides)), folder)


def test_no_logger_is_opened_where_none_is_asked_for(tmp_path):
    assert open_loggers(described(tmp_path, "logger=csv")) == []
    assert list(tmp_path.iterdir()) == []


def test_the_error_of_a_logger_is_one_line_without_a_secret(tmp_path, monkeypatch):
    def fail(described):
        raise ConnectionError(f"no answer\nfrom {ADDRESS}")

    monkeypatch.setitem(loggers._OPENERS, "mlflow", fail)
    with pytest.raises(ConfigError, match=r"^logger=mlflow: ConnectionError: no answer from ") as refusal:
        open_loggers(described(tmp_path, "logger=mlflow"))
    assert "hidden" not in str(refusal.value)


def test_the_line_of_a_logger_holds_no_secret(tmp_path, monkeypatch):
    opened = WandbRun(None), f"MLflow  7 in {ADDRESS}"
    monkeypatch.setitem(loggers._OPENERS, "mlflow", lambda described: opened)
    said = []
    open_loggers(described(tmp_path, "logger=mlflow"), announce=said.append)
    assert said == ["MLflow  7 in ***host/track"]


def test_a_logger_of_the_users_own_that_takes_no_configuration_is_refused_in_one_line(tmp_path, monkeypatch):
    def refuse(self, *_, **__):
        raise OSError("no\nroom")

    monkeypatch.setattr(CSVLogger, "log_hyperparams", refuse)
    own = f"+logger.own.mine={{_target_: lightning.pytorch.loggers.CSVLogger, save_dir: {tmp_path}}}"
    with pytest.raises(ConfigError, match=r"^logger.own.mine: OSError: no room; leave it out$"):
        open_loggers(described(tmp_path, "logger=csv", own))
