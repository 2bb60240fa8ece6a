"""A training that is called from Python, as in a notebook: what the command does, and nothing of it left behind."""

import logging
import os
import random
import signal
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra.core.global_hydra import GlobalHydra
from hydra.core.singleton import Singleton
from omegaconf import DictConfig
from rich.console import Console

from noisereg.callbacks.run_checkpoint import SIGNALS, Stopped
from noisereg.config.command_line import check_command_line, complete_arguments, initialized_hydra
from noisereg.config.commands import split_options
from noisereg.config.overrides import quote_value, trusted_packages
from noisereg.config.run_folder import RunFolder
from noisereg.engine.kept_kernels import wait_for_compilation
from noisereg.errors import ConfigError
from noisereg.runs.ending import exclusive_folder
from noisereg.runs.signals import stopped_by_signals
from noisereg.terminal import open_console
from noisereg.training.data_fingerprint import fingerprint_data
from noisereg.training.libraries import QUIETED
from noisereg.training.load import TrainedRun, load
from noisereg.training.run import run_once, show_results


def train(
    overrides: Sequence[str] = (),
    *,
    folder: Path | str | None = None,
    config_dir: Path | str | None = None,
    quiet: bool = False,
) -> TrainedRun:
    """Train what `python train.py` trains with some overrides, and return the finished run.

    The run has the same checks, folder and files, and a folder that holds it already is gone on with or returned. What
    a library or the process shares is left as it was: random generators, threads, signal handlers, logging, warnings,
    the environment and what Hydra has been initialised with. An interrupt saves, and raises KeyboardInterrupt.

    Args:
        overrides: as on the command line, such as ["noise.p=[0,0.1]", "seeds=3"].
        folder: of the run; by default what the overrides or the configuration say.
        config_dir: a folder of options of your own, as `--config-dir` names to the command.
        quiet: whether nothing is printed.

    Returns:
        The run, as `load` returns it.

    Raises:
        ConfigError: naming the first key, value or name that is wrong; also for several runs (-m), an experiment
            whose arms are several, and a network that several processes share, which the command alone can start.

    Example:
        >>> train(["nois.p=0.1"])
        Traceback (most recent call last):
        noisereg.errors.ConfigError: nois.p=0.1: there is no key or group nois.p; did you mean noise.p?
    """
    if isinstance(overrides, str):
        raise ConfigError(f'overrides must be a list of texts such as ["noise.p=0.1"], got {overrides!r}')
    lines = [str(line) for line in overrides]
    if options := [line for line in lines if line.startswith("-")]:
        raise ConfigError(f"{options[0]} is an option of the command; in Python give overrides such as noise.p=0.1")
    if folder is not None:
        lines.append(f"hydra.run.dir={quote_value(str(Path(folder).expanduser()))}")
    if config_dir is not None:
        if not Path(config_dir).expanduser().is_dir():
            raise ConfigError(f"config_dir={config_dir}: there is no such folder")
        config_dir = str(Path(config_dir).expanduser().absolute())
        lines = ["--config-dir", config_dir, *lines]
    with _restored():
        arguments = complete_arguments(lines)
        found = check_command_line(arguments)
        if not isinstance(found, RunFolder):
            raise ConfigError("several processes share this training: start it by the command")
        _check_one_process(found)
        with found.claimed(fingerprint_data) as place:
            task = partial(_train, found, place, open_console(quiet=quiet))
            overrides = split_options(arguments)[1]
            _run(task, overrides, folder=place, config_dir=config_dir)
        return load(place, arm=found.arm, trust=trusted_packages(overrides))


def _check_one_process(found: RunFolder) -> None:
    trainer = found.composed.settings["trainer"]
    if trainer["devices"] != 1 or trainer.get("num_nodes", 1) != 1:
        raise ConfigError(
            f"trainer.devices={trainer['devices']}: a network that several processes share is trained by the command"
        )
    if arms := [arm for arm in found.composed.arms if arm]:
        raise ConfigError(f"the experiment has several arms, each a run of its own: give arm={arms[0]}, or another one")


def _train(found: RunFolder, place: Path, console: Console) -> None:
    """Train what was checked, in the folder that it has got."""
    folder = (place / found.arm).absolute()
    with stopped_by_signals(), exclusive_folder(folder):
        show_results(*run_once(found.composed, folder=folder, arm=found.arm, console=console), console)


def _run(task: Callable[[], Any], overrides: Sequence[str], *, folder: Path, config_dir: str | None) -> None:
    """Let Hydra begin a run in a folder and call a task in it; errors come as they are."""
    failures: list[BaseException] = []

    def call(config: DictConfig) -> None:
        try:
            task()
        except BaseException as error:  # Hydra would print its own lines about it
            failures.append(error)

    with initialized_hydra(config_dir=config_dir):
        hydra = GlobalHydra.instance().hydra
        if hydra is not None:
            overrides = [*overrides, f"hydra.run.dir={quote_value(str(folder))}"]
            hydra.run("train", task_function=call, overrides=overrides, with_log_configuration=False)
    for error in failures:
        if isinstance(error, Stopped) and error.signal == signal.SIGINT:
            raise KeyboardInterrupt from None
        raise error


@contextmanager
def _restored() -> Iterator[None]:
    """Restore, when the `with` block is left, what the whole process shares and a training changes."""
    with ExitStack() as undo:
        undo.enter_context(warnings.catch_warnings())
        undo.callback(wait_for_compilation)
        undo.callback(setattr, warnings, "formatwarning", warnings.formatwarning)
        for name in QUIETED:
            logger = logging.getLogger(name)
            undo.callback(logger.setLevel, logger.level)
        undo.callback(torch.set_num_threads, torch.get_num_threads())
        undo.callback(torch.set_rng_state, torch.get_rng_state())
        undo.callback(np.random.set_state, np.random.get_state())  # noqa: NPY002 - the one that libraries share
        undo.callback(random.setstate, random.getstate())
        for number in SIGNALS:
            if (handler := signal.getsignal(number)) is not None:
                undo.callback(_restore_handler, number, handler)
        undo.callback(_restore_environment, dict(os.environ))
        undo.callback(Singleton.set_state, Singleton.get_state())
        GlobalHydra.instance().clear()  # a caller may have initialised it, as notebooks do
        yield


def _restore_handler(number: int, handler: Any) -> None:
    if signal.getsignal(number) is not handler:
        signal.signal(number, handler)


def _restore_environment(before: dict[str, str]) -> None:
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.environ.update(before)
