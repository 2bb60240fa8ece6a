"""The parts of a run, built from a checked configuration; whatever they object to is told by its key."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, get_args

import torch
from hydra.utils import get_object, instantiate

from noisereg.config import ConfigError, nearest
from noisereg.datasets import InMemory
from noisereg.losses import Loss
from noisereg.noise import Rule, Schedule
from noisereg.safety import check_object, targets

Settings = dict[str, Any]


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
    with as_config_error():  # a matrix may be of another number of classes
        rule.redraw_law(num_classes)
    return rule


def build_schedule(settings: Settings) -> Schedule:
    """Make the schedule of the noise's strength."""
    return build("noise.schedule", settings["noise"]["schedule"])


def build_scheduler(settings: Settings) -> Callable[..., Any] | None:
    """Make what makes the schedule of the learning rate; None for a constant one."""
    return build("scheduler", settings["scheduler"]) if settings["scheduler"] else None


def build(key: str, section: dict[str, Any], **arguments: Any) -> Any:
    """Build what a part of the configuration describes, or what makes it if it is `_partial_`; a refusal names it."""
    try:
        for place, name in targets(section, key):
            check_object(place, name, get_object(name))
        make = instantiate({**section, "_partial_": True}, _convert_="all")
        _check_names(key, section)
        return make if section.get("_partial_") else make(**arguments)
    except ConfigError:
        raise
    except Exception as error:  # whatever the class objects to, it objects to the configuration
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


def target_name(section: dict[str, Any]) -> str:
    """Give the name of the class that a part of the configuration builds."""
    return section["_target_"].rpartition(".")[2]


def _check_names(key: str, section: dict[str, Any]) -> None:
    target = get_object(section["_target_"])
    known: set[str] = set()
    for parameter in inspect.signature(target).parameters.values():
        if parameter.kind is not parameter.VAR_KEYWORD:
            known.add(parameter.name)
        elif unpacked := get_args(parameter.annotation):
            known |= set(unpacked[0].__annotations__)
        else:
            return  # it takes any name
    for name, value in section.items():
        if name not in known and not name.startswith("_"):
            raise ConfigError(f"{key}.{name}={value!r}: {target.__name__} has no such argument{nearest(name, known)}")
