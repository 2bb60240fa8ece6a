"""How much faster replicas are trained by a process for each core than one after the other with all cores.

    python benchmarks/workers.py [--rounds N] [--cores N] [--only WORD] [--share X]

In turn, N processes with one thread each train one replica each at the same time, and one process with N threads trains
N of them one after the other, by `engine=single` as a run does; or the processes train a part of R replicas each, and
the one all R, by `engine=stacked`. The processes are started and the data are built before the clock: a run does so
once.
"""

import argparse
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import torch
from rich.console import Console
from torchvision.io import write_png

from benchmarks.rows import read_count, read_share
from noisereg.config.composing import compose_settings
from noisereg.training.prepare import prepare

COMMON = ["noise.p=0.1", "logger=csv", "trainer.accelerator=cpu", "workers=1"]
NEVER = ["trainer.max_epochs=100000", "callbacks.sparsity.every_n_epochs=100000"]
_NUM_IMAGES = 256


class Network(NamedTuple):
    """A training whose throughput is measured.

    Attributes:
        overrides: of the command line.
        steps: that take a few seconds on a core.
        replicas: that are trained at once; 1 for `engine=single`.
    """

    overrides: list[str]
    steps: int
    replicas: int = 1


def _mlp(d: int, hidden: str, batch_size: int) -> list[str]:
    sizes = [f"dataset.d={d}", f"dataset.train_size={8 * batch_size}", "dataset.test_size=100"]
    return ["model=mlp", f"model.hidden={hidden}", f"dataset.batch_size={batch_size}", *sizes]


_CNN = [
    *("model=cnn", "model.channels=[8,16]", "model.hidden=32", "dataset=image_folder", "dataset.root=images"),
    *("dataset.image_size=28", "dataset.batch_size=32", "dataset.train_eval_size=100"),
]
NETWORKS = {
    "MLP 60-240-1, batch 16": Network(_mlp(60, "[240]", 16), 1500),
    "MLP 784-600-1, batch 128": Network(_mlp(784, "[600]", 128), 600),
    "ResNet-20, 32 x 32, batch 128": Network(
        ["model=resnet20", "dataset=image_folder", "dataset.root=images", "dataset.image_size=32"], 8
    ),
    "stacked MLP 784-100-1, batch 32, R = 8": Network(_mlp(784, "[100]", 32), 1500, 8),
    "stacked MLP 784-100-1, batch 32, R = 20": Network(_mlp(784, "[100]", 32), 600, 20),
    "stacked CNN 28 x 28, batch 32, R = 8": Network(_CNN, 80, 8),
    "stacked CNN 28 x 28, batch 32, R = 20": Network(_CNN, 32, 20),
}


class Trainer:
    """A process that trains a replica when it is asked to.

    Args:
        threads: of torch.
    """

    def __init__(self, threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._link, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, threads), daemon=True)
        self._process.start()

    def prepare(self, network: Network, *, replicas: int) -> None:
        """Build the data and the networks."""
        self._link.send(network._replace(replicas=replicas))

    def wait(self) -> None:
        """Wait until what was asked last is done."""
        self._link.recv()

    def begin(self) -> None:
        """Begin to train."""
        self._link.send(None)


def _serve(link: Connection, threads: int) -> None:
    while True:
        try:
            network = link.recv()
        except EOFError:  # all is measured
            return
        with tempfile.TemporaryDirectory() as folder:
            overrides = [
                *COMMON,
                *NEVER,
                *network.overrides,
                f"trainer.max_steps={network.steps}",
                f"threads={threads}",
                f"seeds={network.replicas}",
                f"engine={'single' if network.replicas == 1 else 'stacked'}",
            ]
            training = prepare(compose_settings(*overrides), folder=Path(folder), console=Console(quiet=True))
            link.send("prepared")
            link.recv()
            training.train()
        link.send("trained")


def seconds_of(trainers: Sequence[Trainer], network: Network) -> float:
    """Return the seconds in which each of some processes trains its share of the replicas, all at the same time."""
    for trainer in trainers:
        trainer.prepare(network, replicas=max(1, network.replicas // len(trainers)))
    for trainer in trainers:
        trainer.wait()
    began = time.perf_counter()
    for trainer in trainers:
        trainer.begin()
    for trainer in trainers:
        trainer.wait()
    return time.perf_counter() - began


def _write_images(root: Path) -> None:
    draws = torch.Generator().manual_seed(0)
    for split in ("train", "test"):
        for label in ("a", "b"):
            (root / split / label).mkdir(parents=True)
            for number in range(_NUM_IMAGES // 2):
                image = torch.randint(256, (3, 32, 32), dtype=torch.uint8, generator=draws)
                write_png(image, str(root / split / label / f"{number}.png"))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print the median with the least and the most."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=read_count, default=3)
    parser.add_argument("--cores", type=read_count, default=torch.get_num_threads())
    parser.add_argument("--only", default="", help="a word of the networks to measure")
    parser.add_argument("--share", type=read_share, default=1.0, help="of the steps")
    asked = parser.parse_args(arguments)
    console = Console(highlight=False)
    console.print(
        f"{asked.cores} processes of one thread, times as fast as one of {asked.cores}, "
        f"{asked.rounds} rounds: median (least-most); load {os.getloadavg()[0]:.1f}"
    )
    with tempfile.TemporaryDirectory() as folder:
        _write_images(Path(folder) / "images")
        os.chdir(folder)
        alone, together = [Trainer(asked.cores)], [Trainer(1) for _ in range(asked.cores)]
        for name in (name for name in NETWORKS if asked.only.lower() in name.lower()):
            network = NETWORKS[name]
            network = network._replace(steps=max(2, round(asked.share * network.steps)))
            seconds_of([*alone, *together], network._replace(steps=2))  # what is loaded or cached the first time
            turns = asked.cores if network.replicas == 1 else 1
            ratios = [turns * seconds_of(alone, network) / seconds_of(together, network) for _ in range(asked.rounds)]
            console.print(f"{name:<40} {statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})")
        os.chdir("/")


if __name__ == "__main__":
    main()
