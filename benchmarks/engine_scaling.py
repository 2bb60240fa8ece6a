"""How the time and the memory of a training grow with the number of replicas and with the width of the network.

    python benchmarks/engine_scaling.py [--points N] [--epochs N] [--json PATH]

Each point is a training of figure 1's task in a process of its own, one thread, measured at the start and at the end
on 240 training and 10,000 test samples. The time is that of all from on_train_start to on_train_end, the making of the
data of all seeds but the first included. Memory is the most that the process ever held, libraries included.
"""

import argparse
import json
import resource
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from benchmarks.rows import describe_machine, lay_out, read_count, run_apart, silence, threads
from benchmarks.training import Fit, hypercube, replicate, train
from noisereg.engine import Fused
from noisereg.losses import Logistic

MOST_MEGABYTES = 1_000  # for the largest number of replicas, beyond what the libraries take
MOST_GROWTH = 1.1  # of the time of a step of one replica, from 20 replicas of 20 seeds on


class Point(NamedTuple):
    """A training of figure 1's task."""

    replicas: int
    seeds: int
    hidden: int = 240


POINTS = [
    *(Point(replicas, min(replicas, 20)) for replicas in (1, 10, 20, 100, 500, 2_000)),
    Point(2_000, 2_000),
    *(Point(20, 20, hidden) for hidden in (60, 1_024, 4_096)),
]


def run_point(point: Point, *, epochs: int) -> dict[str, float]:
    """Train in this process.

    Returns:
        Seconds of a step of one replica, and megabytes before the training and at most.
    """
    engine = Fused(Logistic())
    fit = Fit(epochs, epochs, 10_000)
    with warnings.catch_warnings(), threads(1):
        silence()
        train(replicate(hypercube(), 1, fit=Fit(1, 1, 1), num_seeds=1, hidden=point.hidden), engine)  # compiles
        before = _peak_megabytes()
        parts = replicate(hypercube(), point.replicas, fit=fit, num_seeds=point.seeds, hidden=point.hidden)
        seconds = train(parts, engine)
    return {"seconds": seconds, "megabytes_before": before, "megabytes": _peak_megabytes()}


def measure(points: Sequence[Point], *, epochs: int) -> list[dict[str, float]]:
    """Train each point in a process of its own, one after the other."""
    found = []
    for point in points:
        alone = ["--epochs", str(epochs), "--point", *map(str, point)]
        found.append({**point._asdict(), **run_apart(__file__, alone)})
    return found


def table(found: list[dict[str, float]]) -> Table:
    """Show time and memory of each point, and whether the goals are met."""
    headers = ("replicas", "seeds", "hidden", "us", "to 20", "goal", "before", "MB", "goal")
    cells = []
    twenty = next((row["seconds"] for row in found if row["replicas"] == 20 and row["hidden"] == 240), None)
    largest = max(row["replicas"] for row in found)
    for row in found:
        growth = row["seconds"] / twenty if twenty and row["hidden"] == 240 and row["replicas"] >= 20 else None
        line = [
            *(f"{row[key]:,}" for key in Point._fields),
            f"{1e6 * row['seconds']:.2f}",
            "" if growth is None else f"{growth:.2f}",
            "" if growth is None or row["replicas"] == 20 else _verdict(growth, MOST_GROWTH),
            f"{row['megabytes_before']:,.0f}",
            f"{row['megabytes']:,.0f}",
            _verdict(row["megabytes"] - row["megabytes_before"], MOST_MEGABYTES) if row["replicas"] == largest else "",
        ]
        cells.append(line)
    return lay_out(headers, cells)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print, or measure one point and write its numbers to a file."""
    options = _options(arguments)
    if options.point:
        options.json.write_text(json.dumps(run_point(Point(*options.point), epochs=options.epochs)))
        return
    machine, found = describe_machine(), measure(POINTS[: options.points], epochs=options.epochs)
    console = Console(highlight=False)
    console.print(machine["text"])
    console.print(f"{options.epochs} epochs of 240 steps, one thread; us: of a step of one replica;")
    console.print("to 20: beside that of 20 replicas; before: MB of the libraries; goal: MB beyond")
    console.print(table(found))
    if options.json:
        options.json.write_text(json.dumps({"machine": machine, "epochs": options.epochs, "points": found}, indent=1))


def _peak_megabytes() -> float:
    """Return the most that this process has held.

    On Linux the count of a child begins with its parent's peak: here the libraries, which the child loads as well.
    """
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def _verdict(value: float, most: float) -> str:
    return f"<= {most:g} {'met' if value <= most else 'missed'}"


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Time and memory of a training against its number of replicas.")
    parser.add_argument("--epochs", type=read_count, default=50, help="of each training")
    parser.add_argument("--points", type=read_count, default=len(POINTS), help="take the first N points alone")
    parser.add_argument("--point", type=int, nargs=3, metavar=Point._fields, help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path, help="file for all numbers")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
