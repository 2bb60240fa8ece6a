"""The training of many small networks at once: a grid of p, seeds and learning rates in one process."""

import math
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
import torch
from jaxtyping import Float64
from lightning.pytorch import Callback
from lightning.pytorch.loggers import WandbLogger
from rich.console import Console
from rich.table import Table
from torch import Tensor

from noisereg import report
from noisereg.callbacks import ReplicaCorruption, RunCheckpoint
from noisereg.config.check import Settings
from noisereg.config.plan import spread
from noisereg.config.targets import target_name
from noisereg.datasets import InMemory
from noisereg.engine import Blocked, Fused, Stack
from noisereg.engine.chunks import Timeline
from noisereg.engine.replica_data import ReplicaData
from noisereg.engine.replicas import Replicas
from noisereg.engine.slopes import compiled_slope
from noisereg.errors import ConfigError
from noisereg.files.atomic import write_atomically
from noisereg.losses import Loss
from noisereg.runs.checkpoints import AtomicCheckpointIO, find_checkpoint
from noisereg.runs.dashboard import WandbBands
from noisereg.runs.replica_curves import ReplicaCurves
from noisereg.runs.replica_progress import StepsProgress
from noisereg.training.build import (
    as_config_error,
    build,
    build_data,
    build_loss,
    build_model,
    build_rule,
    build_schedule,
    build_scheduler,
    precision,
)
from noisereg.training.summary import replica_summary
from noisereg.training.training import Training, describe

_OURS = ("sparsity", "norms", "checkpoint")  # callbacks that `Replicas` stands in for
_FEW = 10  # samples that tell whether inputs are mostly zero


class ReplicaTraining(Training):
    """A grid of replicas.

    Args:
        settings: the whole configuration.
        data: of the first seed.
        folder: of the run.
        console: to print on.
        open_wandb: called when all else has been built; gives a logger, or None if it is not wanted.
    """

    module: Replicas
    data: ReplicaData
    curves: ReplicaCurves

    def __init__(
        self,
        settings: Settings,
        data: InMemory,
        *,
        folder: Path,
        console: Console,
        open_wandb: Callable[[], WandbLogger | None],
    ) -> None:
        if getattr(data, "streamed", False):
            raise ConfigError("dataset.stream: replicas need all images in memory; set it to false, or engine=none")
        self.settings, self.folder = settings, folder
        axes = spread(settings)
        self.grid = [dict(zip(axes, values, strict=True)) for values in product(*axes.values())]
        self.rules = [build_rule(settings, replica["p"], num_classes=data.num_classes) for replica in self.grid]
        self.plan = build_plan(settings, n=len(data.stream(0)))
        self.module = self._build_module(data)
        self.data = ReplicaData(
            lambda seed: data if seed == self.seeds[0] else build_data(settings, seed),
            self.seeds,
            self.plan,
            prepare=self.module.stack.prepare,
        )
        if isinstance(self.engine, Fused):
            few = data.splits["train"].select(torch.arange(min(_FEW, len(data.splits["train"]))))
            self.engine.prepare(self.module.stack, self.data.rows(data, few)[0])
        names = ["p", "seed"] + (["lr"] if len(axes["lr"]) > 1 else [])
        self.names = [{name: replica[name] for name in names} for replica in self.grid]
        self.curves = ReplicaCurves(folder / "metrics.csv" if settings["logger"]["csv"] else None, self.names)
        callbacks = self._build_callbacks(console)
        logger = open_wandb()
        self.bands = [WandbBands(logger.experiment, self.names)] if logger else []
        self.trainer = build(
            "trainer",
            {**settings["trainer"], "max_epochs": self.plan.num_legs, "max_steps": -1},
            callbacks=callbacks,
            logger=[self.curves, *self.bands],
            plugins=[AtomicCheckpointIO()],
            enable_progress_bar=False,
            limit_val_batches=0,
            default_root_dir=str(folder),
        )

    @property
    def seeds(self) -> list[int]:
        """Seed of each replica."""
        return [replica["seed"] for replica in self.grid]

    def _build_module(self, data: InMemory) -> Replicas:
        settings, num_epochs = self.settings, self.plan.num_epochs
        loss = build_loss(settings)
        self.engine = choose_engine(settings, loss)
        module = Replicas(
            build_stack(settings, data, self.seeds),
            self.engine,
            loss,
            plan=self.plan,
            rates=learning_rates(settings, [replica["lr"] for replica in self.grid], num_epochs=num_epochs),
            extra_epochs=settings["stopping"]["extra_epochs"],
            names=[" ".join(f"{key}={value:g}" for key, value in replica.items()) for replica in self.grid],
        )
        return module.to(precision(settings))

    def _build_callbacks(self, console: Console) -> list[Callback]:
        settings, plan = self.settings, self.plan
        more = {name: section for name, section in settings["callbacks"].items() if name not in _OURS}
        return [
            ReplicaCorruption(self.rules, self.seeds, schedule=build_schedule(settings)),
            StepsProgress(console, math.ceil(plan.num_draws / plan.n), num_replicas=len(self.grid)),
            self.curves,
            self._checkpoint(plan),
            *(build(f"callbacks.{name}", section) for name, section in more.items()),
        ]

    def headlines(self) -> list[str]:
        axes, weights = spread(self.settings), sum(tensor[0].numel() for tensor in self.module.stack.parameters())
        p = ", ".join(f"{value:g}" for value in axes["p"])
        rates = [rule.effective_rate(self.data.num_classes) for rule in self.rules]
        return [
            f"data    {self.data.source}: {self.plan.n:,} draws an epoch, {self.data.num_classes} classes",
            f"model   {target_name(self.settings['model'])}, {weights:,} weights; "
            f"loss {target_name(self.settings['loss'])}",
            f"noise   {describe(self.rules[0])} p = {p}: "
            f"a label changes with probability {', '.join(f'{rate:g}' for rate in dict.fromkeys(rates))}",
            f"engine  {self.engine.name}: {len(self.grid)} replicas at once ({len(axes['seed'])} seeds for each p)",
        ]

    def train(self) -> None:
        """Train, with a measurement at the start and one after each stretch."""
        found = find_checkpoint(self.checkpoints)
        self.trainer.fit(self.module, self.data, ckpt_path=found, weights_only=True)
        self.trainer.save_checkpoint(self.checkpoints / "last.ckpt")

    def results(self) -> list[dict[str, Any]]:
        rows = zip(self.curves.results("test/error"), self.module.status(), strict=True)
        return [{**row, **status} for row, status in rows]

    def finish(self, *, figures: bool) -> None:
        """Draw the figures, keep how often each neuron fired, and show figures and replicas on W&B."""
        rows = self.results()
        charts = self._charts(rows) if figures else {}
        for name, chart in charts.items():
            report.save(chart, self.folder / "figures" / name)
        if self.module.fires.shape[2]:
            counts = self.module.fires.cpu().numpy()
            write_atomically(self.folder / "fires.npz", lambda file: np.savez_compressed(file, train=counts))
        for bands in self.bands:
            bands.finish(rows, [self.folder / "figures" / f"{name}.png" for name in charts])

    def summary(self) -> Table:
        return replica_summary(self.results())

    def _charts(self, rows: list[dict[str, Any]]) -> dict[str, alt.TopLevelMixin]:
        model, loss = (target_name(self.settings[part]) for part in ("model", "loss"))
        title = f"{model} on {self.data.source} under {type(self.rules[0]).__name__}"
        subtitle = f"{self.plan.num_epochs:,} epochs of {self.plan.n:,} draws, loss {loss}"
        return {
            "curves": report.curves(self.curves.frame(), title=title, subtitle=subtitle),
            "against_p": report.against_p(rows, title=title, subtitle=subtitle),
        }

    @property
    def source(self) -> str:
        return self.data.source

    @property
    def steps(self) -> int:
        return self.module.steps_done

    def _checkpoint(self, plan: Timeline) -> Callback:
        """Save after every few measurements, no matter how many steps Lightning sees in a chunk."""
        section = self.settings["callbacks"].get("checkpoint", {})
        every = max(1, section.get("every_n_epochs", plan.every_n_epochs) // plan.every_n_epochs)
        return RunCheckpoint(self.checkpoints, every_n_epochs=every)


def build_plan(settings: Settings, *, n: int) -> Timeline:
    """Say how long the training is, and how often it stops for a measurement."""
    trainer = settings["trainer"]
    every = settings["callbacks"].get("sparsity", {}).get("every_n_epochs", 1)
    return Timeline(
        num_epochs=trainer["max_epochs"],
        every_n_epochs=min(every, trainer["max_epochs"]),
        n=n,
        batch_size=settings["dataset"]["batch_size"],
        max_steps=None if trainer["max_steps"] < 0 else trainer["max_steps"],
    )


def build_stack(settings: Settings, data: InMemory, seeds: list[int]) -> Stack:
    """Make the network of each seed, once, and stack them."""
    shape, classes = data.input_shape, data.num_classes
    models = {
        seed: build_model(settings, seed, input_shape=shape, num_classes=classes) for seed in dict.fromkeys(seeds)
    }
    return Stack.of([models[seed] for seed in seeds])


def choose_engine(settings: Settings, loss: Loss) -> Fused | Blocked:
    """Take the compiled engine on a CPU where it can, else the one for any device."""
    asked, batch_size = settings["engine"], settings["dataset"]["batch_size"]
    on_cpu = settings["trainer"]["accelerator"] == "cpu" or not _has_accelerator()
    reasons = {
        f"dataset.batch_size={batch_size}; it takes one sample a step": batch_size > 1,
        f"loss={target_name(settings['loss'])}, which is not compiled": compiled_slope(loss) is None,
        "an accelerator; set trainer.accelerator=cpu": not on_cpu,
    }
    against = next((reason for reason, holds in reasons.items() if holds), None)
    if asked == "fused" and against:
        raise ConfigError(f"engine=fused cannot run with {against}; or take engine=blocked")
    if asked == "blocked" or against:
        return Blocked(loss, batch_size=batch_size)
    return Fused(loss, threads=torch.get_num_threads())


def learning_rates(settings: Settings, base: list[float], *, num_epochs: int) -> Float64[Tensor, "epochs replicas"]:
    """Tabulate the learning rate of each replica in each epoch, as the scheduler of torch gives it."""
    make = build_scheduler(settings)
    if make is None:
        return torch.tensor([base], dtype=torch.float64)
    distinct = list(dict.fromkeys(base))
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": lr} for lr in distinct]
    optimizer = torch.optim.SGD(groups)
    with as_config_error("scheduler"):
        scheduler, table = make(optimizer), []
    for _ in range(num_epochs):
        table.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    return torch.tensor(table, dtype=torch.float64)[:, [distinct.index(lr) for lr in base]]


def _has_accelerator() -> bool:
    return torch.accelerator.is_available()
