"""What a logger of a run is: what it is told of the run, and what it takes; and one of Lightning, as any other."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import pandas
from lightning.pytorch.loggers import Logger

from noisereg.config.check import Settings
from noisereg.config.plan import Plan
from noisereg.config.sections import model_name, target_name
from noisereg.files.atomic import write_atomically
from noisereg.labels import in_words

_IN_THE_NAME = re.compile(r"(noise\.p=[\d.]+|seed=\d+|,)*")  # of a job


@runtime_checkable
class RunLogger(Protocol):
    """A run of a logger such as W&B or TensorBoard: a thin adapter, which computes nothing.

    Attributes:
        key: of the configuration that asks for it, such as `logger.tensorboard`.
    """

    key: str

    def log(self, values: Mapping[str, float], *, step: int, epoch: int) -> None:
        """Write values of one step by their names."""

    def finish(
        self, summary: Mapping[str, Any], *, replicas: pandas.DataFrame, figures: Sequence[Path], step: int
    ) -> None:
        """Write the values of the end, a row for each replica and pictures, and close a run that has finished."""

    def fail(self, *, stopped: bool) -> None:
        """Close a run that has failed, or that a signal has stopped."""


@dataclass(frozen=True)
class RunDescription:
    """What a logger is told of a run.

    Args:
        plan: of the run.
        folder: of the run.
        arm: of an experiment that the run is; empty if it is none.
        sweep: Hydra's description of the sweep that the run is a job of, with its folder; None if it is no job.
    """

    plan: Plan
    folder: Path
    arm: str = ""
    sweep: Any = None

    @property
    def config(self) -> Settings:
        """The whole configuration."""
        return self.plan.settings

    @property
    def project(self) -> str:
        """The project that the run belongs to."""
        return self.config["logger"]["project"]

    @property
    def group(self) -> str | None:
        """Name of the runs that belong with it: what the configuration says, or the sweep; None for a run by itself."""
        return self.config["logger"]["group"] or (Path(self.sweep.dir).name if self.sweep else None)

    @property
    def tags(self) -> list[str]:
        """Words to find it by."""
        return self.config["logger"]["tags"]

    @property
    def name(self) -> str:
        """Its name on a dashboard; what spans replicas is shown from its first to its last value."""
        parts = [model_name(self.config["model"]), *(target_name(self.config[part]) for part in ("dataset", "noise"))]
        for letter, values in zip("ps", (self.plan.axes[key] for key in ("p", "seed")), strict=True):
            parts.append(letter + "..".join(map(in_words, dict.fromkeys((values[0], values[-1])))))
        more = (self.arm, self.sweep.subdir if self.sweep else "")
        return "-".join([*parts, *(part for part in more if not _IN_THE_NAME.fullmatch(part))])


def numbers_of(summary: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers among the values of the end, each as `final/<name>`.

    A logger that keeps no summary beside the curves has them below that name: a curve is of what still trains, the
    end is of every replica, those that stopped early too.

    Example:
        >>> numbers_of({"test/error": 0.25, "ended_by": "budget"})
        {'final/test/error': 0.25}
    """
    return {f"final/{name}": float(value) for name, value in summary.items() if isinstance(value, int | float)}


def kept_text(path: Path, make: Callable[[], str]) -> str:
    """Return the text of a small file by which a resumed run finds its run of a logger; make it where there is none."""
    if path.exists():
        return path.read_text().strip()
    text = make()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, f"{text}\n".encode())
    return text


class OwnLogger:
    """Log to a logger of Lightning: the configuration, the values of each step, and how the run ended."""

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
