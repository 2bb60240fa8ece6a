"""What a job of a sweep costs beside its training, and what a plain `python train.py` costs beside its own.

    python benchmarks/sweep.py [--rounds N] [--jobs N]

Whole processes in turn: one run, then a sweep of such runs with Hydra's own launcher. What is left when the seconds of
the runs' own records are taken away is the start of Python and its libraries, the checks, and the ends of the runs.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from benchmarks.rows import read_count

ROOT = Path(__file__).parents[1]
RUN = ["engine=none", "noise.p=0.1", "seeds=1", "dataset.batch_size=30", "trainer.max_epochs=2", "logger=csv"]


def seconds_beside_training(*arguments: str) -> float:
    """Run `python train.py` in an empty folder, and return the seconds beside those that its runs took."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        command = [sys.executable, str(ROOT / "train.py"), *arguments]
        subprocess.run(command, cwd=folder, check=True, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
        seconds = time.perf_counter() - began
        records = [json.loads(path.read_text()) for path in Path(folder).rglob("result.json")]
    return seconds - sum(record["seconds"] for record in records)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print medians with the least and the most."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=read_count, default=3)
    parser.add_argument("--jobs", type=read_count, default=6)
    asked = parser.parse_args(arguments)
    plain, swept = [], []
    for _ in range(asked.rounds):
        plain.append(seconds_beside_training(*RUN))
        swept.append(seconds_beside_training("-m", *RUN, f"seed=range({asked.jobs})") / asked.jobs)
    console = Console(highlight=False)
    console.print(f"seconds beside the training, {asked.rounds} rounds: median (least-most)")
    for name, found in (("a plain run", plain), (f"each of {asked.jobs} jobs of a sweep", swept)):
        console.print(f"{name:<30} {statistics.median(found):.2f} ({min(found):.2f}-{max(found):.2f})")


if __name__ == "__main__":
    main()
