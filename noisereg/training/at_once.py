"""The training of all replicas of a run at once, by an engine."""

import math
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float64
from lightning.pytorch import Callback
from rich.console import Console
from torch import Tensor, nn

from noisereg.callbacks import EarlyEnd, LabelCorruption, RunCheckpoint
from noisereg.config.check import Settings
from noisereg.config.plan import Plan
from noisereg.datasets import InMemory
from noisereg.engine.chunks import Timeline
from noisereg.engine.engine import Engine
from noisereg.engine.measure import num_threads, one_thread_each
from noisereg.engine.replica_data import ReplicaData
from noisereg.engine.replicas import Replicas
from noisereg.engine.two_layer import TwoLayerEngine
from noisereg.errors import ConfigError
from noisereg.labels import name_replica
from noisereg.runs.checkpoints import AtomicCheckpointIO
from noisereg.runs.lightning_logger import ObserverLogger
from noisereg.runs.progress import RunDisplay, RunProgress
from noisereg.training.analysis import Analysis, analyse
from noisereg.training.build import (
    as_config_error,
    build,
    build_callback,
    build_schedule,
    build_scheduler,
    build_trial,
    convert_weights,
)
from noisereg.training.monitors import MonitorCheck, refuse_unheard
from noisereg.training.training import Place, Training

_OURS = ("sparsity", "norms", "gradients", "checkpoint")  # callbacks whose work `Replicas` and its engine do


class AllAtOnce(Training):
    """Train all replicas at once by one engine.

    Args:
        plan: of them.
        data: of the first seed.
        folder: where they are trained.
        console: to print on.
        networks: of the engine.
        engine: which one it is, in words.
        place: of them in a larger run; None if they are a run of their own.
    """

    def __init__(
        self,
        plan: Plan,
        data: InMemory,
        *,
        folder: Path,
        console: Console,
        networks: Engine,
        engine: str,
        place: Place | None = None,
    ) -> None:
        super().__init__(plan, data, folder=folder, console=console)
        settings = plan.settings
        self._engine, self.engine = networks, engine
        self.timeline = build_timeline(settings, n=data.epoch_size)
        seeds = [replica["seed"] for replica in plan.replicas]
        module = Replicas(
            networks,
            timeline=self.timeline,
            rates=learning_rates(
                settings, [replica["lr"] for replica in plan.replicas], num_epochs=self.timeline.num_epochs
            ),
            extra_epochs=settings["stopping"]["extra_epochs"],
            names=list(map(name_replica, plan.replicas)),
        )
        self.module = convert_weights(module, settings)
        self.fit_data = ReplicaData(
            self.build_data,
            seeds,
            self.timeline,
            prepare=networks.prepare,
            crosses_epochs=networks.crosses_epochs,
            chunked_as=[replica["seed"] for replica in place.run.replicas] if place else seeds,
        )
        if isinstance(networks, TwoLayerEngine):
            networks.begin_compiling(self.fit_data.first_rows())
        self._logger = ObserverLogger(self.curves, self.observers, replicas=place.numbers if place else None)
        # a leg ends with a measurement, at which callbacks are to look
        of_legs: dict[str, Any] = {"max_epochs": self.timeline.num_legs, "check_val_every_n_epoch": 1}
        of_legs |= {"max_steps": -1, "gradient_clip_val": None}
        self.trainer = build(
            "trainer",
            {**settings["trainer"], **of_legs},
            callbacks=self._callbacks(seeds, place),
            logger=[self._logger],
            plugins=[AtomicCheckpointIO(self.origin)],
            enable_progress_bar=False,
            limit_val_batches=0,
            default_root_dir=str(self.folder),
        )
        self.device = self.trainer.strategy.root_device
        self.num_weights = sum(weight[0].numel() for weight in networks.networks.parameters())
        self.num_bytes = sum(tensor.nbytes for tensor in self.module.state_dict().values())

    def build_data(self, seed: int) -> InMemory:
        """Build the data of a seed, or return those that are there already.

        Raises:
            ConfigError: if the files are others by now, or the data are of another size than those of the first seed.
        """
        data = super().build_data(seed)
        if (own := _sizes(data)) != (first := _sizes(self.data)):
            raise ConfigError(
                f"{type(data).__name__} has {own} for seed {seed} and {first} for seed {self.data.seed}, "
                "and replicas that are trained at once need as many: take engine=single"
            )
        return data

    def _callbacks(self, seeds: list[int], place: Place | None) -> list[Callback]:
        settings, timeline = self.settings, self.timeline
        network = None if isinstance(self._engine, TwoLayerEngine) else build_trial(settings, self.data)
        where: dict[str, Any] = {"folder": self.folder, "network": network, "data": self.data}
        built = {name: build_callback(settings, name, **where) for name in settings["callbacks"]}
        given = {name: callback for name, callback in built.items() if name not in _OURS}
        refuse_unheard(given)
        num_epochs = math.ceil(timeline.num_draws / timeline.n)
        display = RunDisplay(self.console, num_epochs, parts=[self.plan.numbers], names=self.plan.names)
        every = settings["callbacks"].get("checkpoint", {}).get("every_n_epochs", timeline.every_n_epochs)
        self._early_end = EarlyEnd([*given.values()])
        return [
            LabelCorruption(self.rules, seed=seeds, schedule=build_schedule(settings)),
            RunProgress(place.display, place=place.number) if place else RunProgress(display),
            self._logger,
            RunCheckpoint(self.folder / "checkpoints", every_n_epochs=max(1, every // timeline.every_n_epochs)),
            *given.values(),
            self._early_end,
            MonitorCheck(built),
        ]

    @property
    def steps(self) -> int:  # type: ignore[override]
        """Steps of the optimiser that each replica has made which was not stopped."""
        return self.module.steps_done

    def train(self) -> None:
        """Train, with a measurement at the start and one after each stretch."""
        self.trainer.fit(self.module, self.fit_data, ckpt_path=self.start, weights_only=True)
        self.trainer.save_checkpoint(self.folder / "checkpoints" / "last.ckpt")

    def finish(self) -> list[dict[str, Any]]:
        """Analyse each network, as many at a time as there are threads."""
        model = convert_weights(build_trial(self.settings, self.data), self.settings).to(self.device)
        threads = num_threads(self._engine.threads, self.device)
        with self.console.status("analysing"), one_thread_each(threads) as map_all:
            analyses = list(map_all(partial(self._analyse, model), range(len(self.plan.replicas))))
        fires = self._engine.fires()
        status = self.module.status(early=self._early_end.ended_by)
        return self.leave_results(analyses, None if fires is None else fires.cpu().numpy(), status)

    def _analyse(self, model: nn.Module, number: int) -> Analysis:
        """Analyse one network."""
        if not self.module.finite[number]:
            return Analysis()
        own = deepcopy(model)
        self._engine.copy_to(own, number)
        return analyse(own, self.fit_data.data_of(number), device=self.device)


def _sizes(data: InMemory) -> str:
    return f"{data.epoch_size:,} training samples and {data.num_classes} classes"


def build_timeline(settings: Settings, *, n: int) -> Timeline:
    """Compute how long the training is, and how often it stops for a measurement."""
    trainer = settings["trainer"]
    return Timeline(
        num_epochs=trainer["max_epochs"],
        every_n_epochs=min(trainer.get("check_val_every_n_epoch", 1), trainer["max_epochs"]),
        n=n,
        batch_size=settings["dataset"]["batch_size"],
        max_steps=None if trainer["max_steps"] < 0 else trainer["max_steps"],
    )


def learning_rates(settings: Settings, base: list[float], *, num_epochs: int) -> Float64[Tensor, "epochs replicas"]:
    """Tabulate the learning rate of each replica in each epoch, as the scheduler of torch computes it.

    Raises:
        ConfigError: if the schedule moves something else than the learning rate.
    """
    make = build_scheduler(settings)
    if make is None:
        return torch.tensor([base], dtype=torch.float64)
    distinct = list(dict.fromkeys(base))
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": lr} for lr in distinct]
    optimizer = torch.optim.SGD(groups, momentum=0.9)
    others = {key: value for key, value in optimizer.defaults.items() if key != "lr"}
    with as_config_error("scheduler"):
        scheduler, table = make(optimizer), []
    for _ in range(num_epochs):
        table.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
        moved = [key for group in optimizer.param_groups for key, value in others.items() if group[key] != value]
        if moved:
            raise ConfigError(f"scheduler moves the {moved[0]} too, which needs engine=single")
    return torch.tensor(table, dtype=torch.float64)[:, [distinct.index(lr) for lr in base]]
