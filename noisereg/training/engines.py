"""Which engine trains the replicas of a plan: the fastest that can, and why a faster one cannot."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from noisereg.config.plan import ENGINES, Plan
from noisereg.config.sections import target_name
from noisereg.datasets import InMemory
from noisereg.engine import Blocked, Fused, Stack
from noisereg.engine.alike import describe_difference
from noisereg.engine.engine import Engine
from noisereg.engine.regularizer import why_not_penalised
from noisereg.engine.sgd import Sgd
from noisereg.engine.slopes import compiled_slope
from noisereg.engine.stackable import why_not
from noisereg.engine.stacked import StackedNetworks
from noisereg.engine.stacked_engine import StackedEngine
from noisereg.engine.two_layer import TwoLayerEngine
from noisereg.errors import ConfigError
from noisereg.metrics import eval_mode
from noisereg.training.at_once import learning_rates
from noisereg.training.build import (
    build,
    build_loss,
    build_models,
    build_optimizer,
    build_regularizer,
    example_inputs,
)
from noisereg.training.spread import ALONE, Spread

_MOST_OF_A_STEP = 200_000_000  # multiplications, of a step of one replica, beyond which stacking gains nothing
_MOST_OF_A_LOOP = 64_000_000  # the same, beyond which the matrix products of `blocked` are faster than a compiled loop
_MANY_STEPS = 50_000  # of all replicas of a run, which Python takes a minute to lead through
_MANY_MULTIPLICATIONS = 1e12  # of the forward passes of these, which take a minute


@dataclass(frozen=True)
class Choice:
    """The engine of a run.

    Attributes:
        name: of the engine.
        passed_over: what kept the next faster one; empty if there is none.
    """

    name: str
    passed_over: str

    def in_words(self, plan: Plan, spread: Spread = ALONE, *, num_parts: int = 1) -> str:
        """Return which engine trains what, as in "fused: 40 replicas at once (20 seeds for each p)"."""
        count, seeds = len(plan.replicas), len(plan.axes["seed"])
        if self.name != "single" and num_parts > 1:
            what = f"{count} replicas ({seeds} seeds for each p) in {num_parts} parts, {spread.in_words()}"
        elif self.name != "single":
            what = f"{count} replicas at once ({seeds} seeds for each p)"
        else:
            what = "one network" if count == 1 else f"{count} replicas, {spread.in_words()}"
        return f"{self.name}: {what}" + (f"; {self.passed_over}" if self.passed_over else "")


def choose_engine(plan: Plan, data: InMemory, network: nn.Module, *, begun_by: str | None = None) -> Choice:
    """Take the engine that the configuration names, or the fastest that can train the replicas.

    Args:
        plan: of the run.
        data: of the first seed.
        network: of the kind that is trained, to be tried; it stays as it is.
        begun_by: the engine that goes on with what it has begun; None if the run is new.

    Raises:
        ConfigError: if the one that is named cannot, saying why.
    """
    if build_regularizer(plan.settings).activity_l1 and (
        reason := why_not_penalised(network, example_inputs(data.input_shape))
    ):
        raise ConfigError(f"regularizer.activity_l1 does not fit {type(network).__name__}: {reason}; set it to 0")
    asked = begun_by if begun_by and plan.asked == "auto" else plan.asked
    obstacles = _built_obstacles(plan, data, network) | plan.obstacles()
    if plan.asked == "auto" and (name := plan.foreign_callback()):
        obstacles |= dict.fromkeys(ENGINES[:-1], f"callbacks.{name} may need hooks that engine=single alone calls")
    is_next = asked == "auto" and obstacles.keys() >= {"fused", "blocked"}
    if "stacked" not in obstacles and (is_next or asked == "stacked"):
        obstacles |= _trial_obstacle(plan, data, network)
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
    models = build_models(settings, seeds, input_shape=shape, num_classes=classes)
    networks, batch_size = [models[seed] for seed in seeds], settings["dataset"]["batch_size"]
    if name != "stacked":
        how: dict[str, Any] = {"batch_size": batch_size, "activity_l1": build_regularizer(settings).activity_l1}
        steps: Fused | Blocked = Blocked(loss, **how)
        if name == "fused":
            optimizer = settings["optimizer"]
            sgd = Sgd(**{key: optimizer[key] for key in Sgd._fields if key in optimizer})
            steps = Fused(loss, threads=torch.get_num_threads(), sgd=sgd, **how)
        return TwoLayerEngine(Stack.of(networks), steps, loss)
    if difference := describe_difference(networks):
        raise ConfigError(f"engine=stacked cannot run: of the networks {difference}; take engine=single")
    rates = [replica["lr"] for replica in plan.replicas]
    stacked = StackedNetworks(
        networks,
        loss,
        optimizer=build_optimizer(settings, rates[0], weights=list(networks[0].parameters())),
        rates=rates,
        clip_norm=settings["trainer"].get("gradient_clip_val"),
        compile=settings["compile"],
        regularizer=build_regularizer(settings),
        seeds=seeds,
    )
    measured: dict[str, Any] = {"norms_by_layer": settings["callbacks"].get("norms", {}).get("by_layer", "last")}
    if "sparsity" in settings["callbacks"]:
        monitor = build("callbacks.sparsity", settings["callbacks"]["sparsity"])
        measured |= {"counting": monitor.counting, "by_layer": monitor.by_layer}
    measured["gradient_samples"] = settings["callbacks"].get("gradients", {}).get("max_samples", 0)
    return StackedEngine(stacked, networks[0], loss, batch_size=batch_size, **measured)


def _built_obstacles(plan: Plan, data: InMemory, network: nn.Module) -> dict[str, str]:
    """Return for each engine what keeps it from the training, as far as the built parts tell."""
    settings, found = plan.settings, dict[str, str]()
    batch_size = settings["dataset"]["batch_size"]
    loss = build_loss(settings)
    if compiled_slope(loss) is None:
        found["fused"] = f"loss {target_name(settings['loss'])} is not compiled"
    if settings["trainer"]["accelerator"] != "cpu" and torch.accelerator.is_available():
        found["fused"] = "it runs on CPUs (trainer.accelerator=cpu)"
    if plan.asked == "auto" and batch_size > 1 and "blocked" not in plan.obstacles():
        count = count_multiplications(network, example_inputs(data.input_shape)) * batch_size
        if count > _MOST_OF_A_LOOP:
            found["fused"] = f"a step of {count / 1e6:,.0f} million multiplications is no slower in blocked"
    try:
        learning_rates(settings, plan.axes["lr"], num_epochs=settings["trainer"]["max_epochs"])
    except ConfigError as error:
        found |= dict.fromkeys(("fused", "blocked", "stacked"), str(error))
    if getattr(data, "streamed", False):
        found |= dict.fromkeys(("fused", "blocked", "stacked"), "dataset.stream reads images batch by batch")
    elif plan.asked == "auto" and len(plan.replicas) == 1:
        found["stacked"] = "one network gains nothing by it"
    return found


def _trial_obstacle(plan: Plan, data: InMemory, network: nn.Module) -> dict[str, str]:
    """Return what keeps the network of a plan from being stacked, if a trial shows that: it loads torch's compiler."""
    inputs = example_inputs(data.input_shape, num=4)
    if reason := why_not(network, inputs):
        return {"stacked": f"{type(network).__name__} cannot be stacked: {reason}"}
    count = count_multiplications(network, inputs) * plan.settings["dataset"]["batch_size"]
    if plan.asked == "auto" and count > _MOST_OF_A_STEP:
        return {"stacked": f"a step of {count / 1e6:,.0f} million multiplications gains nothing by it"}
    of_two_seeds = build_models(
        plan.settings, plan.axes["seed"][:2], input_shape=data.input_shape, num_classes=data.num_classes
    )
    if difference := describe_difference([*of_two_seeds.values()]):
        return {"stacked": f"{type(network).__name__} cannot be stacked: of two seeds {difference}"}
    return {}


def is_long(plan: Plan, data: InMemory, network: nn.Module) -> bool:
    """Return whether Lightning trains the replicas of a plan for more than a minute on any core."""
    size, trainer = plan.settings["dataset"]["batch_size"], plan.settings["trainer"]
    steps = trainer["max_epochs"] * math.ceil(data.epoch_size / size)
    if trainer["max_steps"] >= 0:
        steps = min(steps, trainer["max_steps"])
    steps *= len(plan.replicas)
    of_a_sample = count_multiplications(network, example_inputs(data.input_shape))
    return steps >= _MANY_STEPS or steps * size * of_a_sample >= _MANY_MULTIPLICATIONS


def count_multiplications(model: nn.Module, inputs: Tensor) -> float:
    """Count the multiplications of a forward pass, for a sample.

    Example:
        >>> count_multiplications(nn.Linear(4, 3), torch.zeros(5, 4))
        12.0
    """
    with eval_mode(model), torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(inputs)
    return counter.get_total_flops() / 2 / len(inputs)
