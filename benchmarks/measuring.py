"""What it costs to measure many small networks, beside what a user would write, and the matrix product within.

    python benchmarks/measuring.py [--rounds N] [--threads N] [--networks N] [--share X] [--json PATH]

An evaluation is that of figure 1: 40 networks 60-240-1, two of which share 240 training and 10,000 test samples. Ours
counts the firings of each neuron by class, and on training samples the squared gradients too. The peers find errors,
losses and the active neurons of a sample, once by one network after the other and once by `vmap` over the two that
share their data, whichever is quicker; a thousand samples at a time, which a cache holds. The product is that of the
hidden layer alone, by tasks of one thread each, as in ours. Every round times all rows, one after the other, and each
ratio is taken within a round. A first round warms up, compiles, and is dropped.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from rich.console import Console
from torch import Tensor, nn
from torch.func import stack_module_state, vmap
from torch.nn.functional import binary_cross_entropy_with_logits

from benchmarks.rows import Row, describe_machine, measure, read_count, read_share, results, table, threads
from noisereg.datasets import Split
from noisereg.engine import Stack
from noisereg.engine.engine import SharedData
from noisereg.engine.measure import one_thread_each, score_all
from noisereg.losses import Logistic
from noisereg.models import TwoLayer

FEATURES, HIDDEN = 60, 240
SIZES = {"train": 240, "test": 10_000}
ALIKE = 2  # networks that share their data
LOOP, VMAP, PRODUCT = "loop", "vmap", "product"
GOALS = {LOOP: 1.7, VMAP: 1.7, PRODUCT: 0.5}
_ROWS_AT_ONCE = 1000
LEGEND = """\
us: of an evaluation of one network, median over the rounds (least-most)
ratio: peer / row"""


def draw(num_groups: int, *, share: float) -> list[SharedData]:
    """Draw corners of the hypercube for each pair of networks, and labels.

    Args:
        num_groups: pairs.
        share: of the samples.
    """
    generator = torch.Generator().manual_seed(0)

    def split(size: int) -> Split:
        inputs = 2.0 * torch.randint(2, (max(1, round(share * size)), FEATURES), generator=generator) - 1
        return Split(inputs, (inputs.sum(dim=1) > 0).long())

    sizes = [{name: split(size) for name, size in SIZES.items()} for _ in range(num_groups)]
    return [(list(range(ALIKE * group, ALIKE * (group + 1))), splits) for group, splits in enumerate(sizes)]


def make_rows(num_networks: int, *, num_threads: int, share: float) -> dict[str, Row]:
    """Make the rows of both peers, of the product, and ours beside each of them.

    Args:
        num_networks: even.
        num_threads: of each row.
        share: of the samples.
    """
    models = [TwoLayer((FEATURES,), 1, hidden=HIDDEN, seed=seed) for seed in range(num_networks)]
    data = draw(num_networks // ALIKE, share=share)
    stack = Stack.of(models)
    prepared = [
        (replicas, {name: Split(stack.prepare(split.inputs), split.labels) for name, split in splits.items()})
        for replicas, splits in data
    ]

    def ours() -> None:
        how: dict[str, Any] = {"loss": Logistic(), "num_classes": 2, "threads": num_threads, "compiled": True}
        score_all(stack, prepared, [True] * num_networks, **how)

    calls: dict[str, Callable[[], object]] = {
        LOOP: partial(_measure_in_loop, models, data),
        VMAP: partial(_measure_by_vmap, models, data),
        PRODUCT: partial(_multiply, stack, prepared, num_threads=num_threads),
    }
    timed = partial(_time, num_threads=num_threads, count=num_networks)
    rows = {name: Row(partial(timed, call)) for name, call in calls.items()}
    return rows | {f"ours to {name}": Row(partial(timed, ours), name, GOALS[name]) for name in calls}


def _measure_in_loop(models: Sequence[nn.Module], data: Sequence[SharedData]) -> list[Tensor]:
    """Compute error, loss and active neurons of one network after the other."""
    found = []
    for replicas, splits in data:
        for replica in replicas:
            for split in splits.values():
                of_parts = [_summarize(*_show(models[replica], part), labels) for part, labels in _parts(split)]
                found.append(torch.stack(of_parts).sum(dim=0) / len(split.labels))
    return found


def _measure_by_vmap(models: Sequence[nn.Module], data: Sequence[SharedData]) -> list[Tensor]:
    """Compute the same of those that share their data at once."""
    found = []
    for replicas, splits in data:
        weights, _ = stack_module_state([models[replica] for replica in replicas])
        show = vmap(_show_with, in_dims=(0, None))
        for split in splits.values():
            parts = [
                torch.stack([_summarize(*of_one, labels) for of_one in zip(*show(weights, part), strict=True)])
                for part, labels in _parts(split)
            ]
            found.append(torch.stack(parts).sum(dim=0) / len(split.labels))
    return found


def _parts(split: Split) -> list[tuple[Tensor, Tensor]]:
    return list(zip(split.inputs.split(_ROWS_AT_ONCE), split.labels.split(_ROWS_AT_ONCE), strict=True))


def _show(model: nn.Module, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Return the logits and the activations of a network."""
    network = cast(TwoLayer, model)
    activations = network.relu(network.hidden(inputs))
    return network.output(activations), activations


def _show_with(weights: dict[str, Tensor], inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Return the same of a network of such weights: by hand, as `functional_call` returns no activations."""
    activations = torch.relu(inputs @ weights["hidden.weight"].mT + weights["hidden.bias"])
    return activations @ weights["output.weight"].mT + weights["output.bias"], activations


def _summarize(logits: Tensor, activations: Tensor, labels: Tensor) -> Tensor:
    """Sum errors, losses and active neurons."""
    outputs = logits[:, 0]
    loss = binary_cross_entropy_with_logits(outputs, labels.to(outputs.dtype), reduction="sum")
    return torch.stack([((outputs > 0) != labels.bool()).sum(), loss, (activations > 0).sum()])


def _multiply(stack: Stack, data: Sequence[SharedData], *, num_threads: int) -> None:
    """Compute the pre-activations of all samples and networks, and nothing else."""
    weights = cast(Tensor, stack.hidden)

    def multiply(group: SharedData) -> None:
        replicas, splits = group
        for split in splits.values():
            space = torch.empty(min(1024, len(split.inputs)), HIDDEN)
            for replica in replicas:
                for part in split.inputs.split(1024):
                    torch.mm(part, weights[replica], out=space[: len(part)])

    with one_thread_each(num_threads) as map_all:
        list(map_all(multiply, data))


def _time(call: Callable[[], object], *, num_threads: int, count: int) -> float:
    """Return the seconds of a call by the network."""
    with threads(num_threads), torch.no_grad():
        began = time.perf_counter()
        call()
        return (time.perf_counter() - began) / count


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=read_count, default=15, help="each times every row once")
    parser.add_argument("--threads", type=read_count, default=1, help="of each row")
    parser.add_argument("--networks", type=read_count, default=40, help="an even number")
    parser.add_argument("--share", type=read_share, default=1.0, help="of the samples, for a quick look")
    parser.add_argument("--json", type=Path, help="file for all numbers")
    options = parser.parse_args(arguments)
    if options.networks % ALIKE:
        parser.error(f"--networks must be even, got {options.networks}")
    rows = make_rows(options.networks, num_threads=options.threads, share=options.share)
    found = results(rows, measure(rows, rounds=options.rounds))
    console, machine = Console(highlight=False), describe_machine()
    console.print(machine["text"])
    console.print(f"{options.networks} networks, threads: {options.threads}, {options.rounds} rounds\n")
    console.print(table(found, unit="us each"), crop=False)
    console.print(LEGEND)
    if options.json:
        options.json.write_text(json.dumps({"machine": machine, "threads": options.threads, "rows": found}, indent=1))


if __name__ == "__main__":
    main()
