"""Measure what `train/gradient_norm_squared` adds to a training at the default intervals of an experiment.

The steps between two evaluations, and these evaluations with and without the closed form of the gradient's norm, take
turns on one thread, so that whatever else the machine does meets all of them. Drawing samples and labels is left out of
the training's time, which makes the share larger. Inputs are random, with as many pixels that are not zero as MNIST
has. The engine `stacked` and other modules measure it with `callbacks.gradients.max_samples` alone, 0 by default.

    python benchmarks/gradient_norm.py fig1_hypercube fig5_mnist --rounds 15
"""

import argparse
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from benchmarks.rows import read_count, read_share
from noisereg.config.composing import compose_settings
from noisereg.engine import Fused, Stack
from noisereg.engine.measure import score
from noisereg.losses import Logistic
from noisereg.models import TwoLayer


class Work(NamedTuple):
    """What lies between two evaluations of an experiment.

    Args:
        shape: features, hidden neurons and outputs.
        replicas: networks that are trained and measured together.
        num_train: training samples, of which one epoch has as many steps.
        num_test: test samples.
        shown: share of the features that are not zero.
    """

    shape: tuple[int, int, int]
    replicas: int
    num_train: int
    num_test: int
    shown: float = 1.0


WORKS = {
    "fig1_hypercube": Work((60, 240, 1), replicas=8, num_train=240, num_test=10_000),
    "fig5_mnist": Work((784, 600, 10), replicas=1, num_train=60_000, num_test=10_000, shown=0.19),
}


class Cost(NamedTuple):
    """Seconds of the training between two evaluations, and of one without and with the gradient's norm; by round."""

    train: list[float]
    plain: list[float]
    whole: list[float]

    def shares(self) -> list[float]:
        """Return what the norm adds, over the training and evaluation without it, in each round.

        Example:
            >>> Cost(train=[18.0], plain=[2.0], whole=[3.0]).shares()
            [0.05]
        """
        return [(more - less) / (steps + less) for steps, less, more in zip(*self, strict=True)]


def measure(name: str, *, rounds: int, share: float = 1.0) -> Cost:
    """Measure an experiment's network.

    Args:
        name: of the experiment in conf.
        rounds: after one that is not kept.
        share: of the steps and samples, for a quick look.
    """
    work, settings = WORKS[name], compose_settings(f"experiment={name}")
    features, hidden, outputs = work.shape
    data, num_classes = settings["dataset"], max(outputs, 2)
    every = settings["callbacks"]["sparsity"]["every_n_epochs"]
    sizes = [data.get("train_eval_size") or work.num_train, work.num_test]
    num_steps, *sizes = (max(1, round(share * number)) for number in (every * work.num_train, *sizes))
    generator = torch.Generator().manual_seed(0)
    stack = Stack.of([TwoLayer((features,), outputs, hidden=hidden, seed=seed) for seed in range(work.replicas)])

    def draw(count: int) -> tuple[Tensor, Tensor]:
        inputs = torch.rand(count, features, generator=generator)
        inputs *= torch.rand(count, features, generator=generator) < work.shown
        return stack.prepare(inputs), torch.randint(num_classes, (count,), generator=generator)

    (inputs, labels), test = map(draw, sizes)
    engine, loss = Fused(Logistic(), threads=1), Logistic()
    index = torch.randint(len(inputs), (work.replicas, num_steps), generator=generator)
    targets = one_hot(labels, num_classes).to(inputs.dtype)[index]
    rates = torch.full((work.replicas,), settings["optimizer"]["lr"], dtype=torch.float64)

    def evaluate(with_gradients: bool) -> None:
        given = {"loss": loss, "num_classes": num_classes, "compiled": True}
        score(stack, range(work.replicas), inputs, labels, **given, with_gradients=with_gradients)
        score(stack, range(work.replicas), *test, **given, with_gradients=False)  # of the training split alone

    seconds = []
    for number in range(rounds + 1):
        steps = _time(lambda: engine(stack, inputs, index=index, targets=targets, rates=rates))
        order = (False, True) if number % 2 else (True, False)
        taken = {which: _time(lambda which=which: evaluate(which)) for which in order}  # type: ignore[misc]
        seconds.append((steps, taken[False], taken[True]))
    return Cost(*map(list, zip(*seconds[1:], strict=True)))


def _time(call: Callable[[], None]) -> float:
    """Return the seconds of processor time of a call, which other programs hardly change."""
    began = time.process_time()
    call()
    return time.process_time() - began


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line for each experiment."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("experiments", nargs="*", default=list(WORKS), metavar="NAME", help=f"of {', '.join(WORKS)}")
    parser.add_argument("--rounds", type=read_count, default=15)
    parser.add_argument("--share", type=read_share, default=1.0, help="of the steps and samples, for a quick look")
    given = parser.parse_args(arguments)
    if unknown := [name for name in given.experiments if name not in WORKS]:
        parser.error(f"experiments are {', '.join(WORKS)}, got {unknown[0]}")
    torch.set_num_threads(1)
    for name in given.experiments:
        cost = measure(name, rounds=given.rounds, share=given.share)
        shares, (train, plain, whole) = cost.shares(), map(median, cost)
        print(
            f"{name}: training {1e3 * train:.0f} ms, evaluation {1e3 * plain:.0f} ms, with the gradient's norm "
            f"{1e3 * whole:.0f} ms; the norm adds {100 * median(shares):.2f} % ({100 * min(shares):.2f} to "
            f"{100 * max(shares):.2f}) at the default intervals"
        )


if __name__ == "__main__":
    main()
