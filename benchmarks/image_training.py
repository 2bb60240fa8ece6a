"""Two ways to train ResNet-20 on small images and to time it: the plain loop of its reference, and ours."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from PIL import Image
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from benchmarks.training import Clock, quiet_trainer
from noisereg.callbacks import LabelCorruption, SparsityMonitor
from noisereg.datasets import Cifar10, Split
from noisereg.datasets.images import IMAGENET
from noisereg.engine.classifier import Classifier
from noisereg.losses import CrossEntropy
from noisereg.models import ResNet
from noisereg.noise import Resample

WARM_UP = 3  # steps
_SGD: dict[str, Any] = {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-4}


class PilImages(Dataset[tuple[Tensor, int]]):
    """Images as torchvision's data set gives them: each is made a PIL image, and then transformed."""

    def __init__(self, split: Split, transform: Callable[[Image.Image], Tensor]) -> None:
        self.pixels, self.labels = split.inputs.permute(0, 2, 3, 1).numpy(), split.labels.tolist()
        self.transform = transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.pixels[index])), self.labels[index]


class PlainLoop:
    """Train by the plain loop.

    Args:
        data: already set up.
        steps: that are timed, after those that warm up.
        workers: of the DataLoader.
    """

    def __init__(self, data: Cifar10, *, steps: int, workers: int) -> None:
        augment = [transforms.RandomHorizontalFlip(), transforms.RandomCrop(32, 4)]
        normalize = [transforms.ToTensor(), transforms.Normalize(*IMAGENET)]
        images = PilImages(data.splits["train"], transforms.Compose([*augment, *normalize]))
        self.loader = DataLoader(images, batch_size=data.batch_size, shuffle=True, num_workers=workers)
        self.steps, self.batch_size = steps, data.batch_size
        self.net = ResNet(data.input_shape, data.num_classes)
        self.optimizer = torch.optim.SGD(self.net.parameters(), **_SGD)

    def __call__(self) -> float:
        """Return the seconds of an image."""
        batches = iter(self.loader)
        for _ in range(WARM_UP):
            self.step(*next(batches))
        began = time.perf_counter()
        for _ in range(self.steps):
            self.step(*next(batches))
        return (time.perf_counter() - began) / (self.steps * self.batch_size)

    def step(self, images: Tensor, labels: Tensor) -> tuple[float, float]:
        """Make one step, and return the loss and the accuracy of its batch."""
        logits = self.net(images)
        loss = cross_entropy(logits, labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item(), (logits.argmax(dim=1) == labels).float().mean().item()


class Training:
    """Train as a run does, by `Trainer.fit`.

    Args:
        data: the images.
        steps: that are timed, after those that warm up.
        precision: of the trainer.
        options: of `Classifier`.

    Attributes:
        warm_up: seconds of the first steps of all; what is compiled is compiled there.
    """

    warm_up = 0.0

    def __init__(self, data: Cifar10, *, steps: int, precision: Any, **options: Any) -> None:
        self.data, self.steps, self.precision = data, steps, precision
        net = ResNet(data.input_shape, data.num_classes)
        sgd = partial(torch.optim.SGD, fused=True, **_SGD)
        self.module = Classifier(net, CrossEntropy(), num_classes=data.num_classes, optimizer=sgd, **options)

    def __call__(self) -> float:
        """Return the seconds of an image."""
        clock = Clock(skip=WARM_UP)
        length = {"max_steps": WARM_UP + self.steps, "precision": self.precision}
        quiet_trainer(clock, LabelCorruption(Resample(p=0.1)), **length).fit(self.module, self.data)
        self.warm_up = self.warm_up or clock.warm_up
        return clock.seconds / (self.steps * self.data.batch_size)


class EvaluationClock(Callback):
    """Time an evaluation without what Lightning does before and after it."""

    seconds = 0.0

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start."""
        self._began = time.perf_counter()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop."""
        self.seconds = time.perf_counter() - self._began


def evaluate(training: Training, *, counted: bool) -> float:
    """Evaluate a network on its data, and return the seconds of an image."""
    clock, data = EvaluationClock(), training.data
    callbacks = [clock, *([SparsityMonitor()] if counted else [])]
    options = {"precision": training.precision, "limit_val_batches": 1.0, "inference_mode": False}
    quiet_trainer(*callbacks, **options).validate(training.module, data, verbose=False)
    return clock.seconds / sum(len(data.eval_samples(split)) for split in data.eval_splits)
