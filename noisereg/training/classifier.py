"""The training of one network of any kind, by minibatches."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.loggers import WandbLogger
from rich.console import Console
from rich.table import Table

from noisereg.callbacks import LabelCorruption, SparsityMonitor
from noisereg.config.check import Settings
from noisereg.config.plan import spread
from noisereg.config.targets import target_name
from noisereg.datasets import InMemory, check_shares
from noisereg.engine.classifier import Classifier
from noisereg.files.atomic import write_atomically
from noisereg.runs.checkpoints import AtomicCheckpointIO, find_checkpoint
from noisereg.runs.curves import CurveTable
from noisereg.runs.environment import is_first_process
from noisereg.runs.progress import ProgressLines, summary
from noisereg.training.analysis import analyse
from noisereg.training.build import (
    as_config_error,
    as_data_config_error,
    build,
    build_loss,
    build_model,
    build_optimizer,
    build_rule,
    build_schedule,
    build_scheduler,
    precision,
)
from noisereg.training.training import Training, describe


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
        self.settings, self.data, self.folder, self.console = settings, data, folder, console
        self.analysed: dict[str, float] = {}
        (lr,), (p,), (self.seed,) = spread(settings).values()
        world = settings["trainer"]["devices"] * settings["trainer"].get("num_nodes", 1)
        with as_data_config_error(data):
            check_shares(len(data.stream(0)), data.batch_size, world=world)
        self.module = build_module(settings, data, lr=lr, seed=self.seed)
        self.rule = build_rule(settings, p, num_classes=data.num_classes)
        path = folder / "metrics.csv" if settings["logger"]["csv"] else None
        self.curves = CurveTable(path, p=self.rule.p, seed=self.seed)
        noise = LabelCorruption(self.rule, seed=self.seed, schedule=build_schedule(settings))
        bar = RichProgressBar(20) if console.is_terminal else ProgressLines(console)
        callbacks: list[Callback] = [noise, bar, self.curves]
        for name, section in settings["callbacks"].items():
            where = {"dirpath": str(self.checkpoints)} if name == "checkpoint" else {}
            callback = build(f"callbacks.{name}", section, **where)
            callbacks.append(callback)
            if isinstance(callback, SparsityMonitor):
                with as_config_error(f"callbacks.{name}", type(callback)):
                    callback.find(self.module)
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
        found = find_checkpoint(self.checkpoints)
        if found is None:
            with as_data_config_error(self.data):  # a callback may not fit the data
                self.trainer.validate(self.module, self.data, verbose=False)
        self.trainer.fit(self.module, self.data, ckpt_path=found, weights_only=True)
        if "test/error" not in self.curves.rows[-1]:
            self.trainer.validate(self.module, self.data, verbose=False)
        self.trainer.save_checkpoint(self.checkpoints / "last.ckpt")

    def results(self) -> list[dict[str, Any]]:
        best = self.curves.best("test/error")
        selected = self.curves.selected("test/error", by="val/error")
        return [{"p": self.rule.p, "seed": self.seed, **self.curves.last(), **best, **selected, **self.analysed}]

    def finish(self, *, figures: bool) -> None:
        """Analyse the trained network, in the first process, and keep what figures of the report are drawn of."""
        if is_first_process():
            with self.console.status("analysing"):
                analysis = analyse(self.module, self.data, self.trainer)
            for note in analysis.notes:
                self.console.print(f"not analysed: {note}", highlight=False, soft_wrap=True)
            self.analysed, arrays = analysis.values, analysis.arrays
            path = self.folder / "analysis.npz"
            write_atomically(path, lambda file: np.savez_compressed(file, allow_pickle=False, **arrays))
            for logger in self.trainer.loggers:
                if isinstance(logger, WandbLogger):
                    logger.experiment.summary.update(self.results()[0])
        self.trainer.strategy.barrier()  # the others are about to read what this one writes

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
    model = build_model(settings, seed, input_shape=data.input_shape, num_classes=data.num_classes)
    weights = list(model.parameters())
    optimizer = build_optimizer(settings, lr, weights=weights)
    module = Classifier(
        model,
        build_loss(settings),
        num_classes=data.num_classes,
        optimizer=optimizer,
        scheduler=build_scheduler(settings, optimizer(weights)),
        seed=seed,
        channels_last=settings["channels_last"],
        compile=settings["compile"],
    )
    return module.to(precision(settings))
