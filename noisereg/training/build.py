"""The parts of a run, built from a checked configuration; whatever they object to is told by its key."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from hydra._internal.utils import _locate
from hydra.utils import instantiate
from torch.nn import Parameter
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from noisereg.config.arguments import check_arguments
from noisereg.config.check import Settings
from noisereg.config.targets import check_object, targets
from noisereg.datasets import InMemory
from noisereg.errors import ConfigError
from noisereg.losses import Loss
from noisereg.noise import Rule, Schedule


def build_data(settings: Settings, seed: int) -> InMemory:
    """Make the data set of a seed and load it, so that a fault in its files ends the run before it begins."""
    data = build("dataset", settings["dataset"], seed=seed)
    with as_config_error():
        data.prepare_data()
        data.setup()
    return data


def build_model(settings: Settings, seed: int, *, input_shape: tuple[int, ...], num_classes: int) -> torch.nn.Module:
    """Make the network: one output for two classes, else one for each class, if the configuration names no number."""
    arguments = dict(settings["model"])
    named = arguments.pop("num_outputs", None)
    num_outputs = named or (1 if num_classes == 2 else num_classes)
    if max(num_outputs, 2) != num_classes:
        raise ConfigError(
            f"model.num_outputs={num_outputs} does not fit the {num_classes} classes of the data: "
            "give one output a class (or one for two classes), or null"
        )
    return build("model", arguments, input_shape=input_shape, num_outputs=num_outputs, seed=seed)


def build_loss(settings: Settings) -> Loss:
    """Make the loss."""
    return build("loss", settings["loss"])


def build_rule(settings: Settings, p: float, *, num_classes: int) -> Rule:
    """Make the noise rule for one strength; its schedule is the callback's."""
    section = {key: value for key, value in settings["noise"].items() if key != "schedule"}
    rule = build("noise", {**section, "p": p})
    with told_of("noise"):  # a matrix may be of another number of classes
        rule.redraw_law(num_classes)
    return rule


def build_schedule(settings: Settings) -> Schedule:
    """Make the schedule of the noise's strength."""
    return build("noise.schedule", settings["noise"]["schedule"])


def build_optimizer(settings: Settings, lr: float, *, weights: Sequence[Parameter]) -> Callable[..., Optimizer]:
    """Make what makes the optimiser of one learning rate, after a trial on the weights."""
    make = build("optimizer", {**settings["optimizer"], "_partial_": True, "lr": lr})
    with told_of("optimizer"):
        make(weights)
    return make


def build_scheduler(settings: Settings, optimizer: Optimizer | None = None) -> Callable[..., Any] | None:
    """Make what makes the schedule of the learning rate, after a trial on an optimiser; None for a constant one."""
    if not settings["scheduler"]:
        return None
    make = build("scheduler", {**settings["scheduler"], "_partial_": True})
    with told_of("scheduler"):
        scheduler = make(optimizer or torch.optim.SGD([Parameter(torch.zeros(1))]))
    if isinstance(scheduler, ReduceLROnPlateau):
        raise ConfigError("scheduler: ReduceLROnPlateau waits for a metric; take a schedule of epochs, such as cosine")
    return make


def build(key: str, section: dict[str, Any], **arguments: Any) -> Any:
    """Build what a part of the configuration describes, or what makes it if it is `_partial_`; a refusal names it."""
    with told_of(key):
        for place, name in targets(section, key):
            check_object(place, name, _locate(name))
        make = instantiate({**section, "_partial_": True}, _convert_="all")
        check_arguments(key, section, _locate(section["_target_"]), given=arguments)
        return make if section.get("_partial_") else make(**arguments)


@contextmanager
def told_of(key: str) -> Iterator[None]:
    """Tell whatever a class objects to as a fault of the part of the configuration that it is built from."""
    try:
        yield
    except ConfigError:
        raise
    except Exception as error:
        text = " ".join(str(error).split())
        raise ConfigError(text if text.startswith(f"{key}.") else f"{key}: {text}") from error


@contextmanager
def as_config_error() -> Iterator[None]:
    """Tell a ValueError as a fault of the configuration."""
    try:
        yield
    except ValueError as error:
        raise ConfigError(str(error)) from error


def precision(settings: Settings) -> torch.dtype:
    """Give the type that weights are kept in; a checkpoint is loaded before Lightning would convert them."""
    return torch.float64 if str(settings["trainer"]["precision"]).startswith("64") else torch.float32
