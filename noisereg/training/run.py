"""One run, from its configuration to its record: compose, check, train, judge, write down."""

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from rich.console import Console

from noisereg.config.check import ComposedRun, Settings
from noisereg.config.commands import command_of_run, overrides_of_run
from noisereg.config.composing import compose_run
from noisereg.config.same_run import check_recorded_data, data_sources, recorded_fingerprint
from noisereg.errors import ConfigError
from noisereg.runs.bands import LoggedBands
from noisereg.runs.checkpoints import has_checkpoint
from noisereg.runs.ending import (
    exclusive_folder,
    exit_message,
    exit_with_parent,
    is_job_of_sweep,
    named_as_parent,
    recorded_failure,
    removed_if_refused,
)
from noisereg.runs.environment import describe_environment, is_first_process
from noisereg.runs.record import RunRecord
from noisereg.runs.run_logger import RunDescription, RunLogger
from noisereg.runs.signals import held_signals, stopped_by_signals
from noisereg.runs.summary import replica_table
from noisereg.terminal import open_console, print_lines
from noisereg.training.at_once import AllAtOnce
from noisereg.training.build import find_parts
from noisereg.training.data_fingerprint import fingerprint_data
from noisereg.training.findings import (
    DrawingBeginner,
    begin_drawing,
    draw_experiment,
    draw_replicas,
    read_experiment,
    run_checks,
)
from noisereg.training.label_file import record_labels
from noisereg.training.libraries import quiet_libraries
from noisereg.training.loggers import open_loggers
from noisereg.training.one_by_one import OneByOne
from noisereg.training.prepare import prepare
from noisereg.training.training import Training


class Trained(NamedTuple):
    """A training that has ended, and what it logs to.

    Attributes:
        training: whose curves figures are drawn of.
        rows: of its replicas, as the record has them.
        logged: its loggers.
        draws: whether figures are drawn: of an arm there are none, and of several processes the first one draws.
    """

    training: Training
    rows: list[dict[str, Any]]
    logged: LoggedBands
    draws: bool

    def show(self) -> None:
        """Draw the figures, log them, and close the loggers."""
        figures = draw_replicas(self.training, self.rows) if self.draws else []
        self.logged.finish(self.training.curves, self.rows, figures)


def run(config: DictConfig) -> dict[str, Any]:
    """Train what a configuration describes, in the folder that Hydra made for it.

    An experiment with arms trains each, or the one that `arm` names, in a folder of its own. A folder that holds the
    finished run of the same configuration is left as it is; one that holds a run which was stopped is gone on with.

    Returns:
        The contents of result.json.

    Raises:
        ConfigError: if the configuration, the data or the folder do not allow the run.
    """
    folder, arm = Path(HydraConfig.get().runtime.output_dir), config.arm or ""
    console = open_console(quiet=not is_first_process())
    if not is_first_process():
        exit_with_parent()
    with (
        exit_message(console, folder / arm),
        stopped_by_signals(),
        exclusive_folder(folder / arm),
        removed_if_refused(folder),
        named_as_parent(),
    ):
        composed = compose_run(config, overrides_of_run(), name=str(HydraConfig.get().job.config_name))
        show_results(*run_once(composed, folder=folder / arm, arm=arm, console=console), console)
        return RunRecord(folder / arm, composed.settings).found


def run_once(config: ComposedRun, *, folder: Path, arm: str, console: Console) -> tuple[RunRecord, Trained | None]:
    """Train, check and judge what is not finished yet, and write the record.

    Args:
        config: what is run, checked.
        folder: of the run, which this process keeps locked.
        arm: of the experiment that the run is; empty if it is none.
        console: to print on.

    Returns:
        The record, which was finished before if its status is that; and the training that figures are drawn of, None
        for several arms and for a run that trains nothing.

    Raises:
        ConfigError: if the data or the folder do not allow the run.
    """
    settings, arms = config
    record = RunRecord(folder, settings)
    record.known["command"] = command_of_run()
    unread = check_recorded_data(record.found, arms, fingerprint_data, folder=folder)
    if record.status == "finished":
        compared = f" (its data were not compared: {unread})" if unread else ""
        print_lines(console, f"{folder} holds the finished run of this configuration; nothing to do{compared}")
        return record, None
    _announce_mending(record, console, has_arms="" not in arms)
    began = time.perf_counter()
    experiment = read_experiment(settings)
    quiet_libraries()
    with recorded_failure(record):
        for part in arms.values():
            find_parts(part)
    trained = None
    if not settings["experiment"].get("train", True):
        record.known |= {"environment": describe_environment(torch.device("cpu")), "steps": 0, "replicas": []}
    elif "" in arms:
        trained = _train(settings, record, console=console, arm=arm)
    else:
        _train_arms(arms, record, console=console)
    with recorded_failure(record):
        findings = {"checks": run_checks(settings, console), "experiment": experiment} if experiment else {}
    record.known |= {**findings, "seconds": round(time.perf_counter() - began, 3)}
    with held_signals():
        record.write("finished", drawn=False)
    return record, trained


def show_results(record: RunRecord, trained: Trained | None, console: Console) -> None:
    """Draw the figures of a run whose record is written, end its loggers with them, and print what it found."""
    if record.status == "finished":
        return
    folder, known = record.path.parent, record.known
    with held_signals(dropped=True), record.drawn():  # all that takes long is done
        if trained:
            trained.show()
        if "experiment" in known:
            draw_experiment(folder, console)
    print_lines(console, f"{known['steps']:,} steps in {known['seconds']:,.1f} s; all numbers in {record.path}")


def _announce_mending(record: RunRecord, console: Console, *, has_arms: bool = False) -> None:
    """Print which files of a finished run are made anew from its last checkpoint, or refuse that without one."""
    if record.status != "damaged":
        return
    folder, names = record.path.parent, ", ".join(record.found["damaged"])
    fault = f"{folder} holds the finished run of this configuration, but {names} is not what it has left"
    if not (has_arms or has_checkpoint(folder)):
        raise ConfigError(f"{fault}, and there is no checkpoint to mend it from; delete {record.path} to train again")
    print_lines(console, f"{fault}; it is made anew")


def _train(
    settings: Settings,
    record: RunRecord,
    *,
    console: Console,
    arm: str = "",
    whole: RunRecord | None = None,
    sharing: Sequence[str] = (),
) -> Trained:
    """Train the replicas of a configuration, and add what came of them to what its record is to hold."""
    # `whole` is the record of the experiment that this is an arm of, `sharing` are its arms on the same data
    folder = record.path.parent
    records: dict[RunRecord, Sequence[str]] = {record: [""]} | ({whole: sharing} if whole else {})
    with recorded_failure(record):
        training = prepare(settings, folder=folder, console=console, begun=record.found.get("environment"))
        goes_on = training.start or has_checkpoint(folder)  # one of another run is refused before anything is written
        for begun, arms in records.items():
            begun.keep_data(training.fingerprint, arms=arms)
        logged = _open_loggers(training, arm)
    chosen = {"precision": training.precision.name, "workers": training.num_workers}
    environment = {**describe_environment(training.device), **chosen}
    for begun in records:
        begun.known["environment"] = environment
        begun.write("running")
    print_lines(console, *training.headlines(), f"folder  {folder}")
    if record.status != "new" and not goes_on:
        print_lines(console, "starts  again at epoch 0, as the run that ended early here has left no checkpoint")
    draws = not arm and is_first_process()
    if draws and isinstance(training, AllAtOnce):  # no loader forks this process while libraries are being loaded
        training.observers.append(DrawingBeginner(settings["trainer"]["max_epochs"]))
    began = time.perf_counter()
    with logged.closed_on_failure(), recorded_failure(record):
        try:
            training.train()
            seconds = round(time.perf_counter() - began, 3)
            if draws:
                begin_drawing()
            rows = training.finish()
        finally:
            training.curves.write()
    console.print(replica_table(rows), crop=False)  # a number is never cut
    record.known |= record_labels(training.rules[0])
    record.known |= {"data": training.data.source, "seconds": seconds, "steps": training.steps, "replicas": rows}
    return Trained(training, rows, logged, draws)


def _train_arms(arms: dict[str, Settings], record: RunRecord, *, console: Console) -> None:
    """Train each arm in a folder of its own, but not again one that is finished, and join their replicas."""
    outcomes = {}
    with recorded_failure(record):
        for name, settings in arms.items():
            folder = record.path.parent / name
            sharing = [other for other, part in arms.items() if data_sources(part) == data_sources(settings)]
            with exclusive_folder(folder):
                own = RunRecord(folder, settings)
                own.known["command"] = record.known["command"]
                check_recorded_data(own.found, {"": settings}, fingerprint_data, folder=folder)
                if fingerprint := recorded_fingerprint(own.found):
                    record.keep_data(fingerprint, arms=sharing)
                if own.status != "finished":
                    print_lines(console, f"\narm     {name}")
                    _announce_mending(own, console)
                    trained = _train(settings, own, console=console, arm=name, whole=record, sharing=sharing)
                    with held_signals():
                        own.write("finished", drawn=False)
                        with own.drawn():
                            trained.show()
            outcomes[name] = last = RunRecord(folder, settings).found
    record.known |= {
        "environment": last["environment"],
        "data": last["data"],
        "steps": sum(outcome["steps"] for outcome in outcomes.values()),
        "replicas": [{**row, "arm": name} for name, outcome in outcomes.items() for row in outcome["replicas"]],
    }


def _open_loggers(training: Training, arm: str) -> LoggedBands:
    """Open the loggers in the first process, and let them observe the training."""
    loggers: list[RunLogger] = []
    if is_first_process():
        sweep = HydraConfig.get().sweep if is_job_of_sweep() else None
        described = RunDescription(training.plan, training.folder, arm, sweep)
        loggers = open_loggers(described, announce=partial(print_lines, training.console))
    logged = LoggedBands(loggers, training.plan.names, at_once=not isinstance(training, OneByOne))
    if loggers:
        training.observers.append(logged)
    return logged
