"""The parts of a run, built from a checked configuration; an error of a part names its key."""

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import torch
from hydra._internal.utils import _locate  # what `instantiate` finds; hydra.utils.get_object logs a second line
from hydra.utils import instantiate
from lightning.pytorch import Callback
from torch.nn import Parameter
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from noisereg import rng
from noisereg.callbacks import GradientMonitor, SparsityMonitor
from noisereg.config.allowed import check_object
from noisereg.config.arguments import check_arguments, qualify
from noisereg.config.check import Settings
from noisereg.config.plan import Plan
from noisereg.config.sections import built_sections
from noisereg.datasets import InMemory
from noisereg.engine.regularizer import Regularizer
from noisereg.errors import ConfigError, DatasetError
from noisereg.losses import Loss
from noisereg.metrics import eval_mode
from noisereg.models.checks import check_names, check_weights
from noisereg.noise import FileLabels, Rule, Schedule, check_schedule
from noisereg.noise.rule import checked_law

_TRIED = 8  # samples, so that a coin that a batch tosses once seldom falls as eight of them
_UNREADABLE = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)
_Module = TypeVar("_Module", bound=torch.nn.Module)
_KINDS: dict[str, type] = {
    "noise": Rule,
    "noise.schedule": Schedule,
    "model": torch.nn.Module,
    "dataset": InMemory,
    "loss": Loss,
    "optimizer": Optimizer,
    "scheduler": LRScheduler,
}


def build_data(settings: Settings, seed: int) -> InMemory:
    """Build the data set of a seed and load it, so that a fault in its files ends the run before it begins."""
    data = build("dataset", settings["dataset"], seed=seed)
    with as_data_config_error(data):
        try:
            data.prepare_data()
            data.setup()
        except _UNREADABLE as error:
            raise DatasetError(f"{error.filename} cannot be read ({error.strerror or error})") from error
        if not getattr(data, "streamed", False):
            _check_inputs(data, weight_dtype(settings))
            for key in ("train_transform", "eval_transform"):
                _check_transform(data, key)
    return data


def _check_inputs(data: InMemory, dtype: torch.dtype) -> None:
    """Check that a sample of each split, as it is evaluated, is of the shape and the precision of a network's inputs.

    Raises:
        ValueError: if it is not.
    """
    first, name = torch.zeros(1, dtype=torch.int64), type(data).__name__
    for key, split in data.splits.items():
        inputs = split.select(first).inputs
        if data.eval_transform is not None:
            inputs = data.eval_transform(inputs, draw=first, index=first)
        if (shape := tuple(inputs.shape[1:])) != tuple(data.input_shape):
            raise ValueError(
                f"the inputs of {name} must have the shape {tuple(data.input_shape)} of its input_shape, "
                f"got {shape} in the {key} split"
            )
        if inputs.dtype not in (torch.float32, dtype):
            kind = str(inputs.dtype).removeprefix("torch.")
            raise ValueError(
                f"the inputs of {name} must be float32, got {kind} in the {key} split; return inputs.float()"
            )


def _check_transform(data: InMemory, key: str) -> None:
    """Check that a transform makes the same of a sample in any batch, whatever was drawn before.

    Raises:
        ValueError: if it does not: engines, processes and runs that go on would train on other inputs.
    """
    transform, split = getattr(data, key), data.splits["train"]
    if transform is None:
        return
    draw = torch.arange(_TRIED)
    index = draw % len(split)
    inputs = split.select(index).inputs
    with rng.library_generator(seed=0):
        together = transform(inputs, draw=draw, index=index)
    for place in range(_TRIED):
        one = slice(place, place + 1)
        with rng.library_generator(seed=1 + place):
            alone = transform(inputs[one], draw=draw[one], index=index[one])
        if not torch.allclose(alone, together[one], rtol=1e-3, atol=1e-3, equal_nan=True):
            raise ValueError(
                f"the {key} of {type(data).__name__} must be a function of each sample, its draw and its index alone: "
                "draw by noisereg.rng, and take nothing from the batch"
            )


def build_model(settings: Settings, seed: int, *, input_shape: tuple[int, ...], num_classes: int) -> torch.nn.Module:
    """Build the network: one output for two classes, else one for each class, if the configuration names no number."""
    return build_models(settings, [seed], input_shape=input_shape, num_classes=num_classes)[seed]


def build_models(
    settings: Settings, seeds: Iterable[int], *, input_shape: tuple[int, ...], num_classes: int
) -> dict[int, torch.nn.Module]:
    """Build the network of each seed. The first one is tried: if it maps inputs to logits, so do the others."""
    arguments = {key: value for key, value in settings["model"].items() if key != "num_outputs"}
    num_outputs = _num_outputs(settings, num_classes)
    if max(num_outputs, 2) != num_classes:
        raise ConfigError(
            f"model.num_outputs={num_outputs} does not fit the {num_classes} classes of the data: "
            "give one output a class (or one for two classes), or null"
        )
    given: dict[str, Any] = {"input_shape": input_shape, "num_outputs": num_outputs}
    first, *others = dict.fromkeys(seeds)
    with rng.library_generator(first):  # a network that knows nothing of its seed draws from torch's own generator
        models = {first: build("model", arguments, **given, seed=first)}
    with as_config_error("model"), eval_mode(models[first]):
        check_names(models[first])
        check_weights(models[first])
        for num in (2, 1):
            _check_logits(models[first], input_shape, num_outputs, num=num)
    if others:
        make = build("model", {**arguments, "_partial_": True}, **given, seed=first)
    for seed in others:
        with as_config_error("model"), rng.library_generator(seed):
            models[seed] = make(**given, seed=seed)
            check_weights(models[seed])
    return models


def build_trial(settings: Settings, data: InMemory) -> torch.nn.Module:
    """Build a network of which only its kind counts, for trials."""
    return build_model(settings, 0, input_shape=data.input_shape, num_classes=data.num_classes)


def build_callback(
    settings: Settings, name: str, *, folder: Path, network: torch.nn.Module | None = None, data: InMemory
) -> Callback:
    """Build a callback, and check that it can measure a network.

    Args:
        settings: the whole configuration.
        name: of the callback there.
        folder: of the run.
        network: of the run, or the module that trains it; None where an engine has checked it.
        data: of the run.
    """
    key, section = f"callbacks.{name}", settings["callbacks"][name]
    where = {"dirpath": str(folder / "checkpoints")} if name == "checkpoint" else {}
    callback = build(key, section, **where)
    if network is not None:
        inputs = example_inputs(data.input_shape).to(next(network.parameters()).dtype)
        with as_config_error(key, type(callback)):
            if isinstance(callback, SparsityMonitor):
                callback.check(network, inputs, num_classes=data.num_classes)
            elif isinstance(callback, GradientMonitor):
                callback.check(network, inputs)
    return callback


def _num_outputs(settings: Settings, num_classes: int) -> int:
    return settings["model"].get("num_outputs") or (1 if num_classes == 2 else num_classes)


def _check_logits(model: torch.nn.Module, input_shape: tuple[int, ...], num_outputs: int, *, num: int) -> None:
    """Check that a network maps some inputs to logits."""
    inputs = example_inputs(input_shape, num=num)
    with torch.enable_grad(), rng.library_generator(seed=0):
        logits = model(inputs)
    found = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
    if found != (num, num_outputs):
        where = " for a batch of one" if num == 1 else " in training mode" if model.training else ""
        shape = f"({'batch' if num > 1 else 1}, {num_outputs})"
        mend = "" if isinstance(logits, torch.Tensor) else "; return the logits alone"
        mend = "; return its .logits" if isinstance(getattr(logits, "logits", None), torch.Tensor) else mend
        raise ValueError(f"{type(model).__name__} must return logits of shape {shape}{where}, got {found}{mend}")
    if not logits.requires_grad:
        raise ValueError(
            f"{type(model).__name__} must return logits that have a gradient in its weights, got some without: leave "
            "detach and torch.no_grad out of forward"
        )


def check_training_mode(plan: Plan, data: InMemory, network: torch.nn.Module) -> None:
    """Check that a network maps inputs to logits in training mode too, in batches as small as the smallest one.

    A batch norm of vectors cannot be trained on a batch of one sample, which the last one of an epoch may be.

    Raises:
        ConfigError: if it does not; naming the size of the batches if two samples would do.
    """
    network.train()
    num_outputs = _num_outputs(plan.settings, data.num_classes)
    with as_config_error("model"):
        _check_logits(network, data.input_shape, num_outputs, num=2)
    num_samples, size, world = data.epoch_size, data.batch_size, plan.num_processes
    if (num_samples % size or size) // world > 1 or plan.settings["trainer"].get("sync_batchnorm"):
        return
    try:
        _check_logits(network, data.input_shape, num_outputs, num=1)
    except Exception as error:
        batch = "each training batch" if size // world == 1 else "the last training batch of an epoch"
        raise ConfigError(
            f"dataset.batch_size={size} leaves one sample for {batch}, on which {type(network).__name__} cannot be "
            f"trained ({' '.join(str(error).split())}); take another dataset.batch_size or dataset.train_size"
        ) from error


def check_loss(settings: Settings, data: InMemory) -> None:
    """Check that the loss, which may be another's, has a value for each class of each sample, and its own derivative.

    Raises:
        ConfigError: if it has not.
    """
    loss, num_classes, num_outputs = build_loss(settings), data.num_classes, _num_outputs(settings, data.num_classes)
    with as_config_error("loss"):
        found = loss.per_class(torch.zeros(2, num_outputs))
        if (shape := tuple(found.shape)) != (2, num_classes):
            raise ValueError(
                f"{type(loss).__name__}.per_class must return the shape (2, {num_classes}) for two samples of "
                f"{num_classes} classes and {num_outputs} outputs each, got {shape}"
            )
        _check_slope(loss, num_classes=num_classes, num_outputs=num_outputs)


def _check_slope(loss: Loss, *, num_classes: int, num_outputs: int) -> None:
    """Raise ValueError for a formula of the derivative that is not that of the loss, at points that are no kinks."""
    place = torch.arange(_TRIED)[:, None]
    logits = 2 * rng.normal(0, rng.Stream.INIT, 0, place * num_outputs + torch.arange(num_outputs))
    target = rng.uniform(0, rng.Stream.INIT, 1, place * num_classes + torch.arange(num_classes))
    target /= target.sum(dim=1, keepdim=True)
    found, wanted = (slope(logits.float(), target.float()) for slope in (loss.slope, partial(Loss.slope, loss)))
    if found.shape != wanted.shape or not torch.allclose(found, wanted, rtol=1e-3, atol=1e-5):
        raise ValueError(
            f"{type(loss).__name__}.slope must be the derivative of its per_sample, got another; leave it out"
        )


def example_inputs(input_shape: tuple[int, ...], *, num: int = 2) -> torch.Tensor:
    """Make inputs for a trial of a network: from 0 to 1, which may also stand for tokens."""
    return torch.linspace(0, 1, num * math.prod(input_shape)).view(num, *input_shape)


def build_loss(settings: Settings) -> Loss:
    """Build the loss."""
    return build("loss", settings["loss"])


def build_regularizer(settings: Settings) -> Regularizer:
    """Build what is added to each step; nothing where the configuration is of an older version."""
    with as_config_error("regularizer", Regularizer):
        return Regularizer(**settings.get("regularizer", {}))


def build_rule(settings: Settings, p: float, *, num_classes: int) -> Rule:
    """Build the noise rule for one strength; its schedule is the callback's. One of a file is as yet of no samples."""
    section = {key: value for key, value in settings["noise"].items() if key != "schedule"}
    rule = build("noise", {**section, "p": p})
    if not isinstance(rule, FileLabels):
        with as_config_error("noise", type(rule)):  # a matrix may be of another number of classes
            checked_law(rule, num_classes)
    return rule


def build_schedule(settings: Settings) -> Schedule:
    """Build the schedule of the noise's strength."""
    schedule = build("noise.schedule", settings["noise"]["schedule"])
    with as_config_error("noise.schedule"):
        check_schedule(schedule, settings["trainer"]["max_epochs"])
    return schedule


def build_optimizer(settings: Settings, lr: float, *, weights: Sequence[Parameter]) -> Callable[..., Optimizer]:
    """Build what makes the optimiser of one learning rate, after a trial on the weights."""
    make = build("optimizer", {**settings["optimizer"], "_partial_": True, "lr": lr})
    with as_config_error("optimizer", make):
        optimizer = make(weights)
    _check_kind("optimizer", optimizer)
    return make


def build_scheduler(settings: Settings, optimizer: Optimizer | None = None) -> Callable[..., Any] | None:
    """Build what makes the schedule of the learning rate, after a trial on an optimiser; None for a constant one."""
    if not settings["scheduler"]:
        return None
    make = build("scheduler", {**settings["scheduler"], "_partial_": True})
    with as_config_error("scheduler", make):
        scheduler = make(optimizer or torch.optim.SGD([Parameter(torch.zeros(1))]))
    _check_kind("scheduler", scheduler)
    if isinstance(scheduler, ReduceLROnPlateau):
        raise ConfigError("scheduler: ReduceLROnPlateau waits for a metric; take a schedule of epochs, such as cosine")
    return make


def find_parts(settings: Settings) -> None:
    """Find all that a training is built from, before the data are read, which may take minutes.

    Raises:
        ConfigError: naming the first key whose class is not found, or is not what it must be.
    """
    for place, section in built_sections({key: part for key, part in settings.items() if key != "experiment"}):
        with as_config_error(place):
            _find(place, section["_target_"])


def build(key: str, section: dict[str, Any], **arguments: Any) -> Any:
    """Build what a part of the configuration describes, or what makes it if it is `_partial_`."""
    with as_config_error(key):
        target, *_ = [_find(place, part["_target_"]) for place, part in built_sections(section, key)]
        make = instantiate({**section, "_partial_": True}, _convert_="all")
        check_arguments(key, section, target, given=arguments)
    if section.get("_partial_"):
        return make
    with as_config_error(key, target, given=arguments):
        made = make(**arguments)
    _check_kind(key, made)
    return made


def _find(key: str, name: str) -> Any:
    """Return what a name leads to, if it may be built for the part of a key."""
    package = name.partition(".")[0]
    if find_spec(package) is None:
        raise ConfigError(
            f"{key}._target_={name}: Python finds no module {package}; if it is one of your own, put "
            "PYTHONPATH=FOLDER_THAT_HOLDS_IT before the command"
        )
    found = _locate(name)
    check_object(key, name, found)
    return found


def _check_kind(key: str, made: Any) -> None:
    """Check that a part is what its key is for: a class of a trusted package may be anything."""
    kind = Callback if key.startswith("callbacks.") else _KINDS.get(key)
    if kind and not isinstance(made, kind):
        raise ConfigError(f"{key}: {type(made).__name__} must be derived from {kind.__module__}.{kind.__name__}")


@contextmanager
def as_config_error(key: str, target: Any = None, *, given: Collection[str] = ()) -> Iterator[None]:
    """Raise whatever is wrong with a part of the configuration as a ConfigError that names its key.

    Args:
        key: of the part.
        target: its class, or what makes it: an argument that the error names becomes the key of that argument.
        given: names of the arguments that the run gives.
    """
    try:
        yield
    except ConfigError:
        raise
    except Exception as error:
        text = " ".join(str(error).split()) if target is None else qualify(str(error), key, target, given=given)
        raise ConfigError(text if text.startswith(f"{key}.") else f"{key}: {text}") from error


@contextmanager
def as_data_config_error(data: InMemory) -> Iterator[None]:
    """Raise a ValueError about the files or the sizes of a data set as a ConfigError with the keys of its arguments."""
    try:
        yield
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(qualify(str(error), "dataset", type(data), given=["seed"])) from error


def convert_weights(module: _Module, settings: Settings) -> _Module:
    """Convert the weights of a network to the type that they are kept in; complex ones stay as they are."""
    return module.double() if weight_dtype(settings) == torch.float64 else module.float()


def weight_dtype(settings: Settings) -> torch.dtype:
    """Return the type that weights are kept in; a checkpoint is loaded before Lightning would convert them."""
    return torch.float64 if str(settings["trainer"]["precision"]).startswith("64") else torch.float32
