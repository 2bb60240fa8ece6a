"""What a training step of ResNet-20 costs beside the plain loop of its reference, and what monitoring adds to it.

    python benchmarks/resnet.py [--root PATH] [--threads N ...] [--rounds N] [--steps N] [--compile] [--json PATH]

Each number of threads has a process of its own. There every round times all rows, one after the other, and each ratio
is taken within a round, so that a machine that slows down slows both sides of it. A first round warms up and is
dropped. The plain loop is what a published script does: float32, torchvision's transforms of PIL images one by one, a
DataLoader, SGD, and the loss and the accuracy of each batch brought back as numbers. The network is the same.
"""

import argparse
import json
import statistics
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from rich.console import Console
from rich.table import Table

from benchmarks.image_training import WARM_UP, PlainLoop, Training, evaluate
from benchmarks.pipeline import RandomImages
from benchmarks.rows import (
    Row,
    describe_machine,
    lay_out,
    measure,
    read_count,
    results,
    run_apart,
    silence,
    spread,
    table,
)
from noisereg.datasets import Cifar10
from noisereg.training.precision import AUTO, FLOAT32, choose_precision

PLAIN, OURS, COMPILED, PLAINER = "plain loop", "ours", "ours, compiled", "ours, float32"
EVALUATION, COUNTED = "evaluation", "evaluation, counted"
GOALS = {OURS: 2.2, COMPILED: 2.5}
FLOAT32_GOALS = {OURS: 1.2}  # where the recipe's precision is float32, as on a CPU that emulates bfloat16
MOST_MONITORING = 0.03  # of the time of training
LEGEND = """\
images/s, seconds: median over the rounds (least-most); ratio: to the plain loop
ours: Trainer.fit with label noise, the recipe's channels_last and its precision
  by what this CPU can do, crops and flips of whole batches, and fused SGD;
  compiled: with compile=True, without its first steps; float32: 32-true,
  contiguous, not compiled
evaluation: of 10,000 test and 10,000 training images; counted: SparsityMonitor
  counts the firings of all ReLUs by class
share: of the epochs from one evaluation to the next, what monitoring takes: all
  beyond an evaluation of the test images without counting"""
_EVALUATED, _EPOCH = 10_000, 50_000  # images of each evaluated split, and of an epoch of training
_RECIPE = Path(__file__).parents[1] / "conf" / "recipe" / "cifar.yaml"


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure in this process, on as many threads as `options.alone` says."""
    torch.set_num_threads(options.alone)
    torch.set_num_interop_threads(options.alone)
    data = _data(options)
    precision = choose_precision({"accelerator": "cpu", "precision": AUTO})
    recipe = partial(Training, data, steps=options.steps, precision=precision.name, channels_last=True)
    ours = {OURS: recipe(), **({COMPILED: recipe(compile=True)} if options.compile else {})}
    ours[PLAINER] = Training(data, steps=options.steps, precision=FLOAT32)
    goals = FLOAT32_GOALS if precision.name == FLOAT32 else GOALS
    rows = {PLAIN: Row(PlainLoop(data, steps=options.steps, workers=options.workers))}
    rows |= {name: Row(training, PLAIN, goals.get(name)) for name, training in ours.items()}
    rows |= {name: Row(partial(evaluate, ours[OURS], counted=name == COUNTED)) for name in (EVALUATION, COUNTED)}
    told = {name: row._replace(run=partial(_tell, name, row.run, threads=options.alone)) for name, row in rows.items()}
    with warnings.catch_warnings():
        silence()
        found = results(rows, measure(told, rounds=options.rounds))
    warm_up = {name: training.warm_up for name, training in ours.items()}
    return {
        "threads": options.alone,
        "source": data.source,
        "precision": f"{precision.name}: {precision.reason}",
        "rows": found,
        "warm_up": warm_up,
    }


def monitoring(found: list[dict[str, Any]], *, every_n_epochs: int) -> list[dict[str, Any]]:
    """Return the seconds of evaluations and epochs, and beside an epoch the share of monitoring, one value a round.

    Args:
        found: the rows that `run` gives.
        every_n_epochs: the interval of the evaluations.
    """
    seconds = {row["row"]: row["seconds"] for row in found}
    lines: list[dict[str, Any]] = [
        {"row": name, "seconds": [2 * _EVALUATED * value for value in seconds[name]]} for name in (EVALUATION, COUNTED)
    ]
    tests, both = ([_EVALUATED * value for value in seconds[EVALUATION]], lines[1]["seconds"])
    for name in (name for name in (OURS, COMPILED) if name in seconds):
        epochs = [_EPOCH * value for value in seconds[name]]
        shares = [(b - t) / (every_n_epochs * e) for b, t, e in zip(both, tests, epochs, strict=True)]
        lines.append({"row": f"epoch, {name}", "seconds": epochs, "share": shares})
    return lines


def speed_table(found: list[dict[str, Any]]) -> Table:
    """Show the images a second of each training, in less than 80 characters."""
    trained = [row for row in found if row["row"] not in (EVALUATION, COUNTED)]
    return table(trained, unit="images/s", shown=lambda seconds: 1 / seconds)


def monitoring_table(found: list[dict[str, Any]]) -> Table:
    """Show what `monitoring` gives."""
    cells = []
    for row in found:
        share = ["", "", ""]
        if shares := row.get("share"):
            verdict = "met" if statistics.median(shares) <= MOST_MONITORING else "missed"
            share = [*spread([100 * share for share in shares]), f"<= {100 * MOST_MONITORING:g} {verdict}"]
        cells.append([row["row"], *spread(row["seconds"]), *share])
    return lay_out(["", "seconds", "", "share, %", "", "goal"], cells)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print, or measure on one number of threads and write the numbers to a file."""
    options = _options(arguments)
    if options.alone:
        options.json.write_text(json.dumps(run(options)))
        return
    given = sys.argv[1:] if arguments is None else list(arguments)
    found = [run_apart(__file__, [*given, "--alone", str(threads)]) for threads in options.threads]
    machine, every = describe_machine(), OmegaConf.load(_RECIPE).callbacks.sparsity.every_n_epochs
    console = Console(highlight=False)
    console.print(machine["text"])
    console.print(
        f"{found[0]['source']}, batch size {options.batch_size}, {options.rounds} rounds of {options.steps} steps and "
        f"{2 * options.samples:,} evaluated images; loader workers of the plain loop: {options.workers}"
    )
    for part in found:
        part["monitoring"] = monitoring(part["rows"], every_n_epochs=every)
        console.print(f"\nCPU threads: {part['threads']}; precision {part['precision']}\n{_warm_up(part['warm_up'])}")
        console.print(speed_table(part["rows"]))
        console.print(f"\nscaled to {2 * _EVALUATED:,} evaluated images, every {every} epochs of {_EPOCH:,}")
        console.print(monitoring_table(part["monitoring"]))
    console.print(f"\n{LEGEND}")
    if options.json:
        options.json.write_text(json.dumps({"machine": machine, "every_n_epochs": every, "threads": found}, indent=1))


def _tell(name: str, measured: Callable[[], float], *, threads: int) -> float:
    seconds = measured()
    print(f"threads: {threads}, {name}: {1 / seconds:,.0f} images/s", file=sys.stderr, flush=True)
    return seconds


def _warm_up(seconds: dict[str, float]) -> str:
    return "first steps: " + ", ".join(f"{name} {value:.0f} s" for name, value in seconds.items())


def _data(options: argparse.Namespace) -> Cifar10:
    make = partial(Cifar10, options.root) if options.root else RandomImages
    data = make(batch_size=options.batch_size, test_size=options.samples, train_eval_size=options.samples)
    data.prepare_data()
    data.setup()
    return data


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Time a training step of ResNet-20 beside one of a plain loop.")
    parser.add_argument("--root", help="folder that holds CIFAR-10; random images without it")
    parser.add_argument(
        "--threads", type=read_count, nargs="+", default=[1, 2], help="of the CPU, one process for each"
    )
    parser.add_argument("--rounds", type=read_count, default=5, help="each times every row once")
    parser.add_argument(
        "--steps", type=read_count, default=10, help="of a training in a round, an even number for whole data"
    )
    parser.add_argument("--compile", action="store_true", help="measure compile=True as well: minutes more")
    parser.add_argument("--workers", type=int, default=0, help="processes of the plain loop's DataLoader")
    parser.add_argument(
        "--samples", type=int, default=_EVALUATED, help="images of each split to evaluate; fewer overstate it"
    )
    parser.add_argument("--batch-size", type=read_count, default=128)
    parser.add_argument("--json", type=Path, help="file for all numbers")
    parser.add_argument("--alone", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.workers < 0 or not 1 <= options.samples <= _EVALUATED:
        parser.error(f"--workers must be at least 0, and --samples in [1, {_EVALUATED}]")
    if (most := _EPOCH // options.batch_size - WARM_UP) < options.steps:
        parser.error(f"--steps must be at most {most}, what an epoch leaves after {WARM_UP}, got {options.steps}")
    return options


if __name__ == "__main__":
    main()
