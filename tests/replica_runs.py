"""Small trainings of stacked replicas, and the plain Lightning training of each alone, for tests that compare them."""

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from lightning.pytorch import Trainer

from noisereg.callbacks import LabelCorruption
from noisereg.datasets import Hypercube
from noisereg.engine import Blocked, Fused, Stack
from noisereg.engine.chunks import Timeline
from noisereg.engine.classifier import Classifier
from noisereg.engine.replica_data import ReplicaData
from noisereg.engine.replicas import Replicas
from noisereg.engine.two_layer import TwoLayerEngine
from noisereg.losses import Logistic
from noisereg.models import TwoLayer
from noisereg.noise import Resample
from noisereg.runs.curves import Curves
from noisereg.runs.lightning_logger import ObserverLogger

ENGINES = {"fused": lambda loss, batch_size: Fused(loss), "blocked": lambda loss, n: Blocked(loss, batch_size=n)}
FEW_POINTS = partial(Hypercube, d=6, train_size=20, test_size=30)


@dataclass(frozen=True)
class Replica:
    p: float = 0.0
    seed: int = 0
    lr: float = 0.1


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What all replicas of a training have in common. Each rate is halved every `halve_every` epochs."""

    num_epochs: int = 15
    batch_size: int = 1
    max_steps: int | None = None
    rule: Any = Resample
    schedule: Any = None
    halve_every: int | None = None
    data: Any = FEW_POINTS
    hidden: int = 8

    def make_data(self, seed):
        data = self.data(seed=seed, batch_size=self.batch_size)
        data.setup()
        return data

    def make_network(self, seed):
        return TwoLayer((6,), 1, hidden=self.hidden, init="torch", bias="same", seed=seed)


class StackedTraining:
    """A training of several replicas in float64; `run` starts it, or goes on from a checkpoint."""

    def __init__(
        self, replicas, recipe=None, *, engine="fused", every_n_epochs=5, rates=None, path=None, callbacks=(), **options
    ):
        recipe = recipe or Recipe()
        seeds = [replica.seed for replica in replicas]
        plan = Timeline(
            num_epochs=recipe.num_epochs,
            every_n_epochs=every_n_epochs,
            n=len(recipe.make_data(seeds[0]).epoch_samples(0)),
            batch_size=recipe.batch_size,
            max_steps=recipe.max_steps,
        )
        if rates is None:
            rates = torch.tensor([[replica.lr for replica in replicas]], dtype=torch.float64)
        if recipe.halve_every:
            rates = rates * 0.5 ** (torch.arange(plan.num_epochs) // recipe.halve_every)[:, None]
        # Lightning reads a checkpoint before it converts the weights to the precision of the training
        self.stack = Stack.of([recipe.make_network(seed) for seed in seeds]).double()
        self.engine = TwoLayerEngine(self.stack, ENGINES[engine](Logistic(), recipe.batch_size), Logistic())
        self.module = Replicas(self.engine, timeline=plan, rates=rates, **options)
        self.data = ReplicaData(recipe.make_data, seeds, plan, prepare=self.stack.prepare)
        self.curves = Curves(path, [vars(replica) for replica in replicas])
        logger = ObserverLogger(self.curves)
        rules = [recipe.rule(p=replica.p) for replica in replicas]
        self.corruption = LabelCorruption(rules, seed=seeds, schedule=recipe.schedule)
        self.trainer = Trainer(
            precision="64-true",
            accelerator="cpu",
            max_epochs=plan.num_legs,
            limit_val_batches=0,
            log_every_n_steps=1,
            logger=logger,
            callbacks=[self.corruption, logger, *callbacks],
            enable_progress_bar=False,
            enable_checkpointing=any("Checkpoint" in type(callback).__name__ for callback in callbacks),
            enable_model_summary=False,
        )

    def run(self, checkpoint=None):
        self.trainer.fit(self.module, self.data, ckpt_path=checkpoint, weights_only=True)
        return self

    def weights(self, replica):
        """Return all weights of one replica in one vector."""
        return weights_of(self.stack, replica)

    def rows(self, replica):
        """Return the curve of one replica."""
        frame = self.curves.frame()
        mine = (frame["p"] == replica.p) & (frame["seed"] == replica.seed) & (frame["lr"] == replica.lr)
        rows = frame[mine].to_dict("records")
        return [{key: value for key, value in row.items() if not math.isnan(value)} for row in rows]


def weights_of(stack, replica):
    """Return all weights of one replica in one vector."""
    return torch.cat([weight[replica].detach().flatten() for weight in stack.parameters()])


def train_one_replica(replica, recipe, *, callbacks=(), logger=False):
    """Train one replica as `Classifier` does, a Lightning step for a step, and return the module."""
    scheduler = recipe.halve_every and partial(torch.optim.lr_scheduler.StepLR, step_size=recipe.halve_every, gamma=0.5)
    module = Classifier(
        recipe.make_network(replica.seed),
        Logistic(),
        num_classes=2,
        optimizer=partial(torch.optim.SGD, lr=replica.lr),
        scheduler=scheduler,
        seed=replica.seed,
    )
    noise = LabelCorruption(recipe.rule(p=replica.p), seed=replica.seed, schedule=recipe.schedule)
    trainer = Trainer(
        precision="64-true",
        accelerator="cpu",
        max_epochs=recipe.num_epochs,
        max_steps=recipe.max_steps or -1,
        limit_val_batches=1.0 if logger else 0,
        num_sanity_val_steps=0,
        inference_mode=False,
        log_every_n_steps=1,
        logger=logger,
        callbacks=[noise, *callbacks],
        enable_progress_bar=False,
        enable_checkpointing=False,
        enable_model_summary=False,
    )
    data = recipe.make_data(replica.seed)
    if logger:
        trainer.validate(module, data, verbose=False)
    trainer.fit(module, data)
    return module


def log_one_replica(replica, recipe, *, callbacks):
    """Return the rows that a training of one replica logs, by epoch."""
    curves = Curves(None, [{"p": replica.p, "seed": replica.seed}])
    train_one_replica(replica, recipe, callbacks=callbacks, logger=ObserverLogger(curves))
    rows = curves.frame().to_dict("records")
    return {row["epoch"]: {key: value for key, value in row.items() if not math.isnan(value)} for row in rows}
