"""What it costs to lose nothing: the same training with all that guards it, and without.

    python benchmarks/safety.py [--rounds N] [--threads N] [--images N] [--epochs N] [--root PATH] [--json PATH]

The trainings are those that a run puts together. What guards one is the look at each loss, the checkpoints, which are
written whole and forced to the disk, the signals, the lock of the folder, the probe of the disk, and the record. The
other training is the same with nothing of that. Every round times both, in turns one or the other first, and each share
is taken within a round, so that a machine that slows down slows both. A first round warms up and is dropped.
"""

import argparse
import json
import statistics
import tempfile
import time
import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning.pytorch.profilers import SimpleProfiler
from rich.console import Console
from rich.table import Table

from benchmarks.rows import describe_machine, lay_out, read_count, silence
from noisereg.callbacks import FiniteLoss, RunCheckpoint
from noisereg.config.composing import compose_settings
from noisereg.files.disk import check_space
from noisereg.runs.ending import exclusive_folder
from noisereg.runs.record import RunRecord
from noisereg.training.prepare import prepare

MOST = 0.02  # of the training
LEGEND = """\
seconds: of a training with the guards; each number is one a round
clock, cpu: what the guards add to it, by the clock and by the time of the
  processor in all threads; a disk that is waited for counts in the first only
inside: seconds within the guards, of the training with them; it does not feel
  what else the machine does
whole: the same of a whole training, an epoch of 50,000 images or a run of 1,000
  epochs, in which what is done once weighs less; the goal is for this"""
_LENGTHS = {"ResNet-20": 50_000, "40 replicas": 1_000}  # images of an epoch, and epochs of figure 1


class Cost(NamedTuple):
    """Seconds of a training: by the clock, of the processor, of the fit, of guards in the fit, and once beside it."""

    wall: float
    cpu: float
    fit: float
    hooks: float = 0.0
    once: float = 0.0

    def inside(self, times: float = 1.0) -> float:
        """Return the share of the guards of a training that is so many times as long."""
        guards = times * self.hooks + self.once
        return guards / (times * self.fit + self.once)


def works(*, images: int, epochs: int, root: str | None) -> dict[str, dict[str, Any]]:
    """Return the configurations of the trainings by name: an epoch of ResNet-20, and a run of 40 replicas."""
    image, replica = "ResNet-20", "40 replicas"
    short = ["model=resnet20", f"dataset.train_size={images}", "dataset.test_size=128", "trainer.max_epochs=1"]
    found = {
        image: _settings(*short, "callbacks.sparsity.every_n_epochs=5"),
        replica: _settings(f"trainer.max_epochs={epochs}"),
    }
    found[image]["dataset"] |= {"root": root} if root else {"_target_": "benchmarks.pipeline.RandomImages"}
    return found


def measure(settings: dict[str, Any], *, rounds: int) -> list[dict[str, Cost]]:
    """Train with and without the guards, and return the costs of both, by round."""
    runs = {"without": partial(train, settings, guarded=False), "with": partial(train, settings, guarded=True)}
    found = []
    for number in range(rounds + 1):
        names = list(runs) if number % 2 else list(runs)[::-1]
        found.append({name: runs[name]() for name in names})
    return found[1:]


def train(settings: dict[str, Any], *, guarded: bool) -> Cost:
    """Train once in a folder of its own, with or without what guards a run."""
    with tempfile.TemporaryDirectory(dir=".") as name:
        folder = Path(name).resolve() / "run"
        training = prepare(settings, folder=folder, console=Console(quiet=True))
        training.trainer.profiler = profiler = SimpleProfiler()
        if not guarded:
            training.trainer.callbacks = [part for part in training.trainer.callbacks if not _guards(part)]
        began = time.perf_counter(), time.process_time()
        fit = _train_guarded(training, settings, folder) if guarded else _fit(training)
        wall, cpu = time.perf_counter() - began[0], time.process_time() - began[1]
    hooks = sum(sum(seconds) for name, seconds in profiler.recorded_durations.items() if _is_guard(name))
    return Cost(wall, cpu, fit, hooks, wall - fit)


def shares(rounds: Sequence[dict[str, Cost]], *, times: float) -> dict[str, list[float]]:
    """Return what the guards add, as shares of the training, one value a round.

    Args:
        rounds: as `measure` gives them.
        times: how many times as long the whole training is.
    """
    return {
        "clock": [costs["with"].wall / costs["without"].wall - 1 for costs in rounds],
        "cpu": [costs["with"].cpu / costs["without"].cpu - 1 for costs in rounds],
        "inside": [costs["with"].inside() for costs in rounds],
        "whole": [costs["with"].inside(times) for costs in rounds],
    }


def table(found: dict[str, list[dict[str, Cost]]], *, times: dict[str, float]) -> Table:
    """Lay out the shares of each training in rows, with whether those of the whole training are small enough."""
    cells = []
    for name, rounds in found.items():
        seconds = _spread([costs["with"].wall for costs in rounds])
        cells.append([name, "seconds", *(f"{value:.2f}" for value in seconds), ""])
        for kind, values in shares(rounds, times=times[name]).items():
            goal = (
                f"<= {MOST:.0%} {'met' if statistics.median(values) <= MOST else 'missed'}" if kind == "whole" else ""
            )
            cells.append(["", kind, *(f"{value:.2%}" for value in _spread(values)), goal])
    return lay_out(("", "", "median", "least", "most", "goal"), cells)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    options = _options(arguments)
    torch.set_num_threads(options.threads)
    with warnings.catch_warnings():
        silence()
        wanted = works(images=options.images, epochs=options.epochs, root=options.root)
        found = {
            name: measure({**work, "threads": options.threads}, rounds=options.rounds) for name, work in wanted.items()
        }
    console, machine = Console(highlight=False), describe_machine()
    console.print(f"{machine['text']}, {options.threads} threads, {options.rounds} rounds")
    console.print(f"{options.images:,} images, {options.epochs} epochs of the engine\n")
    lengths = {"ResNet-20": options.images, "40 replicas": options.epochs}
    console.print(table(found, times={name: whole / lengths[name] for name, whole in _LENGTHS.items()}))
    console.print(LEGEND)
    if options.json:
        rows = {
            name: [{kind: cost._asdict() for kind, cost in costs.items()} for costs in rounds]
            for name, rounds in found.items()
        }
        options.json.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1))


def _train_guarded(training: Any, settings: dict[str, Any], folder: Path) -> float:
    """Train as a run does, and return the seconds of the training alone."""
    with exclusive_folder(folder):
        record = RunRecord(folder, settings)
        check_space(folder, 1)
        record.write("running")
        seconds = _fit(training)
        training.trainer.save_checkpoint(folder / "checkpoints" / "last.ckpt")
        record.write("finished")
    return seconds


def _fit(training: Any) -> float:
    began = time.perf_counter()
    training.trainer.fit(training.module, training.fit_data)
    return time.perf_counter() - began


def _spread(values: Sequence[float]) -> tuple[float, float, float]:
    return statistics.median(values), min(values), max(values)


def _guards(callback: object) -> bool:
    return isinstance(callback, FiniteLoss | RunCheckpoint)


def _is_guard(action: str) -> bool:
    return action.startswith((f"[Callback]{FiniteLoss.__name__}", f"[Callback]{RunCheckpoint.__name__}"))


def _settings(*overrides: str) -> dict[str, Any]:
    return compose_settings("logger=csv", *overrides)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Time trainings with all that guards them, and without.")
    parser.add_argument(
        "--rounds", type=read_count, default=15, help="each trains everything once with and once without"
    )
    parser.add_argument("--threads", type=read_count, default=torch.get_num_threads(), help="of torch")
    parser.add_argument("--images", type=read_count, default=2_000, help="of an epoch of ResNet-20")
    parser.add_argument("--epochs", type=read_count, default=200, help="of the engine's run")
    parser.add_argument("--root", help="folder that holds CIFAR-10; random images without it")
    parser.add_argument("--json", type=Path, help="file for all numbers")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
