"""One run: from a checked configuration to a result in the run's folder."""

import inspect
import logging
import signal
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

import torch
import wandb
from hydra.core.hydra_config import HydraConfig
from hydra.utils import get_object, instantiate
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.utilities.exceptions import SIGTERMException
from omegaconf import DictConfig
from rich.console import Console

from noisereg.callbacks import LabelCorruption
from noisereg.config import ConfigError, check, nearest
from noisereg.datasets import InMemory
from noisereg.losses import Loss
from noisereg.modules import Classifier
from noisereg.noise import Rule
from noisereg.tracking import (
    AtomicCheckpointIO,
    CurveTable,
    ProgressLines,
    RunRecord,
    environment,
    is_first_process,
    summary,
    wandb_logger,
)

Settings = dict[str, Any]
_DEFAULT_THREADS = torch.get_num_threads()


def run(config: DictConfig) -> dict[str, Any]:
    """Train what a configuration describes, in the folder that Hydra made for it.

    A folder that holds the finished run of the same configuration is left as it is; one that holds a run which was
    stopped is gone on with.

    Args:
        config: as Hydra composes it.

    Returns:
        The contents of result.json.

    Raises:
        ConfigError: if the configuration, the data or the folder do not allow the run.
    """
    settings = check(config)
    folder = Path(HydraConfig.get().runtime.output_dir)
    record = RunRecord(folder, settings)
    console = Console(quiet=not is_first_process())
    if record.status == "finished":
        _say(console, f"{folder} holds the finished run of this configuration; nothing to do")
        return record.found
    _quiet_libraries()
    _set_threads(settings)
    data = build_data(settings)
    module = build_module(settings, data)
    rule = build_rule(settings)
    with _as_config_error():  # a matrix may be of another number of classes
        rule.redraw_law(data.num_classes)
    curves = CurveTable(folder / "metrics.csv" if settings["logger"]["csv"] else None, p=rule.p, seed=settings["seed"])
    trainer = _build_trainer(settings, folder, rule=rule, curves=curves, console=console)
    around = environment(trainer.strategy.root_device)
    record.write("running", environment=around)
    _say(console, *_headlines(settings, data, module, rule=rule), f"folder  {folder}")
    began = time.perf_counter()
    with _told_of_failure(record, curves, environment=around):
        _train(trainer, module, data, folder=folder)
    seconds, steps = round(time.perf_counter() - began, 3), trainer.global_step
    replica = {"p": rule.p, "seed": settings["seed"], **curves.last(), **curves.best("test/error")}
    record.write("finished", environment=around, data=data.source, seconds=seconds, steps=steps, replicas=[replica])
    console.print(summary(curves.rows))
    _say(console, f"{steps:,} steps in {seconds:,.1f} s; all numbers in {record.path}")
    return RunRecord(folder, settings).found


def build_data(settings: Settings) -> InMemory:
    """Make the data set and load it, so that a fault in its files ends the run before it begins."""
    data = _build("dataset", settings["dataset"], seed=settings["seed"])
    with _as_config_error():
        data.prepare_data()
        data.setup()
    return data


def build_module(settings: Settings, data: InMemory) -> Classifier:
    """Make the network for the data, and the module that trains it."""
    return Classifier(
        build_model(settings, input_shape=data.input_shape, num_classes=data.num_classes),
        build_loss(settings),
        num_classes=data.num_classes,
        optimizer=_build("optimizer", settings["optimizer"]),
        scheduler=_build("scheduler", settings["scheduler"]) if settings["scheduler"] else None,
        seed=settings["seed"],
    )


def build_model(settings: Settings, *, input_shape: tuple[int, ...], num_classes: int) -> torch.nn.Module:
    """Make the network: one output for two classes, else one for each class, if the configuration names no number."""
    arguments = dict(settings["model"])
    named = arguments.pop("num_outputs", None)
    num_outputs = named or (1 if num_classes == 2 else num_classes)
    if max(num_outputs, 2) != num_classes:
        raise ConfigError(
            f"model.num_outputs={num_outputs} does not fit the {num_classes} classes of the data: "
            "give one output a class (or one for two classes), or null"
        )
    return _build("model", arguments, input_shape=input_shape, num_outputs=num_outputs, seed=settings["seed"])


def build_loss(settings: Settings) -> Loss:
    """Make the loss."""
    return _build("loss", settings["loss"])


def build_rule(settings: Settings) -> Rule:
    """Make the noise rule; its schedule is the callback's."""
    return _build("noise", {key: value for key, value in settings["noise"].items() if key != "schedule"})


def _build_trainer(settings: Settings, folder: Path, *, rule: Rule, curves: CurveTable, console: Console) -> Trainer:
    noise = LabelCorruption(
        rule, seed=settings["seed"], schedule=_build("noise.schedule", settings["noise"]["schedule"])
    )
    callbacks: list[Callback] = [noise, RichProgressBar(20) if console.is_terminal else ProgressLines(console)]
    for name, section in settings["callbacks"].items():
        callbacks.append(_build(f"callbacks.{name}", section) if name != "checkpoint" else _checkpoint(section, folder))
    loggers: list[Any] = [curves]
    if settings["logger"]["wandb"] and is_first_process():
        logger, note = wandb_logger(folder, name=_name(settings), config=settings)
        loggers.append(logger)
        _say(console, note)
    return _build(
        "trainer",
        settings["trainer"],
        callbacks=callbacks,
        logger=loggers,
        plugins=[AtomicCheckpointIO()],
        enable_progress_bar=console.is_terminal,
        default_root_dir=str(folder),
    )


@contextmanager
def _told_of_failure(record: RunRecord, curves: CurveTable, *, environment: dict[str, Any]) -> Iterator[None]:
    """Write down why a training ended early, and close what it wrote to however it ends."""
    try:
        yield
    except BaseException as error:
        record.write("failed", environment=environment, reason=f"{type(error).__name__}: {error}")
        wandb.finish(exit_code=1)
        if isinstance(error, SIGTERMException):  # Lightning would end with exit code 0
            raise SystemExit(128 + signal.SIGTERM) from error
        raise
    finally:
        curves.write()
        wandb.finish()


def _checkpoint(section: dict[str, Any], folder: Path) -> Callback:
    """Make the callback that saves at the end of every few epochs, or every few steps if that is asked for."""
    by_steps = {"every_n_epochs": None, "save_on_train_epoch_end": False} if section.get("every_n_train_steps") else {}
    return _build("callbacks.checkpoint", {**section, **by_steps}, dirpath=str(folder / "checkpoints"))


def _train(trainer: Trainer, module: Classifier, data: InMemory, *, folder: Path) -> None:
    """Evaluate at the start, train, and evaluate at the end if the last epoch did not."""
    last = folder / "checkpoints" / "last.ckpt"
    if not last.exists():
        with _as_config_error():  # a callback's pattern may name no layer
            trainer.validate(module, data, verbose=False)
    trainer.fit(module, data, ckpt_path=str(last) if last.exists() else None, weights_only=True)
    if not isinstance(curves := trainer.loggers[0], CurveTable) or "test/error" not in curves.rows[-1]:
        trainer.validate(module, data, verbose=False)
    trainer.save_checkpoint(last)


def _build(key: str, section: dict[str, Any], **arguments: Any) -> Any:
    """Build what a part of the configuration describes, or what makes it if it is `_partial_`; a refusal names it."""
    try:
        make = instantiate({**section, "_partial_": True}, _convert_="all")
        _check_names(key, section)
        return make if section.get("_partial_") else make(**arguments)
    except ConfigError:
        raise
    except Exception as error:  # whatever the class objects to, it objects to the configuration
        text = " ".join(str(error).split())
        raise ConfigError(text if text.startswith(f"{key}.") else f"{key}: {text}") from error


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


@contextmanager
def _as_config_error() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _headlines(settings: Settings, data: InMemory, module: Classifier, *, rule: Rule) -> list[str]:
    weights = sum(weight.numel() for weight in module.model.parameters())
    rate = rule.effective_rate(data.num_classes)
    mode = "in expectation" if rule.expected else "drawn once a sample" if rule.frozen else "drawn anew each time"
    sizes = ", ".join(f"{len(split):,} {name}" for name, split in data.splits.items())
    return [
        f"data    {data.source}: {sizes} samples, {data.num_classes} classes",
        f"model   {_target(settings['model'])}, {weights:,} weights; loss {_target(settings['loss'])}",
        f"noise   {type(rule).__name__} p={rule.p:g}, {mode}: a label changes with probability {rate:g}",
    ]


def _set_threads(settings: Settings) -> None:
    one_sample_a_step = settings["dataset"].get("batch_size") == 1
    torch.set_num_threads(settings["threads"] or (1 if one_sample_a_step else _DEFAULT_THREADS))


def _say(console: Console, *lines: str) -> None:
    console.print(*lines, sep="\n", highlight=False, soft_wrap=True)


def _name(settings: Settings) -> str:
    model, data = _target(settings["model"]), _target(settings["dataset"])
    return f"{model}-{data}-{_target(settings['noise'])}-p{settings['noise']['p']:g}-s{settings['seed']}"


def _target(section: dict[str, Any]) -> str:
    return section["_target_"].rpartition(".")[2]


def _quiet_libraries() -> None:
    """Keep off the screen what a user can do nothing about: notes on hardware, and calls between libraries."""
    for name in ("lightning.pytorch.utilities.rank_zero", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*LeafSpec")
    warnings.filterwarnings("ignore", message=".*smaller than the logging interval")
    warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")
