"""How long a user waits for the first words of the program, beside the imports that it cannot do without.

    python benchmarks/start.py [--rounds 5] [--json PATH]

Every round starts each program once, one after the other, and each ratio is taken within a round, so that a machine
that slows down slows both sides of it. A first round, which reads the libraries from disk, is dropped.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from rich.console import Console

from benchmarks import rows

TRAIN = Path(__file__).parents[1] / "train.py"


class Start(NamedTuple):
    """A program that is started.

    Args:
        command: what python is given.
        until: the text at whose line the wait is over; empty for the end.
        peer: the name of another one.
        goal: the largest ratio to it.
    """

    command: Sequence[str | Path]
    until: str = ""
    peer: str = ""
    goal: float | None = None


HYDRA, LIBRARIES = "import hydra", "import torch, lightning"
STARTS = {
    HYDRA: Start(["-c", HYDRA]),
    "--help": Start([TRAIN, "--help"], peer=HYDRA, goal=4),
    "refused": Start([TRAIN, "optimizer.lr=-1"], peer=HYDRA, goal=4),
    "-m, wrong key": Start([TRAIN, "-m", "optimiser.lr=0.1,0.2"], peer=HYDRA, goal=4),
    LIBRARIES: Start(["-c", LIBRARIES]),
    "first line": Start([TRAIN, "logger=csv"], until="engine", peer=LIBRARIES, goal=1.2),
    "first progress": Start([TRAIN, "logger=csv"], until="epoch", peer=LIBRARIES, goal=1.5),
}


def wait_for(start: Start) -> float:
    """Return the seconds from the start of a program to the line that is waited for, or to its end."""
    environment = os.environ | {"PYTHONPATH": str(TRAIN.parent), "WANDB_MODE": "disabled", "PYTHONUNBUFFERED": "1"}
    with TemporaryDirectory() as folder:
        began = time.perf_counter()
        with subprocess.Popen(
            [sys.executable, *start.command],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as program:
            for line in program.stdout or ():
                if start.until and line.lstrip().startswith(start.until):
                    program.kill()
                    break
            else:
                program.wait()
                if start.until:
                    raise RuntimeError(f"no line of {start.command} began with {start.until}")
            return time.perf_counter() - began


def measure(starts: dict[str, Start], *, rounds: int) -> list[dict[str, Any]]:
    """Start all programs in turn, and return the seconds of each and its ratios to its peer, a value a round."""
    timed = {
        name: rows.Row(partial(wait_for, start), start.peer, start.goal, is_ceiling=True)
        for name, start in starts.items()
    }
    return rows.results(timed, rows.measure(timed, rounds=rounds))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Time the first words of the program beside imports.")
    parser.add_argument("--rounds", type=rows.read_count, default=5, help="each starts every program once")
    parser.add_argument("--rows", nargs="+", default=list(STARTS), choices=STARTS, metavar="NAME")
    parser.add_argument("--json", type=Path, help="file for all numbers")
    options = parser.parse_args(arguments)
    names = {*options.rows, *(STARTS[name].peer for name in options.rows)}
    found = measure({name: start for name, start in STARTS.items() if name in names}, rounds=options.rounds)
    console = Console(highlight=False)
    console.print(rows.table(found, unit="seconds", shown=float))
    console.print("seconds and ratio: the median over the rounds (least-most); the ratio to the imports above")
    if options.json:
        options.json.write_text(json.dumps({"rows": found}, indent=1))


if __name__ == "__main__":
    main()
