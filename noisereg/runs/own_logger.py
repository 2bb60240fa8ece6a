"""A Lightning logger of the user's own: it is given what the other loggers are given."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas
from lightning.pytorch.loggers import Logger

from noisereg.runs.run_logger import numbers_of


class OwnLogger:
    """Log to a logger of Lightning: the configuration, the values of each step, and how the run ended.

    Args:
        logger: of any class that derives from Lightning's.
        config: of the run.
        key: of the configuration that asks for it.
    """

    def __init__(self, logger: Logger, config: Mapping[str, Any], *, key: str) -> None:
        self.key, self._logger = key, logger
        logger.log_hyperparams(dict(config))

    def log(self, values: Mapping[str, float], *, step: int, epoch: int) -> None:
        """Log the values of a step."""
        self._logger.log_metrics({"epoch": epoch, **values}, step=int(step))
        self._logger.save()

    def finish(
        self, summary: Mapping[str, Any], *, replicas: pandas.DataFrame, figures: Sequence[Path], step: int
    ) -> None:
        """Log the numbers of the end; Lightning's loggers have no common way to take a table or a picture."""
        self._logger.log_metrics(numbers_of(summary), step=int(step))
        self._logger.finalize("success")

    def fail(self, *, stopped: bool) -> None:
        """Close the logger."""
        self._logger.finalize("aborted" if stopped else "failed")
