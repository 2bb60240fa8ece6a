"""What a step of a network costs where R of them are trained together, beside a plain Lightning loop and JAX.

    python benchmarks/stacked.py [--replicas 20 100] [--threads 2] [--rounds 5] [--compile] [--shapes] [--share X]

Trains 60-240-2 networks on batches of 16 by SGD with momentum, optimisers included. Every round times all rows, one
after the other, and each ratio is taken within a round. A first round warms up, and compiles, and is dropped. The rows
of JAX, `vmap` over `lax.scan`, need `pip install jax`. With --shapes larger networks are timed as well, without a goal.
"""

import argparse
import json
import os
import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning.pytorch import LightningModule
from rich.console import Console
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.rows import Row, describe_machine, measure, read_count, read_share, results, silence, table, threads
from benchmarks.training import Clock, quiet_trainer
from noisereg.engine.stacked import StackedNetworks
from noisereg.losses import CrossEntropy
from noisereg.models import MLP, ResNet

LEGEND = """\
us: of a step of one replica, median over the rounds (least-most)
ratio: peer / row; the peer of stacked networks is the plain loop of the same
  network; that of compiled ones is JAX too, in a row of its own
plain loop: Lightning, one network, from on_train_start to on_train_end
eager: the operations of torch.func, recorded after 200 steps
compiled: torch.compile, with the update in the graph
JAX: value_and_grad of a loss in plain jax.numpy, vmap over lax.scan, jit"""
_SGD = partial(torch.optim.SGD, lr=0.01, momentum=0.9)
_STEPS = 20_000  # of all replicas together, in a round
_PLAIN_STEPS = 1_000
_WARM_UP = 210  # steps until one is recorded


class Shape(NamedTuple):
    """A network, a batch, and for how many of the usual steps it is timed."""

    build: Callable[[int], nn.Module]
    input_shape: tuple[int, ...]
    batch_size: int
    num_classes: int = 10
    share: float = 1.0


def _cnn(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    first, second = nn.Conv2d(1, 8, 3, stride=2), nn.Conv2d(8, 16, 3, stride=2)
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), nn.Flatten(), nn.Linear(16 * 36, 10))


def _mlp(features: int, hidden: int, num_outputs: int) -> Callable[[int], nn.Module]:
    return lambda seed: MLP((features,), num_outputs, hidden=hidden, seed=seed)


SMALL = Shape(_mlp(60, 240, 2), (60,), 16, 2)
SHAPES = {
    "784-600-10, 128": (Shape(_mlp(784, 600, 10), (784,), 128, share=0.02), (2, 10)),
    "784-100-10, 32": (Shape(_mlp(784, 100, 10), (784,), 32, share=0.1), (10,)),
    "CNN 28x28, 32": (Shape(_cnn, (1, 28, 28), 32, share=0.05), (3, 10)),
    "ResNet-20, 128": (Shape(lambda seed: ResNet((3, 32, 32), 10, seed=seed), (3, 32, 32), 128, share=0.0003), (2,)),
}


class PlainLoop(LightningModule):
    """What a user writes."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Make SGD with momentum."""
        return _SGD(self.parameters())

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        """Compute the loss."""
        inputs, labels = batch
        return cross_entropy(self.net(inputs), labels)


def run_plain(shape: Shape, steps: int) -> float:
    """Return the seconds of a step of a plain Lightning loop."""
    inputs, labels = draw(shape, (steps * shape.batch_size,))
    clock = Clock()
    loader = DataLoader(TensorDataset(inputs, labels), batch_size=shape.batch_size)
    quiet_trainer(clock, max_steps=steps).fit(PlainLoop(shape.build(0)), loader)
    return clock.seconds / steps


def stacked_row(shape: Shape, replicas: int, *, steps: int, compile: bool) -> Callable[[], float]:
    """Make what returns the seconds of a step of one of the replicas that are trained together."""
    models = [shape.build(seed) for seed in range(replicas)]
    stacked = StackedNetworks(models, CrossEntropy(), optimizer=_SGD, rates=[0.01] * replicas, compile=compile)
    inputs, labels = draw(shape, (min(steps, 50), replicas, shape.batch_size))
    warm_up = [2 if compile or shape.share < 1 else _WARM_UP]

    def run() -> float:
        for number in range(warm_up.pop() if warm_up else 0):
            stacked.step(inputs[number % len(inputs)], labels[number % len(inputs)])
        began = time.perf_counter()
        for number in range(steps):
            stacked.step(inputs[number % len(inputs)], labels[number % len(inputs)])
        return (time.perf_counter() - began) / (steps * replicas)

    return run


def jax_row(shape: Shape, replicas: int, *, steps: int) -> Callable[[], float]:
    """Make what returns the seconds of a step of one of the replicas that JAX trains together."""
    os.environ["NPROC"] = str(torch.get_num_threads())  # which XLA reads when it starts
    jax, jnp = import_module("jax"), import_module("jax.numpy")
    inputs, labels = (jnp.asarray(drawn.numpy()) for drawn in draw(shape, (steps, replicas, shape.batch_size)))
    models = [[weight.detach() for weight in shape.build(seed).parameters()] for seed in range(replicas)]
    weights = [jnp.asarray(torch.stack(same).numpy()) for same in zip(*models, strict=True)]
    rates = jnp.full(replicas, 0.01)

    def loss(weights: Any, inputs: Any, labels: Any) -> Any:
        hidden, hidden_bias, output, output_bias = weights
        logits = jax.nn.relu(inputs @ hidden.T + hidden_bias) @ output.T + output_bias
        return -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=1).mean()

    def train(weights: Any, momenta: Any, inputs: Any, labels: Any, rate: Any) -> Any:
        def step(state: Any, batch: Any) -> Any:
            weights, momenta = state
            value, gradients = jax.value_and_grad(loss)(weights, *batch)
            momenta = [0.9 * momentum + gradient for momentum, gradient in zip(momenta, gradients, strict=True)]
            return (
                [weight - rate * momentum for weight, momentum in zip(weights, momenta, strict=True)],
                momenta,
            ), value

        return jax.lax.scan(step, (weights, momenta), (inputs, labels))

    trained = jax.jit(jax.vmap(train, in_axes=(0, 0, 1, 1, 0)), donate_argnums=(0, 1))
    state = [(weights, [jnp.zeros_like(weight) for weight in weights])]

    def run() -> float:
        began = time.perf_counter()
        after, losses = trained(*state.pop(), inputs, labels, rates)
        losses.block_until_ready()
        state.append(after)
        return (time.perf_counter() - began) / (steps * replicas)

    return run


def draw(shape: Shape, sizes: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Draw inputs and labels."""
    generator = torch.Generator().manual_seed(0)
    return (
        torch.randn(*sizes, *shape.input_shape, generator=generator),
        torch.randint(shape.num_classes, sizes, generator=generator),
    )


def rows_of(replicas: Sequence[int], *, compile: bool, jax: bool, shapes: bool, share: float) -> dict[str, Row]:
    """Make the rows, each after its peer."""
    steps = max(1, round(share * _PLAIN_STEPS))
    rows = {"plain loop": Row(partial(run_plain, SMALL, steps))}
    for count in replicas:
        steps = max(1, round(share * _STEPS / count))
        goal = 2.5 if count < 100 else 3.5
        rows[f"{count}: eager"] = Row(stacked_row(SMALL, count, steps=steps, compile=False), "plain loop", goal)
        if jax:
            rows[f"{count}: JAX"] = Row(jax_row(SMALL, count, steps=steps), "plain loop")
        if compile:
            peer, least = (f"{count}: JAX", 1.0) if jax else ("plain loop", None)
            rows[f"{count}: compiled"] = Row(stacked_row(SMALL, count, steps=steps, compile=True), peer, least)
    for name, (shape, counts) in SHAPES.items() if shapes else ():
        steps = max(3, round(share * shape.share * _PLAIN_STEPS))
        rows[f"{name}: plain"] = Row(partial(run_plain, shape, steps))
        for count in counts:
            steps = max(2, round(share * shape.share * _STEPS / count))
            run = stacked_row(shape, count, steps=steps, compile=False)
            rows[f"{name}: {count}"] = Row(run, f"{name}: plain")
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    options = _options(arguments)
    jax = find_spec("jax") is not None
    with warnings.catch_warnings(), threads(options.threads):
        silence()
        how = {"compile": options.compile, "shapes": options.shapes, "share": options.share}
        rows = rows_of(options.replicas, jax=jax, **how)
        found = results(rows, measure(rows, rounds=options.rounds))
    console, machine = Console(highlight=False), describe_machine()
    console.print(machine["text"])
    console.print(
        f"{options.rounds} rounds of {100 * options.share:g} % of the usual size, {options.threads} threads\n"
    )
    console.print(table(found), crop=False)
    console.print(LEGEND if jax else f"{LEGEND}\n  (its rows are missing: jax is not installed)")
    if options.json:
        options.json.write_text(json.dumps({"machine": machine, "share": options.share, "rows": found}, indent=1))


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Time a step of stacked networks beside one of a plain Lightning loop."
    )
    parser.add_argument("--replicas", nargs="+", type=read_count, default=[20, 100])
    parser.add_argument("--threads", type=read_count, default=2, help="of torch and JAX")
    parser.add_argument("--rounds", type=read_count, default=5, help="each times every row once")
    parser.add_argument("--compile", action="store_true", help="also under torch.compile, which takes a minute")
    parser.add_argument("--shapes", action="store_true", help="also larger networks")
    parser.add_argument("--share", type=read_share, default=1.0, help="of the usual steps, for a quick look")
    parser.add_argument("--json", type=Path, help="file for all numbers")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
