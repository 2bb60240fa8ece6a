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
from omegaconf import DictConfig
from rich.console import Console

from noisereg import report
from noisereg.config.check import Settings, check
from noisereg.config.composing import compose_arms
from noisereg.config.plan import Plan
from noisereg.config.run_folder import identity
from noisereg.config.targets import target_name
from noisereg.errors import ConfigError, DiskError
from noisereg.files.disk import check_space
from noisereg.runs.ends import alone, end_told, end_with_parent, failure_recorded, is_one_of_many, refused_cleared, say
from noisereg.runs.environment import environment, is_first_process
from noisereg.runs.record import RunRecord
from noisereg.runs.summary import replica_table
from noisereg.runs.wandb_run import WandbBands, open_wandb_run
from noisereg.training.at_once import AllAtOnce
from noisereg.training.build import build_data
from noisereg.training.engines import build_engine, choose_engine
from noisereg.training.findings import make_checks, read_experiment, show_findings
from noisereg.training.one_by_one import OneByOne, OneNetwork
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


def prepare(settings: Settings, *, folder: Path, console: Console) -> Training:
    """Build all that a training needs, and refuse what does not fit before any work is done."""
    plan = Plan(settings)
    _set_threads(settings, plan)
    data = build_data(settings, plan.replicas[0]["seed"])
    choice = choose_engine(plan, data)
    where: Any = {"folder": folder, "console": console, "engine": choice.in_words(plan)}
    if choice.name != "single":
        return AllAtOnce(plan, data, networks=build_engine(choice.name, plan, data), **where)
    return (OneNetwork if len(plan.replicas) == 1 else OneByOne)(plan, data, **where)


def _open_wandb(training: Training, *, arm: str) -> WandbBands | None:
    settings, folder = training.settings, training.folder
    if not (settings["logger"]["wandb"] and is_first_process()):
        return None
    folder.mkdir(parents=True, exist_ok=True)
    sweep = HydraConfig.get().sweep if is_one_of_many() else None
    run, note = open_wandb_run(
        folder,
        name=_name(training.plan, arm, sweep.subdir if sweep else ""),
        config=settings,
        group=Path(sweep.dir).name if sweep else None,
        identity=identity(settings),
    )
    say(training.console, note)
    return WandbBands(run, training.plan.names, at_once=not isinstance(training, OneByOne))


def _train(
    settings: Settings, record: RunRecord, *, folder: Path, console: Console, more: dict[str, Any], arm: str = ""
) -> dict[str, Any]:
    """Train the replicas of one configuration, and return what the record of it is to hold."""
    with failure_recorded(record, **more):
        training = prepare(settings, folder=folder, console=console)
        try:
            check_space(folder, _COPIES * training.num_bytes)
        except DiskError as error:
            raise ConfigError(str(error)) from None
        dashboard = _open_wandb(training, arm=arm)
    training.observers += [dashboard] if dashboard else []
    known = {"environment": environment(training.device), **more}
    record.write("running", **known)
    say(console, *training.headlines(), f"folder  {folder}")
    began = time.perf_counter()
    with failure_recorded(record, **known):
        try:
            training.train()
            seconds = round(time.perf_counter() - began, 3)
            rows = training.finish()
        finally:
            training.curves.write()
        figures = [] if arm or not is_first_process() else _draw(training, rows)
        if dashboard:
            dashboard.finish(training.curves, rows, figures)
            wandb.finish()
    console.print(replica_table(rows))
    outcome = {"data": training.data.source, "seconds": seconds, "steps": training.steps, "replicas": rows}
    return {"environment": known["environment"], **outcome}


def _draw(training: Training, rows: list[dict[str, Any]]) -> list[Path]:
    """Draw the curves and the end of training against p, and return the pictures."""
    settings, rule = training.settings, type(training.rules[0]).__name__
    model, loss = (target_name(settings[part]) for part in ("model", "loss"))
    title = f"{model} on {training.data.source} under {rule}"
    subtitle = f"{settings['trainer']['max_epochs']:,} epochs, loss {loss}"
    charts = {"curves": report.curves(training.curves.frame(), title=title, subtitle=subtitle)}
    if len(training.plan.axes["p"]) > 1:
        charts["against_p"] = report.against_p(rows, title=title, subtitle=subtitle)
    for name, chart in charts.items():
        report.save(chart, training.folder / "figures" / name)
    return [training.folder / "figures" / f"{name}.png" for name in charts]


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


def _set_threads(settings: Settings, plan: Plan) -> None:
    """Leave one thread to a network that takes one sample a step, which gains nothing from more."""
    one_sample_a_step = settings["dataset"].get("batch_size") == 1 and plan.obstacles().keys() >= {"fused", "blocked"}
    torch.set_num_threads(settings["threads"] or (1 if one_sample_a_step else _DEFAULT_THREADS))


def _name(plan: Plan, *more: str) -> str:
    """Name a run on the dashboard; what spans replicas is shown from its first to its last value."""
    parts = [target_name(plan.settings[part]) for part in ("model", "dataset", "noise")]
    for letter, values in zip("ps", (plan.axes[key] for key in ("p", "seed")), strict=True):
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
