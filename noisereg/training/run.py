"""One run: from a checked configuration to a result in the run's folder."""

import logging
import re
import shlex
import time
import warnings
from pathlib import Path
from typing import Any

import torch
import wandb
from hydra.core.hydra_config import HydraConfig
from lightning.pytorch.loggers import WandbLogger
from omegaconf import DictConfig
from rich.console import Console

from noisereg.config.check import Settings, check
from noisereg.config.composing import compose_arms
from noisereg.config.plan import spread, trains_replicas
from noisereg.config.run_folder import identity
from noisereg.config.targets import target_name
from noisereg.errors import ConfigError, DiskError
from noisereg.files.disk import check_space
from noisereg.runs.ends import alone, end_told, end_with_parent, failure_recorded, is_one_of_many, refused_cleared, say
from noisereg.runs.environment import environment, is_first_process
from noisereg.runs.record import RunRecord
from noisereg.runs.wandb_run import wandb_logger
from noisereg.training.build import build_data
from noisereg.training.classifier import ClassifierTraining
from noisereg.training.findings import make_checks, read_experiment, show_findings
from noisereg.training.replicas import ReplicaTraining
from noisereg.training.training import Training

_COPIES = 6  # of the weights: two checkpoints and one that is being written, each with the optimiser's momentum
_SAID = re.compile(r"(noise\.p=[\d.]+|seed=\d+|,)*")  # of a job, in the name of its run already
_DEFAULT_THREADS = torch.get_num_threads()


def run(config: DictConfig) -> dict[str, Any]:
    """Train what a configuration describes, in the folder that Hydra made for it.

    An experiment with arms trains each, or the one that `arm` names, in a folder of its own. A folder that holds the
    finished run of the same configuration is left as it is; one that holds a run which was stopped is gone on with.

    Args:
        config: as Hydra composes it.

    Returns:
        The contents of result.json.

    Raises:
        ConfigError: if the configuration, the data or the folder do not allow the run.
    """
    folder = Path(HydraConfig.get().runtime.output_dir)
    console = Console(quiet=not is_first_process())
    if not is_first_process():
        end_with_parent()
    with end_told(console, folder), alone(folder / (config.arm or "")), refused_cleared(folder):
        return _run(config, folder, console=console)


def _run(config: DictConfig, folder: Path, *, console: Console) -> dict[str, Any]:
    overrides = list(HydraConfig.get().overrides.task)
    arms = {name: check(arm) for name, arm in compose_arms(config, overrides).items()}
    arm = config.arm or ""
    settings = arms.get(arm) or check(config)
    folder = folder / arm
    record = RunRecord(folder, settings)
    if record.status == "finished":
        say(console, f"{folder} holds the finished run of this configuration; nothing to do")
        return record.found
    known = read_experiment(settings)
    _quiet_libraries()
    began = time.perf_counter()
    command = {"command": shlex.join(["python", "train.py", *overrides])}
    outcome: dict[str, Any]
    if not settings["experiment"].get("train", True):
        outcome = {"environment": environment(torch.device("cpu")), "steps": 0, "replicas": []}
    elif arm in arms:
        outcome = _train(settings, record, folder=folder, console=console, more=command, arm=arm)
    else:
        outcome = _train_arms(arms, record, folder=folder, console=console, more=command)
    with failure_recorded(record, **outcome, **command):
        findings = {"checks": make_checks(settings, console), "experiment": known} if known else {}
    seconds = round(time.perf_counter() - began, 3)
    record.write("finished", **{**outcome, "seconds": seconds}, **command, **findings)
    if findings:
        show_findings(folder, console)
    say(console, f"{outcome['steps']:,} steps in {seconds:,.1f} s; all numbers in {record.path}")
    return RunRecord(folder, settings).found


def prepare(settings: Settings, *, folder: Path, console: Console, arm: str = "") -> Training:
    """Build all that a training needs, and refuse what does not fit before any work is done."""
    stacked = trains_replicas(settings)
    _set_threads(settings, stacked=stacked)
    kind = ReplicaTraining if stacked else ClassifierTraining
    data = build_data(settings, spread(settings)["seed"][0])
    return kind(
        settings,
        data,
        folder=folder,
        console=console,
        open_wandb=lambda: _open_wandb(settings, folder=folder, console=console, arm=arm),
    )


def _open_wandb(settings: Settings, *, folder: Path, console: Console, arm: str) -> WandbLogger | None:
    if not (settings["logger"]["wandb"] and is_first_process()):
        return None
    folder.mkdir(parents=True, exist_ok=True)
    sweep = HydraConfig.get().sweep if is_one_of_many() else None
    logger, note = wandb_logger(
        folder,
        name=_name(settings, arm, sweep.subdir if sweep else ""),
        config=settings,
        group=Path(sweep.dir).name if sweep else None,
        identity=identity(settings),
    )
    say(console, note)
    return logger


def _train(
    settings: Settings, record: RunRecord, *, folder: Path, console: Console, more: dict[str, Any], arm: str = ""
) -> dict[str, Any]:
    """Train one configuration, and give what the record of it is to hold."""
    with failure_recorded(record, **more):
        training = prepare(settings, folder=folder, console=console, arm=arm)
        try:
            check_space(folder, _COPIES * sum(tensor.nbytes for tensor in training.module.state_dict().values()))
        except DiskError as error:
            raise ConfigError(str(error)) from None
    known = {"environment": environment(training.trainer.strategy.root_device), **more}
    record.write("running", **known)
    say(console, *training.headlines(), f"folder  {folder}")
    began = time.perf_counter()
    with failure_recorded(record, **known):
        try:
            training.train()
            seconds = round(time.perf_counter() - began, 3)
            training.finish(figures=not arm)
        finally:
            training.curves.write()
        wandb.finish()
    console.print(training.summary())
    outcome = {"data": training.source, "seconds": seconds, "steps": training.steps, "replicas": training.results()}
    return {"environment": known["environment"], **outcome}


def _train_arms(
    arms: dict[str, Settings], record: RunRecord, *, folder: Path, console: Console, more: dict[str, Any]
) -> dict[str, Any]:
    """Train each arm in a folder of its own, but not again one that is finished, and put their replicas together."""
    outcomes = {}
    with failure_recorded(record, **more):
        for name, settings in arms.items():
            place = folder / name
            with alone(place):
                own = RunRecord(place, settings)
                if own.status != "finished":
                    say(console, f"\narm     {name}")
                    outcome = _train(settings, own, folder=place, console=console, more=more, arm=name)
                    own.write("finished", **outcome, **more)
                    record.write("running", environment=outcome["environment"], **more)
            outcomes[name] = last = RunRecord(place, settings).found
    return {
        "environment": last["environment"],
        "data": last["data"],
        "steps": sum(outcome["steps"] for outcome in outcomes.values()),
        "replicas": [{**row, "arm": name} for name, outcome in outcomes.items() for row in outcome["replicas"]],
    }


def _set_threads(settings: Settings, *, stacked: bool) -> None:
    one_sample_a_step = settings["dataset"].get("batch_size") == 1 and not stacked
    torch.set_num_threads(settings["threads"] or (1 if one_sample_a_step else _DEFAULT_THREADS))


def _name(settings: Settings, *more: str) -> str:
    """Name a run on the dashboard; what spans replicas is shown from its first to its last value."""
    parts = [target_name(settings[part]) for part in ("model", "dataset", "noise")]
    for letter, values in zip("ps", (spread(settings)[key] for key in ("p", "seed")), strict=True):
        parts.append(f"{letter}{values[0]:g}" + (f"..{values[-1]:g}" if len(values) > 1 else ""))
    return "-".join([*parts, *(part for part in more if not _SAID.fullmatch(part))])


def _quiet_libraries() -> None:
    """Keep off the screen what a user can do nothing about: notes on hardware, and calls between libraries."""
    for name in ("lightning.pytorch.utilities.rank_zero", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.formatwarning = lambda message, *where, **more: f"warning: {message}\n"
    warnings.filterwarnings("ignore", message=".*LeafSpec")
    warnings.filterwarnings("ignore", message=".*smaller than the logging interval")
    warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")
