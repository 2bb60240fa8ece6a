"""Two ways to train a task of the paper and to time it: a plain Lightning loop, and our replicas."""

import time
from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, one_hot
from torch.utils.data import DataLoader, TensorDataset

from noisereg import rng
from noisereg.callbacks import LabelCorruption
from noisereg.datasets import Hypercube, InMemory, Mnist, Split
from noisereg.engine import Blocked, Fused, Stack
from noisereg.engine.chunks import Timeline
from noisereg.engine.replica_data import ReplicaData
from noisereg.engine.replicas import Replicas
from noisereg.engine.sgd import PLAIN, Sgd
from noisereg.engine.two_layer import TwoLayerEngine
from noisereg.losses import Logistic
from noisereg.models import TwoLayer
from noisereg.noise import Corruption, Resample, Rule


class Task(NamedTuple):
    """A data set, by its seed and its number of test samples, and the paper's network for it."""

    data: Callable[[int, int], InMemory]
    hidden: int
    lr: float
    p: float


class Fit(NamedTuple):
    """The length of a training, how often it is measured, and on how many test samples."""

    num_epochs: int
    every_n_epochs: int
    test_size: int


def hypercube() -> Task:
    """Return the task of figure 1, 60-240-1 on 240 samples."""

    def data(seed: int, test_size: int) -> InMemory:
        return _set_up(Hypercube(order="replacement", test_size=test_size, seed=seed))

    return Task(data, hidden=240, lr=1 / 60, p=0.2)


def mnist(root: str | None, *, train_size: int | None = None) -> Task:
    """Return the task of figure 5, 784-600-10, from the folder that holds MNIST, or on random pixels."""
    make = partial(Mnist, root) if root else RandomPixels
    keys: dict[str, Any] = {"order": "replacement", "train_size": train_size, "train_eval_size": 10_000}

    def data(seed: int, test_size: int) -> InMemory:
        return _set_up(make(test_size=test_size, seed=seed, **keys))

    return Task(data, hidden=600, lr=0.01, p=0.1)


class RandomPixels(Mnist):
    """As many images as MNIST has, with as many pixels that are not zero, for a machine without the data."""

    def prepare_data(self) -> None:
        """Do nothing: the images are made when they are loaded."""

    def load(self) -> tuple[Split, Split]:
        """Draw 256 images, and repeat them."""
        self.source = "random pixels, 19 % of them not zero"
        draws = rng.uniform(self.seed, rng.Stream.TRAIN_DATA, 0, torch.arange(256 * 28 * 28)).view(256, 1, 28, 28)
        few = torch.where(draws < 0.19, 1 + 255 * draws / 0.19, 0.0).to(torch.uint8)
        train, test = (torch.arange(count) for count in self.counts.values())
        return Split(few[train % 256], train % self.num_classes), Split(few[test % 256], test % self.num_classes)


class PlainLoop(LightningModule):
    """What a user writes who has never heard of noisereg."""

    def __init__(self, features: int, num_classes: int, *, hidden: int, lr: float, p: float, sgd: Sgd = PLAIN) -> None:
        super().__init__()
        self.num_classes, self.lr, self.p, self.sgd = num_classes, lr, p, sgd
        self.net = nn.Sequential(
            nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, 1 if num_classes == 2 else num_classes)
        )

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Make SGD."""
        return torch.optim.SGD(self.parameters(), lr=self.lr, **self.sgd._asdict())

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        """Redraw the label with probability p, and return the mean logistic loss."""
        x, y = batch
        redrawn = torch.rand(len(y)) < self.p
        y = torch.where(redrawn, (self.num_classes * torch.rand(len(y))).long(), y)
        targets = y[:, None] if self.num_classes == 2 else one_hot(y, self.num_classes)
        return binary_cross_entropy_with_logits(self.net(x), targets.float(), reduction="sum") / len(y)


class Clock(Callback):
    """Time a training without what Lightning does before and after it, and without its first batches.

    Args:
        skip: how many batches those are.

    Attributes:
        warm_up: seconds of the first batches.
        seconds: of the others.
    """

    warm_up = seconds = 0.0

    def __init__(self, skip: int = 0) -> None:
        self._skip = skip

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start."""
        self._began = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Start again after the last of the first batches."""
        if batch_idx + 1 == self._skip:
            now = time.perf_counter()
            self.warm_up, self._began = now - self._began, now

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop."""
        self.seconds = time.perf_counter() - self._began


def plain_loop(task: Task, *, batch_size: int = 1, sgd: Sgd = PLAIN) -> Callable[[int], float]:
    """Make what trains so many steps by the plain loop, and gives the seconds of one."""
    data = task.data(0, 1)
    split = data.splits["train"]
    rows = torch.arange(len(split))
    shown = split.inputs if data.eval_transform is None else data.eval_transform(split.inputs, draw=rows, index=rows)
    samples = TensorDataset(shown.flatten(start_dim=1), split.labels)

    def run(steps: int) -> float:
        module = PlainLoop(shown[0].numel(), data.num_classes, hidden=task.hidden, lr=task.lr, p=task.p, sgd=sgd)
        return _timed(module, DataLoader(samples, batch_size=batch_size, shuffle=True), max_steps=steps) / steps

    return run


class Replicated(NamedTuple):
    """The parts of a training of R replicas."""

    stack: Stack
    data: ReplicaData
    plan: Timeline
    seeds: list[int]
    rules: list[Rule]
    rates: Tensor


def replicate(task: Task, replicas: int, *, fit: Fit, num_seeds: int, hidden: int | None = None) -> Replicated:
    """Build what a run builds: networks, data and noise of R replicas, by seed and then by p."""
    seeds = [replica % num_seeds for replica in range(replicas)]
    strengths = [min(task.p + 0.05 * (replica // num_seeds), 1.0) for replica in range(replicas)]
    first = task.data(0, fit.test_size)
    outputs = 1 if first.num_classes == 2 else first.num_classes
    shape = (first.input_shape, outputs)
    models = {seed: TwoLayer(*shape, hidden=hidden or task.hidden, seed=seed) for seed in dict.fromkeys(seeds)}
    stack = Stack.of([models[seed] for seed in seeds])
    plan = Timeline(num_epochs=fit.num_epochs, every_n_epochs=fit.every_n_epochs, n=len(first.splits["train"]))
    data = ReplicaData(lambda seed: task.data(seed, fit.test_size), seeds, plan, prepare=stack.prepare)
    rates = torch.full((1, replicas), task.lr, dtype=torch.float64)
    return Replicated(stack, data, plan, seeds, [Resample(p=p) for p in strengths], rates)


def train(parts: Replicated, engine: Fused | Blocked) -> float:
    """Train by `Trainer.fit`, with the noise and all measurements, and return the seconds of a step of one replica."""
    stack, data, plan, seeds, rules, rates = parts
    module = Replicas(TwoLayerEngine(stack, engine, Logistic()), timeline=plan, rates=rates)
    seconds = _timed(module, data, LabelCorruption(rules, seed=seeds), max_epochs=plan.num_legs)
    return seconds / (plan.num_draws * len(seeds))


def engine_call(parts: Replicated, engine: Fused | Blocked, *, steps: int) -> Callable[[], float]:
    """Make what calls the engine alone for so many steps, and gives the seconds of a step of one replica."""
    stack, data, _, seeds, rules, rates = parts
    chunk = data.chunk(0, steps * engine.batch_size)
    noise = Corruption(rules, num_classes=data.num_classes, seed=seeds)
    noisy = noise(chunk["label"], chunk["draw"], chunk["index"])
    targets = one_hot(noisy, data.num_classes).to(stack.output.dtype)

    def run() -> float:
        began = time.perf_counter()
        engine(stack, chunk["input"], index=chunk["row"], targets=targets, rates=rates[0])
        return (time.perf_counter() - began) / targets[..., 0].numel() * engine.batch_size

    return run


def cached(task: Task) -> Task:
    """Keep the data of every seed."""
    return task._replace(data=cache(task.data))


def quiet_trainer(*callbacks: Callback, **options: Any) -> Trainer:
    """Make a trainer on the CPU that prints, writes and, unless told otherwise, evaluates nothing."""
    return Trainer(
        accelerator="cpu",
        devices=1,
        callbacks=list(callbacks),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **{"limit_val_batches": 0, **options},
    )


def _set_up(data: InMemory) -> InMemory:
    data.prepare_data()
    data.setup()
    return data


def _timed(module: LightningModule, data: Any, *callbacks: Callback, **length: Any) -> float:
    clock = Clock()
    quiet_trainer(clock, *callbacks, **length).fit(module, data)
    return clock.seconds
