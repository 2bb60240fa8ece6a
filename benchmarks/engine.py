"""What a step of SGD costs in the engines, beside the same step in a plain Lightning loop.

    python benchmarks/engine.py [--rounds N] [--rows NAME ...] [--share X] [--root PATH] [--json PATH]

The rows of JAX, `vmap` over `lax.scan` with momentum, need `pip install jax`. What a CPU without AVX-512 gives is seen
with NUMBA_CPU_NAME=haswell and NUMBA_CPU_FEATURES=+avx2,+fma before the command.

Every round times all rows, one after the other, and each ratio is taken within a round, so that a machine that slows
down slows both sides of it. A first round warms up and is dropped. The peer is a user's first program: one sample a
step, automatic optimisation, label noise by two lines of torch.rand, no logger, no progress bar, no checkpoint, no
metric, one thread (more make it slower).
"""

import argparse
import json
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from benchmarks.rows import Row, describe_machine, measure, read_count, read_share, results, silence, table, threads
from benchmarks.stacked import SMALL, jax_row
from benchmarks.training import Fit, Task, cached, engine_call, hypercube, mnist, plain_loop, replicate, train
from noisereg.engine import Blocked, Fused
from noisereg.engine.sgd import PLAIN, Sgd
from noisereg.losses import Logistic, Loss

PLAIN_LOOP, SPARING, FIGURE, EPOCH, ALONE, JAX = "plain loop", "sparing", "figure 1", "one epoch", "alone", "JAX"
LEGEND = """\
us: of a step of one replica, median over the rounds (least-most)
ratio: peer / row; the peer is the plain loop, and for 2 threads the same on one
plain loop: from on_train_start to on_train_end, as in the three that follow
sparing: Trainer.fit, with order, label noise and a measurement of errors,
  losses, active neurons and norms at the start and after every 100 epochs, on
  240 training and 1,000 test samples
figure 1: the same, after every 50 epochs, on 240 and 10,000 samples
one epoch: the same, after an epoch, on 10,000 training and 10,000 test samples;
  the pixels are turned to floats within
alone: one call of the engine, with order and targets drawn before
momentum: .9, with a weight decay of .0001, and as much in its plain loop
batch 16, MNIST 16: of 16 samples a step, the first with both
against JAX: alone, once more; the peer is vmap over lax.scan, 60-240-2"""
_PLAIN_STEPS = 1200
_BARE = Fit(1, 1, 1)  # where nothing is fitted
_MOST_SEEDS = {"hypercube": 20, "MNIST": 1}  # beyond these, replicas differ in p


class Work(NamedTuple):
    """What an engine is given to do.

    Args:
        replicas: R.
        goals: least ratios to the peer, by the part of the work that is timed.
        fits: trainings, by the name of the part.
        task: hypercube or MNIST.
        engine: makes the engine.
        threads: of torch.
        peer: another work, to be compared part by part; None for the plain loop.
        call: steps of all replicas together in a call of the engine alone.
    """

    replicas: int
    goals: dict[str, float]
    fits: dict[str, Fit]
    task: str = "hypercube"
    engine: Callable[[Loss], Fused | Blocked] = Fused
    threads: int = 1
    peer: str | None = None
    call: int = 200_000
    batch_size: int = 1
    sgd: Sgd = PLAIN

    @property
    def plain_loop(self) -> str:
        """The name of the row that it is compared with."""
        if self.batch_size > 1:
            data = "batch" if self.task == "hypercube" else self.task
            return f"{data} {self.batch_size}: {PLAIN_LOOP}"
        return f"momentum: {PLAIN_LOOP}" if self.sgd.momentum else f"{self.task}, {PLAIN_LOOP}"


_GOALS = {SPARING: 600.0, ALONE: 600.0}
_GAINS = {SPARING: 1.8, ALONE: 1.8}
_HEAVY = Sgd(momentum=0.9, weight_decay=1e-4)
WORKS = {
    "1 replica": Work(1, {SPARING: 500}, {SPARING: Fit(1_000, 100, 1_000), FIGURE: Fit(500, 50, 10_000)}),
    "20 replicas": Work(20, _GOALS, {SPARING: Fit(200, 100, 1_000), FIGURE: Fit(100, 50, 10_000)}),
    "220 replicas": Work(220, _GOALS, {SPARING: Fit(100, 100, 1_000)}),
    "2 threads": Work(
        220,
        _GAINS,
        {SPARING: Fit(100, 100, 1_000)},
        engine=partial(Fused, threads=2),
        threads=2,
        peer="220 replicas",
    ),
    "momentum": Work(20, {ALONE: 400, JAX: 3}, {}, engine=partial(Fused, sgd=_HEAVY), call=100_000, sgd=_HEAVY),
    "batch 16": Work(
        20,
        {ALONE: 100, JAX: 3},
        {},
        engine=partial(Fused, batch_size=16, sgd=_HEAVY),
        call=10_000,
        batch_size=16,
        sgd=_HEAVY,
    ),
    "blocked, 1": Work(1, {}, {}, engine=Blocked, call=10_000),
    "blocked, 20": Work(20, {ALONE: 150}, {}, engine=Blocked),
    "blocked, 220": Work(220, {ALONE: 150}, {}, engine=Blocked),
    "MNIST, 1": Work(1, {EPOCH: 70, ALONE: 70}, {EPOCH: Fit(1, 1, 10_000)}, task="MNIST", call=60_000),
    "MNIST, 3": Work(3, {ALONE: 70}, {}, task="MNIST", call=60_000),
}
# `auto` takes `blocked` from some number of multiplications a step on. These rows, of 2, 16 and 128 samples a step,
# show where; each only if it is named.
BY_BATCH = {
    f"MNIST {size}, {name}": Work(
        1,
        {},
        {},
        task="MNIST",
        engine=partial(make, batch_size=size),
        peer=None if make is Blocked else f"MNIST {size}, blocked",
        call=60_000 // size,
        batch_size=size,
    )
    for size in (2, 16, 128)
    for name, make in {"blocked": Blocked, "fused": Fused}.items()
}
WORKS |= BY_BATCH


def rows_of(names: Sequence[str], tasks: dict[str, Task], *, share: float, jax: bool = False) -> dict[str, Row]:
    """Make the rows of some works and those of their peers, each after its peer.

    Args:
        names: of the works.
        tasks: by name.
        share: of the usual number of steps and test samples.
        jax: whether to time JAX too.
    """
    wanted = {name for name in WORKS if name in names or any(WORKS[other].peer == name for other in names)}
    rows: dict[str, Row] = {}
    for task in dict.fromkeys(WORKS[name].task for name in WORKS if name in wanted):
        steps = max(1, round(share * _PLAIN_STEPS))
        rows[f"{task}, {PLAIN_LOOP}"] = Row(partial(plain_loop(tasks[task]), steps))
        for name in (name for name in WORKS if name in wanted and WORKS[name].task == task):
            work = WORKS[name]
            if work.plain_loop not in rows:
                peer = plain_loop(tasks[task], batch_size=work.batch_size, sgd=work.sgd)
                rows[work.plain_loop] = Row(partial(peer, steps))
            rows |= _parts(name, work, tasks[task], share=share)
            if jax and JAX in work.goals:
                rows[f"{name}: {JAX}"] = Row(_jax_call(work, share=share))
                rows[f"{name}: against {JAX}"] = Row(rows[f"{name}: {ALONE}"].run, f"{name}: {JAX}", work.goals[JAX])
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    options = _options(arguments)
    tasks = {"hypercube": cached(hypercube()), "MNIST": cached(mnist(options.root, train_size=options.train_size))}
    with warnings.catch_warnings(), threads(1):
        silence()
        first = {name: first_call(tasks[name]) for name in dict.fromkeys(WORKS[name].task for name in options.rows)}
        jax = find_spec("jax") is not None
        rows = rows_of(options.rows, tasks, share=options.share, jax=jax)
        found = results(rows, measure(rows, rounds=options.rounds))
    console, machine = Console(highlight=False), describe_machine()
    calls = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in first.items())
    console.print(machine["text"])
    console.print(f"{options.rounds} rounds of {100 * options.share:g} % of the usual size; first call: {calls}\n")
    console.print(table(found), crop=False)
    console.print(LEGEND if jax else f"{LEGEND}\n  (its rows are missing: jax is not installed)")
    if options.json:
        record = {"machine": machine, "share": options.share, "first_call": first, "rows": found}
        options.json.write_text(json.dumps(record, indent=1))


def first_call(task: Task) -> float:
    """Return the seconds of the first call of a compiled engine."""
    call = engine_call(replicate(task, 1, fit=_BARE, num_seeds=1), Fused(Logistic()), steps=1)
    return call()


def _parts(name: str, work: Work, task: Task, *, share: float) -> dict[str, Row]:
    engine = work.engine(Logistic())
    seeds = min(work.replicas, _MOST_SEEDS[work.task])

    def run_fit(fit: Fit) -> float:
        with threads(work.threads):
            return train(replicate(task, work.replicas, fit=fit, num_seeds=seeds), engine)

    def run_call() -> float:
        with threads(work.threads):
            return call()

    steps = max(1, round(share * work.call / work.replicas))
    call = engine_call(replicate(task, work.replicas, fit=_BARE, num_seeds=seeds), engine, steps=steps)
    runs: dict[str, Callable[[], float]] = {
        **{part: partial(run_fit, _shorter(fit, share)) for part, fit in work.fits.items()},
        ALONE: run_call,
    }
    return {
        f"{name}: {part}": Row(run, f"{work.peer}: {part}" if work.peer else work.plain_loop, work.goals.get(part))
        for part, run in runs.items()
    }


def _jax_call(work: Work, *, share: float) -> Callable[[], float]:
    """Make what returns the seconds of a step of one of the replicas that JAX trains together."""
    steps = max(1, round(share * work.call / work.replicas / 4))  # it is so much slower, and draws all inputs before
    return jax_row(SMALL._replace(batch_size=work.batch_size), work.replicas, steps=steps)


def _shorter(fit: Fit, share: float) -> Fit:
    num_epochs, test_size = (max(1, round(share * number)) for number in (fit.num_epochs, fit.test_size))
    return Fit(num_epochs, fit.every_n_epochs, test_size)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Time a step of the engines beside one of a plain Lightning loop.")
    parser.add_argument("--rounds", type=read_count, default=5, help="each times every row once")
    usual = [name for name in WORKS if name not in BY_BATCH]
    parser.add_argument("--rows", nargs="+", default=usual, choices=WORKS, metavar="NAME", help=", ".join(WORKS))
    parser.add_argument(
        "--share", type=read_share, default=1.0, help="of the usual steps and test samples, for a quick look"
    )
    parser.add_argument("--root", help="folder that holds MNIST; random pixels without it")
    parser.add_argument("--train-size", type=int, help="images of MNIST that are kept; all without it")
    parser.add_argument("--json", type=Path, help="file for all numbers")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
