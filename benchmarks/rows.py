"""Rows that are timed in turns, and the table of their times and ratios."""

import json
import logging
import statistics
import subprocess
import sys
import warnings
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch
from rich import box
from rich.table import Column, Table

from noisereg.runs.environment import describe_environment


class Row(NamedTuple):
    """A line of the table.

    Args:
        run: returns the seconds of a step of one replica, or of whatever is timed.
        peer: name of another row.
        goal: the least ratio of the peer's seconds to its own.
        is_ceiling: whether the ratio is of its own to the peer's instead, and the goal the most that it may be.
    """

    run: Callable[[], float]
    peer: str | None = None
    goal: float | None = None
    is_ceiling: bool = False


def measure(rows: dict[str, Row], *, rounds: int) -> dict[str, list[float]]:
    """Time all rows, interleaved, and return the seconds of a step by row, one value a round."""
    seconds: dict[str, list[float]] = {name: [] for name in rows}
    for _ in range(rounds + 1):
        for name, row in rows.items():
            seconds[name].append(row.run())
    return {name: values[1:] for name, values in seconds.items()}


def results(rows: dict[str, Row], seconds: dict[str, list[float]]) -> list[dict[str, Any]]:
    """Return for each row its seconds, its ratios to its peer, round by round, and whether it meets its goal."""
    found = []
    for name, (_, peer, goal, is_ceiling) in rows.items():
        row: dict[str, Any] = {"row": name, "seconds": seconds[name]}
        if peer:
            sides = (seconds[name], seconds[peer]) if is_ceiling else (seconds[peer], seconds[name])
            ratios = [above / below for above, below in zip(*sides, strict=True)]
            row |= {"peer": peer, "ratio": ratios}
        if peer and goal:
            middle = statistics.median(ratios)
            row |= {"goal": goal, "sign": "<=" if is_ceiling else ">="}
            row["met"] = middle <= goal if is_ceiling else middle >= goal
        found.append(row)
    return found


def table(
    found: list[dict[str, Any]],
    *,
    unit: str = "us a step",
    shown: Callable[[float], float] = lambda seconds: 1e6 * seconds,
) -> Table:
    """Lay out what `results` returns, the seconds as they are shown in some unit."""
    cells = []
    for row in found:
        ratio = spread(row["ratio"]) if "ratio" in row else ("", "")
        goal = f"{row['sign']} {row['goal']:g} {'met' if row['met'] else 'missed'}" if "goal" in row else ""
        cells.append([row["row"], *spread([shown(value) for value in row["seconds"]]), *ratio, goal])
    return lay_out(["", unit, "", "ratio", "", "goal"], cells)


def lay_out(headers: Sequence[str], cells: Sequence[Sequence[str]]) -> Table:
    """Lay out a table; a narrow terminal gets long lines, never half a number."""
    columns = [
        Column(header, no_wrap=True, justify="right" if header else "left", min_width=max(map(len, column)))
        for header, column in zip(headers, zip(headers, *cells, strict=True), strict=True)
    ]
    lines = Table(*columns, box=box.SIMPLE, show_edge=False, padding=0)
    for line in cells:
        lines.add_row(*line)
    return lines


def describe_machine() -> dict[str, Any]:
    """Return the environment, with a text that names the processor and the libraries."""
    machine = describe_environment(torch.device("cpu"))
    packages = {"python": machine["python"], **machine["packages"], "numba": version("numba")}
    libraries = ", ".join(f"{name} {packages[name]}" for name in ("python", "torch", "lightning", "numba"))
    return machine | {"packages": packages, "text": f"{machine['device']}, {machine['cpus']} cores\n{libraries}"}


def silence() -> None:
    """Turn off the lines and warnings of Lightning on each training."""
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


def read_count(text: str) -> int:
    """Read a number of the command line that is at least 1."""
    if (number := int(text)) < 1:
        raise ArgumentTypeError(f"it must be at least 1, got {number}")
    return number


def read_share(text: str) -> float:
    """Read a share of the command line, above 0 and at most 1."""
    if not 0 < (number := float(text)) <= 1:
        raise ArgumentTypeError(f"it must be in (0, 1], got {number:g}")
    return number


def run_apart(program: str, arguments: Sequence[str]) -> Any:
    """Run a program in a process of its own, and return the numbers that it writes to the file of --json."""
    with TemporaryDirectory() as folder:  # not through stdout, where any library may write
        path = Path(folder) / "found.json"
        subprocess.run([sys.executable, program, *arguments, "--json", path], check=True)
        return json.loads(path.read_text())


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Limit torch to a number of threads while a block lasts."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def spread(values: Sequence[float]) -> tuple[str, str]:
    """Write the median of some values, and the least and the most of them."""
    median, least, most = (
        f"{value:,.{_digits(value)}f}" for value in (statistics.median(values), min(values), max(values))
    )
    return median, f"({least}-{most})"


def _digits(value: float) -> int:
    return 2 if value < 10 else 1 if value < 100 else 0
