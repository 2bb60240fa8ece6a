"""The training of one network of any kind, by minibatches."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.loggers import WandbLogger
from rich.console import Console
from rich.table import Table

from noisereg.callbacks import LabelCorruption
from noisereg.datasets import InMemory
from noisereg.experiment.build import (
    Settings,
    as_config_error,
    build,
    build_loss,
    build_model,
    build_rule,
    build_schedule,
    build_scheduler,
    precision,
    target_name,
)
from noisereg.experiment.training import Training, describe, spread
from noisereg.modules import Classifier
from noisereg.tracking import AtomicCheckpointIO, CurveTable, ProgressLines, summary


class ClassifierTraining(Training):
    """One network, one seed, one p.

    Args:
        settings: the whole configuration.
        data: of the seed.
        folder: of the run.
        console: to print on.
        open_wandb: called when all else has been built; gives a logger, or None if it is not wanted.
    """

    module: Classifier
    data: InMemory
    curves: CurveTable

    def __init__(
        self,
        settings: Settings,
        data: InMemory,
        *,
        folder: Path,
        console: Console,
        open_wandb: Callable[[], WandbLogger | None],
    ) -> None:
        self.settings, self.data, self.folder = settings, data, folder
        (lr,), (p,), (self.seed,) = spread(settings).values()
        self.module = build_module(settings, data, lr=lr, seed=self.seed)
        self.rule = build_rule(settings, p, num_classes=data.num_classes)
        path = folder / "metrics.csv" if settings["logger"]["csv"] else None
        self.curves = CurveTable(path, p=self.rule.p, seed=self.seed)
        noise = LabelCorruption(self.rule, seed=self.seed, schedule=build_schedule(settings))
        bar = RichProgressBar(20) if console.is_terminal else ProgressLines(console)
        callbacks: list[Callback] = [noise, bar]
        for name, section in settings["callbacks"].items():
            callbacks.append(
                build(f"callbacks.{name}", section) if name != "checkpoint" else _checkpoint(section, folder)
            )
        self.trainer = build(
            "trainer",
            settings["trainer"],
            callbacks=callbacks,
            logger=[self.curves, *([logger] if (logger := open_wandb()) else [])],
            plugins=[AtomicCheckpointIO()],
            enable_progress_bar=console.is_terminal,
            default_root_dir=str(folder),
        )

    def headlines(self) -> list[str]:
        weights = sum(weight.numel() for weight in self.module.model.parameters())
        rate = self.rule.effective_rate(self.data.num_classes)
        sizes = ", ".join(f"{len(split):,} {name}" for name, split in self.data.splits.items())
        model, loss = target_name(self.settings["model"]), target_name(self.settings["loss"])
        return [
            f"data    {self.data.source}: {sizes} samples, {self.data.num_classes} classes",
            f"model   {model}, {weights:,} weights; loss {loss}",
            f"noise   {describe(self.rule)} p={self.rule.p:g}: a label changes with probability {rate:g}",
        ]

    def train(self) -> None:
        """Evaluate at the start, train, and evaluate at the end if the last epoch did not."""
        last = self.folder / "checkpoints" / "last.ckpt"
        if not last.exists():
            with as_config_error():  # a callback's pattern may name no layer
                self.trainer.validate(self.module, self.data, verbose=False)
        self.trainer.fit(self.module, self.data, ckpt_path=str(last) if last.exists() else None, weights_only=True)
        if "test/error" not in self.curves.rows[-1]:
            self.trainer.validate(self.module, self.data, verbose=False)
        self.trainer.save_checkpoint(last)

    def results(self) -> list[dict[str, Any]]:
        best = self.curves.best("test/error")
        return [{"p": self.rule.p, "seed": self.seed, **self.curves.last(), **best}]

    def summary(self) -> Table:
        return summary(self.curves.rows)

    @property
    def source(self) -> str:
        return self.data.source

    @property
    def steps(self) -> int:
        return self.trainer.global_step


def build_module(settings: Settings, data: InMemory, *, lr: float, seed: int) -> Classifier:
    """Make the network for the data, and the module that trains it."""
    module = Classifier(
        build_model(settings, seed, input_shape=data.input_shape, num_classes=data.num_classes),
        build_loss(settings),
        num_classes=data.num_classes,
        optimizer=build("optimizer", {**settings["optimizer"], "lr": lr}),
        scheduler=build_scheduler(settings),
        seed=seed,
    )
    return module.to(precision(settings))


def _checkpoint(section: dict[str, Any], folder: Path) -> Callback:
    """Make the callback that saves at the end of every few epochs, or every few steps if that is asked for."""
    by_steps = {"every_n_epochs": None, "save_on_train_epoch_end": False} if section.get("every_n_train_steps") else {}
    return build("callbacks.checkpoint", {**section, **by_steps}, dirpath=str(folder / "checkpoints"))
