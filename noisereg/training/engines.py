"""Which engine trains the replicas of a plan: the fastest that can, and why a faster one cannot."""

from dataclasses import dataclass

import torch

from noisereg.config.plan import ENGINES, Plan
from noisereg.config.targets import target_name
from noisereg.datasets import InMemory
from noisereg.engine import Blocked, Fused, Stack
from noisereg.engine.engine import Engine
from noisereg.engine.slopes import compiled_slope
from noisereg.engine.two_layer import TwoLayerEngine
from noisereg.errors import ConfigError
from noisereg.training.build import build_loss, build_model


@dataclass(frozen=True)
class Choice:
    """The engine of a run.

    Attributes:
        name: of the engine.
        passed_over: what kept the next faster one; empty if there is none.
    """

    name: str
    passed_over: str

    def in_words(self, plan: Plan) -> str:
        """Return which engine trains what, as in "fused: 40 replicas at once (20 seeds for each p)"."""
        count, seeds = len(plan.replicas), len(plan.axes["seed"])
        if self.name != "single":
            what = f"{count} replicas at once ({seeds} seeds for each p)"
        else:
            what = "one network" if count == 1 else f"{count} replicas, one after the other"
        return f"{self.name}: {what}" + (f"; {self.passed_over}" if self.passed_over else "")


def choose_engine(plan: Plan, data: InMemory) -> Choice:
    """Take the engine that the configuration names, or the fastest that can train the replicas.

    Args:
        plan: of the run.
        data: of the first seed.

    Raises:
        ConfigError: if the one that is named cannot, saying why.
    """
    obstacles = _built_obstacles(plan, data) | plan.obstacles()
    asked = plan.asked
    if asked != "auto":
        if reason := obstacles.get(asked):
            raise ConfigError(f"engine={asked} cannot run: {reason}; set engine=auto")
        return Choice(asked, "")
    name = next(engine for engine in ENGINES if engine not in obstacles)
    faster = ENGINES[: ENGINES.index(name)]
    return Choice(name, f"not {faster[-1]}, as {obstacles[faster[-1]]}" if faster else "")


def build_engine(name: str, plan: Plan, data: InMemory) -> Engine:
    """Build an engine with the networks of all replicas; the initial weights of a seed are made once."""
    settings, loss = plan.settings, build_loss(plan.settings)
    shape, classes = data.input_shape, data.num_classes
    seeds = [replica["seed"] for replica in plan.replicas]
    models = {
        seed: build_model(settings, seed, input_shape=shape, num_classes=classes) for seed in dict.fromkeys(seeds)
    }
    networks = [models[seed] for seed in seeds]
    steps = (
        Fused(loss, threads=torch.get_num_threads())
        if name == "fused"
        else Blocked(loss, batch_size=settings["dataset"]["batch_size"])
    )
    return TwoLayerEngine(Stack.of(networks), steps, loss)


def _built_obstacles(plan: Plan, data: InMemory) -> dict[str, str]:
    """Return for each engine what keeps it from the training, as far as the built parts tell."""
    settings, found = plan.settings, {"stacked": "it is not there yet"}
    loss = build_loss(settings)
    if compiled_slope(loss) is None:
        found["fused"] = f"loss {target_name(settings['loss'])} is not compiled"
    if settings["trainer"]["accelerator"] != "cpu" and torch.accelerator.is_available():
        found["fused"] = "it runs on CPUs (trainer.accelerator=cpu)"
    if getattr(data, "streamed", False):
        found |= dict.fromkeys(("fused", "blocked", "stacked"), "dataset.stream reads images batch by batch")
    return found
