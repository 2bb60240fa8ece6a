"""A Lightning logger that has no experiment, no version and no hyperparameters of its own."""

from collections.abc import Mapping
from typing import Any

from lightning.pytorch.loggers import Logger


class NamelessLogger(Logger):
    """The members that Lightning asks of every logger, for loggers of one run's values.

    The configuration is in result.json, so hyperparameters are not logged; nor are single numbers, unless a subclass
    defines `log_metrics`.

    Example:
        >>> logger = NamelessLogger()
        >>> logger.log_metrics({"test/error": 0.5}, step=240)
        >>> logger.name, logger.version
        ('', '')
    """

    @property
    def name(self) -> str:
        """Lightning's name for it."""
        return ""

    @property
    def version(self) -> str:
        """Lightning's version of it."""
        return ""

    def log_hyperparams(self, *arguments: Any, **keywords: Any) -> None:
        """Do nothing."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Do nothing."""
