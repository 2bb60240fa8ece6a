"""What a logger of a run is: what it is told of the run, and what it takes."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import pandas

from noisereg.config.check import Settings
from noisereg.config.plan import Plan
from noisereg.config.sections import model_name, target_name
from noisereg.files.atomic import write_atomically

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


class RunDescription(NamedTuple):
    """What a logger is told of a run.

    Attributes:
        name: shown on a dashboard.
        project: that the run belongs to.
        group: of runs that belong together, such as the jobs of a sweep; None for a run by itself.
        tags: words to find it by.
        config: the whole configuration.
        folder: of the run.
    """

    name: str
    project: str
    group: str | None
    tags: list[str]
    config: Settings
    folder: Path


def describe_run(plan: Plan, folder: Path, *, arm: str = "", sweep: Any = None) -> RunDescription:
    """Return what the loggers of a run are told of it.

    Args:
        plan: of the run; the section "logger" of its configuration has the project, the group and the tags.
        folder: of the run.
        arm: of an experiment that the run is; empty if it is none.
        sweep: Hydra's description of the sweep that the run is a job of, with its folder, which names the group where
            the configuration names none; None if it is no job.
    """
    asked = plan.settings["logger"]
    return RunDescription(
        name=run_name(plan, arm, sweep.subdir if sweep else ""),
        project=asked["project"],
        group=asked["group"] or (Path(sweep.dir).name if sweep else None),
        tags=asked["tags"],
        config=plan.settings,
        folder=folder,
    )


def run_name(plan: Plan, *more: str) -> str:
    """Name a run on a dashboard; what spans replicas is shown from its first to its last value.

    Args:
        plan: of the run.
        more: what else sets it apart, such as an arm; what the name has already is left out.
    """
    parts = [model_name(plan.settings["model"]), *(target_name(plan.settings[part]) for part in ("dataset", "noise"))]
    for letter, values in zip("ps", (plan.axes[key] for key in ("p", "seed")), strict=True):
        parts.append(f"{letter}{values[0]:g}" + (f"..{values[-1]:g}" if len(values) > 1 else ""))
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
    """Return the text of a small file, by which a resumed run finds its run of a logger; make both where there is none.

    Args:
        path: of the file.
        make: returns the text of a new one.
    """
    if path.exists():
        return path.read_text().strip()
    text = make()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, f"{text}\n".encode())
    return text
