"""The runs of strangers in groups: what is wrong with one run keeps none of the others from being shown."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import track

from noisereg.report.groups.run_group import RunGroup, group_runs
from noisereg.runs.reading import Run, find_runs

Outcome = TypeVar("Outcome")


def find_groups(paths: Iterable[Path | str], console: Console) -> tuple[list[RunGroup], list[Run]]:
    """Return the runs in or below some folders, or of result.json files, as `read_groups` does, with a bar meanwhile.

    Raises:
        ValueError: if a path does not exist, or there is no run.
    """
    hidden = not console.is_terminal
    runs = find_runs(
        paths, watch=partial(track, description="reading", console=console, transient=True, disable=hidden)
    )
    with console.status(f"grouping {len(runs):,} runs"):
        return read_groups(runs)


def read_groups(runs: Iterable[Run]) -> tuple[list[RunGroup], list[Run]]:
    """Return finished runs in groups whose numbers can be computed, and all other runs, with the reason.

    Example:
        >>> from pathlib import Path
        >>> rows = [{"p": 0.2, "seed": 0, "test/error": "low"}]
        >>> groups, others = read_groups([Run(Path("run"), "finished", record={"replicas": rows})])
        >>> [run.reason for run in others]
        ["result.json has a replica with test/error = 'low', which is no number"]
    """
    checked = {run.folder: _checked(run, _group_alone) for run in runs}
    groups = []
    for group in group_runs(checked.values()):
        if _can_be_shown(group):
            groups.append(group)
            continue
        own = {run.folder: _checked(run, lambda run: _compute(RunGroup("", "", [run]))) for run in group.runs}
        checked |= own
        rest = RunGroup(group.title, group.name, [run for run in own.values() if run.status == "finished"])
        groups += [rest] if rest.runs and _can_be_shown(rest) else []
    shown = {run.folder for group in groups for run in group.runs}
    others = [run for run in checked.values() if run.folder not in shown]
    unlike: Any = {"status": "unreadable", "reason": "its results do not fit those of the other runs of its settings"}
    return groups, [replace(run, **unlike) if run.status == "finished" else run for run in others]


def find_finished(paths: Sequence[Path], console: Console) -> tuple[list[RunGroup], list[str]]:
    """Return the finished runs below some folders in groups, and a line for each run that is left out.

    Raises:
        ValueError: if there is no finished run, or no such folder.
    """
    groups, others = find_groups(paths, console)
    if not groups:
        raise ValueError(f"no finished run in {', '.join(map(str, paths))}")
    return groups, [f"left out, {run.status}: {run.folder} {run.reason}" for run in others]


def compute_or_explain(compute: Callable[[], Outcome]) -> tuple[Outcome | None, str]:
    """Return what is computed of strangers' runs and an empty text, or None and what went wrong, in a line.

    Example:
        >>> compute_or_explain(lambda: {"p": 0.2}["p"]), compute_or_explain(lambda: {}["config"])
        ((0.2, ''), (None, "KeyError: 'config'"))
    """
    try:
        return compute(), ""
    except Exception as error:  # a record may be wrong in any way, and the other runs are to be shown
        words = " ".join(str(error).split())
        return None, words if isinstance(error, ValueError) else f"{type(error).__name__}: {words}"


def _checked(run: Run, compute: Callable[[Run], object]) -> Run:
    """Return a run; a finished one of which something cannot be computed is unreadable, for that reason."""
    _, fault = compute_or_explain(partial(compute, run)) if run.status == "finished" else (None, "")
    return replace(run, status="unreadable", reason=fault) if fault else run


def _group_alone(run: Run) -> None:
    """Compute what is needed to put a run to others."""
    _ = group_runs([run]), run.rows


def _can_be_shown(group: RunGroup) -> bool:
    return not compute_or_explain(partial(_compute, group))[1]


def _compute(group: RunGroup) -> None:
    """Compute what the tables of a report show."""
    _ = group.means, group.judgements, group.missing, group.notes
