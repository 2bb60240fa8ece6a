"""Measure what counting activations adds to a training at the default intervals of a model.

A training step, an evaluation without counts and one with them take turns, so that whatever else the machine does meets
all three. The model's settings say how many steps lie between two evaluations, and on how many samples these are.

    python benchmarks/counting.py vit_tiny gpt_tiny cnn --rounds 9
"""

import argparse
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import NamedTuple

import torch
from torch.nn.functional import cross_entropy

from benchmarks.rows import read_count
from noisereg.config.composing import compose_settings
from noisereg.metrics import ActivationCounter
from noisereg.training.build import build_model, build_optimizer

_SAMPLES = {"vit_tiny": (60_000, 10_000), "cnn": (60_000, 10_000), "gpt_tiny": (89_968, 5_000)}  # training, test
_EVAL_BATCH = 1000


class Cost(NamedTuple):
    """Seconds of a step, and of an evaluation of one batch without and with counts; medians."""

    step: float
    plain: float
    counted: float

    def share(self, *, num_steps: float, num_batches: float) -> float:
        """Return what counting adds, over the training and evaluation without it, between two evaluations.

        Example:
            >>> Cost(step=1.0, plain=2.0, counted=3.0).share(num_steps=18, num_batches=1)
            0.05
        """
        return num_batches * (self.counted - self.plain) / (num_steps * self.step + num_batches * self.plain)


def measure(name: str, *, rounds: int, eval_batch: int = _EVAL_BATCH) -> tuple[Cost, float]:
    """Measure a model on random inputs.

    Args:
        name: of the model in conf.
        rounds: of which the medians are taken, after one that is not.
        eval_batch: samples of an evaluated batch.

    Returns:
        The seconds, and the share that counting adds at the default intervals.
    """
    settings = compose_settings(f"model={name}")
    shape, num_classes = ((settings["dataset"]["context"],), 27) if name == "gpt_tiny" else ((1, 28, 28), 10)
    model = build_model(settings, 0, input_shape=shape, num_classes=num_classes)
    optimizer = build_optimizer(settings, settings["optimizer"]["lr"], weights=list(model.parameters()))(
        model.parameters()
    )
    inputs = torch.randint(27, (eval_batch, *shape)).float() if len(shape) == 1 else torch.rand(eval_batch, *shape)
    labels, batch = torch.randint(num_classes, (eval_batch,)), settings["dataset"]["batch_size"]

    def step() -> None:
        optimizer.zero_grad()
        cross_entropy(model(inputs[:batch]), labels[:batch]).backward()
        optimizer.step()

    def evaluate() -> None:
        with torch.no_grad():
            model(inputs)

    counter = ActivationCounter(model, num_classes=num_classes)
    seconds: list[tuple[float, float, float]] = []
    for _ in range(rounds + 1):
        taken = [_time(step), _time(evaluate)]
        with counter:
            counter.start_batch(labels)
            taken.append(_time(evaluate))
        seconds.append((taken[0], taken[1], taken[2]))
    cost = Cost(*map(median, zip(*seconds[1:], strict=True)))
    num_train, num_test = _SAMPLES[name]
    every = settings["callbacks"]["sparsity"]["every_n_epochs"]
    num_eval = num_test + (settings["dataset"]["train_eval_size"] or num_train)
    return cost, cost.share(num_steps=every * num_train / batch, num_batches=num_eval / eval_batch)


def _time(call: Callable[[], None]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line for each model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=list(_SAMPLES), help=f"of {', '.join(_SAMPLES)}")
    parser.add_argument("--rounds", type=read_count, default=9)
    given = parser.parse_args(arguments)
    if unknown := [name for name in given.models if name not in _SAMPLES]:
        parser.error(f"models are {', '.join(_SAMPLES)}, got {unknown[0]}")
    for name in given.models:
        cost, share = measure(name, rounds=given.rounds)
        print(
            f"{name}: step {1e3 * cost.step:.1f} ms; {_EVAL_BATCH} samples {1e3 * cost.plain:.0f} ms, counted "
            f"{1e3 * cost.counted:.0f} ms; counting adds {100 * share:.2f} % at the default intervals"
        )


if __name__ == "__main__":
    main()
