"""The loggers that a configuration asks for, opened before the training begins."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from lightning.pytorch.loggers import Logger

from noisereg.errors import ConfigError
from noisereg.runs.mlflow_run import open_mlflow_run
from noisereg.runs.run_logger import OwnLogger, RunDescription, RunLogger
from noisereg.runs.tensorboard_run import open_tensorboard_run
from noisereg.runs.trackio_run import open_trackio_run
from noisereg.secrets import hide_secrets
from noisereg.training.build import build

_Opener = Callable[[RunDescription], tuple[RunLogger, str]]
_OPENERS: dict[str, _Opener] = {
    "tensorboard": open_tensorboard_run,
    "trackio": open_trackio_run,
    "mlflow": open_mlflow_run,
}


def open_loggers(described: RunDescription, *, announce: Callable[[str], None] = print) -> list[RunLogger]:
    """Open the loggers of a run, or go on with those of the run that is resumed.

    Args:
        described: the run.
        announce: prints a line; called with what is being waited for, if that takes long, and where to look.

    Raises:
        ConfigError: naming the logger that cannot be opened, without what is secret in the text of its error.
    """
    asked = described.config["logger"]
    loggers: list[RunLogger] = []
    openers: dict[str, _Opener] = {"wandb": partial(_open_wandb, announce=announce), **_OPENERS}
    for name in (name for name in openers if asked.get(name)):
        with _fault_in_one_line(f"logger={name}", mend="or take logger=csv"):
            logger, line = openers[name](described)
        loggers.append(logger)
        announce(hide_secrets(line))
    for name, section in asked.get("own", {}).items():
        key = f"logger.own.{name}"
        own: Any = build(key, section)
        if not isinstance(own, Logger):
            raise ConfigError(f"{key}: {type(own).__name__} must be derived from {Logger.__module__}.{Logger.__name__}")
        with _fault_in_one_line(key, mend="leave it out"):  # the first that is asked of it is to log the configuration
            loggers.append(OwnLogger(own, described.config, key=key))
        announce(f"logger  {name}: {type(own).__name__}")
    return loggers


def _open_wandb(described: RunDescription, *, announce: Callable[[str], None]) -> tuple[RunLogger, str]:
    from noisereg.runs.wandb_run import open_wandb_run  # noqa: PLC0415 - loads W&B

    return open_wandb_run(described, announce=announce)


@contextmanager
def _fault_in_one_line(key: str, *, mend: str) -> Iterator[None]:
    """Raise what a logger raises as a line that names its key."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(hide_secrets(str(error))) from None
    except Exception as error:
        text = hide_secrets(" ".join(str(error).split()))
        raise ConfigError(f"{key}: {type(error).__name__}: {text}; {mend}") from error
