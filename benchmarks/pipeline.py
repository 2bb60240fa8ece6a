"""What a batch costs beside the training step of a ResNet-20: making it, and corrupting its labels.

    python benchmarks/pipeline.py [--root PATH] [--threads N] [--steps N]

Every round times one training step, one epoch of batches and many corruptions, one after the other, so that a machine
that slows down slows all of them. The table shows medians over the rounds.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.rows import lay_out, read_count
from noisereg import rng
from noisereg.datasets import Cifar10, Split
from noisereg.datasets.loader import Batch
from noisereg.engine.classifier import Classifier
from noisereg.losses import CrossEntropy
from noisereg.models import ResNet
from noisereg.noise import Corruption, Resample

STEP = "training step"
GOALS = {"batch of 128": 0.03, "labels, drawn": 0.01, "labels, expected": 0.01}  # shares of a training step
_CORRUPTIONS = 100  # a round
Times = dict[str, list[float]]


class RandomImages(Cifar10):
    """As many images as CIFAR-10 has, of random bytes, for a machine without the data."""

    def prepare_data(self) -> None:
        """Do nothing: the images are made when they are loaded."""

    def load(self) -> tuple[Split, Split]:
        """Draw 256 images, and repeat them until there are 50,000 and 10,000."""
        self.source = "random bytes"
        shape = (256, 32, 32, 3)
        draws = rng.uniform(self.seed, rng.Stream.TRAIN_DATA, 0, torch.arange(torch.Size(shape).numel()))
        few = (256 * draws).to(torch.uint8).view(shape)
        number = torch.arange(self.counts["train"])
        images = few.index_select(0, number % len(few)).permute(0, 3, 1, 2)
        train = Split(images, number % self.num_classes)
        return train, train.select(number[: self.counts["test"]])


def measure(data: Cifar10, *, steps: int) -> Times:
    """Time the parts, interleaved.

    Args:
        data: already set up.
        steps: rounds, each with one training step.

    Returns:
        Seconds a step, a batch and a corruption, by part, one value a round.
    """
    work = _parts(data)
    for _, part in work.values():
        part()
    times: Times = {name: [] for name in work}
    for _ in range(steps):
        for name, (repeats, part) in work.items():
            began = time.perf_counter()
            part()
            times[name].append((time.perf_counter() - began) / repeats)
    return times


def table(times: Times) -> Table:
    """Lay out medians and extremes beside the share of the step that is the goal, with whether it is met."""
    headers = ("", "ms, median", "min", "max", "of a step", "goal", "")
    rows = []
    step = statistics.median(times[STEP])
    for name, seconds in times.items():
        median = statistics.median(seconds)
        cells = [f"{1000 * value:,.{0 if value > 0.1 else 3}f}" for value in (median, min(seconds), max(seconds))]
        if goal := GOALS.get(name):
            cells += [f"{median / step:.2%}", f"< {goal:.0%}", "met" if median / step < goal else "missed"]
        rows.append([name, *cells, *[""] * (len(headers) - 1 - len(cells))])
    return lay_out(headers, rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Time a batch and its label noise beside a ResNet-20 training step.")
    parser.add_argument("--root", help="folder that holds CIFAR-10; random images without it")
    parser.add_argument("--threads", type=read_count, default=torch.get_num_threads(), help="of torch")
    parser.add_argument("--steps", type=read_count, default=20, help="rounds, each with one training step")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    data = Cifar10(options.root) if options.root else RandomImages()
    data.prepare_data()
    data.setup()
    times = measure(data, steps=options.steps)
    console = Console()
    console.print(
        f"{data.source}, batch size {data.batch_size}, float32, torch {torch.__version__}, {options.steps} rounds, "
        f"CPU threads: {options.threads}",
        highlight=False,
    )
    console.print(table(times))


def _parts(data: Cifar10) -> dict[str, tuple[int, Callable[[], object]]]:
    """Name what is timed, with the number of times that one call does it."""
    batch = next(iter(loader := data.train_dataloader()))
    drawn, expected = (
        Corruption(Resample(p=0.1, expected=mode), num_classes=data.num_classes, seed=0) for mode in (False, True)
    )
    noisy = {**batch, "target": drawn(batch["label"], batch["draw"], batch["index"])}
    return {
        STEP: (1, partial(_train, *_network(data), noisy)),
        "batch of 128": (len(loader), partial(_epoch, loader)),
        "labels, drawn": (_CORRUPTIONS, partial(_corrupt, drawn, batch)),
        "labels, expected": (_CORRUPTIONS, partial(_corrupt, expected, batch)),
    }


def _network(data: Cifar10) -> tuple[Classifier, torch.optim.Optimizer]:
    sgd = partial(torch.optim.SGD, lr=0.1, momentum=0.9, weight_decay=1e-4)
    module = Classifier(ResNet(data.input_shape, 10, depth=20), CrossEntropy(), num_classes=10, optimizer=sgd)
    return module, module.configure_optimizers()


def _train(module: Classifier, optimizer: torch.optim.Optimizer, batch: Batch) -> None:
    optimizer.zero_grad()
    module.training_step(batch, 0).backward()
    optimizer.step()


def _epoch(loader: Iterable[Batch]) -> None:
    for _ in loader:
        pass


def _corrupt(noise: Corruption, batch: Batch) -> None:
    for _ in range(_CORRUPTIONS):
        noise(batch["label"], batch["draw"], batch["index"])


if __name__ == "__main__":
    main()
