"""A command line, checked whole: every run that it stands for, before the first one starts."""

import os
import re
from argparse import Namespace
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from hydra import initialize_config_dir
from hydra._internal.hydra import Hydra  # initialize_config_dir takes one folder, and hydra.main a second one
from hydra._internal.utils import get_args_parser  # what hydra.main reads the options with; it has no public name
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.progress import track

from noisereg.config.check import ComposedRun, suggest_name
from noisereg.config.commands import recorded_overrides, split_options
from noisereg.config.composing import (
    check_as_chosen,
    check_keys,
    chosen_options,
    compose_run,
    compose_with_hydra,
    conf_dir,
)
from noisereg.config.machine import check_devices, check_installed, check_launcher, ends_with_driver, is_here
from noisereg.config.overrides import parse_overrides, quote_texts, quote_value, shared_overrides
from noisereg.config.plan import Plan
from noisereg.config.run_folder import RunFolder, check_links, check_unlocked, check_writable_folder, read_record
from noisereg.config.same_run import differing, label_path
from noisereg.config.secrets import check_secrets
from noisereg.config.sweep import Job, Sweep
from noisereg.config.sweep_grid import SweepGrid, has_other_sweeper, is_named, unfixed_keys
from noisereg.errors import ConfigError

_MANY = 20  # jobs, so that a check is shown
WANDB_MODES = ("online", "offline", "shared", "disabled", "run", "dryrun")  # the last two are old names
_GROUPS_OR_NULL = ("recipe", "experiment")  # of which none may be chosen
_RANKS = {"LOCAL_RANK", "RANK", "SLURM_PROCID"}  # set in the processes of a training whose folder the first one checks


def complete_arguments(arguments: Sequence[str]) -> list[str]:
    """Return a command line as Hydra reads it: options first, and the whole command in place of `resume=FOLDER`.

    Args:
        arguments: those of the command, without its name.

    Raises:
        ConfigError: if an option is wrong, or no run can be resumed there.

    Example:
        >>> complete_arguments(["recipe=null", "--config-dir", "conf", "dataset.root=a=b"])
        ['--config-dir', 'conf', 'recipe=[]', "dataset.root='a=b'"]
    """
    options, overrides = split_options(arguments)
    words = {f"{group}=null": f"{group}=[]" for group in _GROUPS_OR_NULL}  # Hydra reads a list of options only
    overrides = [words.get(override, override) for override in overrides]
    return [*options, *quote_texts(expand_resume(overrides))]


def expand_resume(overrides: Sequence[str]) -> list[str]:
    """Return overrides with those of the run in FOLDER in place of `resume=FOLDER`.

    What a run trusts is not taken over from its folder: who resumes it gives it anew.

    Raises:
        ConfigError: if the folder holds no run.

    Example:
        >>> expand_resume(["seed=1"])
        ['seed=1']
    """
    folders = [override.removeprefix("resume=") for override in overrides if override.startswith("resume=")]
    if not folders:
        return list(overrides)
    if not folders[-1]:
        raise ConfigError("resume= must name the folder of a run; the one that you are in is .")
    folder = Path(_without_quotes(folders[-1])).expanduser()
    recorded = recorded_overrides(folder)
    folder = folder.resolve()
    if folder.name in [item.value() for item in parse_overrides(recorded) if item.key_or_group == "arm"]:
        folder = folder.parent  # an arm has a folder of its own in that of its run
    others = [override for override in overrides if not override.startswith("resume=")]
    return [*recorded, *others, f"hydra.run.dir={quote_value(str(folder))}"]


def _without_quotes(text: str) -> str:
    """Return a folder's name without the quotes that hydra.run.dir takes; a folder that is there keeps its own."""
    if not re.fullmatch(r"(['\"]).*\1", text) or Path(text).exists():
        return text
    (item,) = parse_overrides([f"resume={text}"])
    return str(item.value())


def check_command_line(arguments: Sequence[str]) -> Sweep | RunFolder | None:
    """Check every run that a command line stands for, before the first one starts.

    Args:
        arguments: those of the command, without its name.

    Returns:
        The jobs of a multirun, or the folder of a single run; None where nothing is run, another sweeper than Hydra's
        own chooses the jobs, or another process of the same training has the folder.

    Raises:
        ConfigError: naming the first key, value or name that is wrong, with the nearest one that is right.
    """
    options = get_args_parser().parse_args(list(arguments))
    _check_options(options)
    overrides = list(options.overrides)
    for override in parse_overrides(overrides):  # a secret is refused before anything is printed or written
        check_secrets({override.key_or_group: override.value()})
    check_secrets({"--config-dir": options.config_dir, "--config-path": options.config_path})
    shows = any((options.help, options.hydra_help, options.cfg, options.info, options.shell_completion))
    if shows and not (options.config_dir or options.config_path):
        return None
    name = options.config_name or "train"
    with initialized_hydra(options.config_path, options.config_dir):
        if options.multirun and not shows:
            return _check_sweep(name, overrides, chosen_from=name if options.config_path else "train")
        config = compose_with_hydra(name, overrides)
        return None if shows else _check_run(config, overrides)


def check_wandb_mode(mode: str) -> None:
    """Refuse a mode that W&B does not have; an empty text is none.

    Raises:
        ConfigError: naming the variable.
    """
    if mode and mode not in WANDB_MODES:
        hint = suggest_name(mode.lower(), WANDB_MODES[:4])
        raise ConfigError(f"WANDB_MODE={mode} must be one of {', '.join(WANDB_MODES[:4])}, or empty{hint}")


@contextmanager
def initialized_hydra(config_path: str | None = None, config_dir: str | None = None) -> Iterator[None]:
    """Initialise Hydra with the folders that `hydra.main` looks in for these options, in its order."""
    with initialize_config_dir(config_path or str(conf_dir()), version_base="1.3", job_name="train"):
        if config_dir:
            places = GlobalHydra.instance().config_loader().get_search_path()
            place = f"file://{Path(config_dir).absolute()}"
            places.prepend("command-line", place, SearchPathQuery(provider="schema"))
            GlobalHydra.instance().clear()  # places are read once, as it is made
            Hydra.create_main_hydra2("train", places)
        yield


def _check_options(options: Namespace) -> None:
    if options.experimental_rerun:
        raise ConfigError("--experimental-rerun reads a pickle, which can run code; take resume=FOLDER")
    if options.config_path and not Path(options.config_path).is_absolute():
        raise ConfigError(f"--config-path must be an absolute path, got {options.config_path}; or take --config-dir")
    if options.config_dir and not Path(options.config_dir).is_dir():
        raise ConfigError(f"--config-dir={options.config_dir}: there is no such folder")
    for folder in filter(None, (options.config_dir, options.config_path)):
        for path in Path(folder).rglob("*.yaml"):
            if not (path.is_file() or path.is_dir()):
                raise ConfigError(f"{path} is no regular file; remove it, as reading it may never end")
    actions = ("run", "multirun", "cfg", "info", "shell_completion")
    if len(asked := [f"--{name.replace('_', '-')}" for name in actions if getattr(options, name)]) > 1:
        raise ConfigError(f"{asked[0]} does not go with {asked[1]}: leave one of them out")
    if "/" in (options.config_name or ""):
        raise ConfigError(f"--config-name must be a name without a slash, got {options.config_name}")
    for folder in filter(None, (options.config_path, options.config_dir)):
        _check_places(Path(folder, f"{(options.config_name or 'train').removesuffix('.yaml')}.yaml"))


def _check_places(primary: Path) -> None:
    """Refuse a primary configuration that names places of files: to look into pkg:// would run a package's code."""
    try:
        hydra = yaml.safe_load(primary.read_bytes()).get("hydra")
    except (OSError, AttributeError, RecursionError, ValueError, yaml.YAMLError):  # Hydra says what is wrong with it
        return
    if isinstance(hydra, str) or (isinstance(hydra, dict) and hydra.get("searchpath")):
        raise ConfigError(f"hydra.searchpath can be set on the command line only, and {primary} sets it")


def _check_run(config: DictConfig, overrides: list[str]) -> RunFolder | None:
    """Check a single run, and that it can have its folder."""
    if keys := unfixed_keys(overrides, config):
        raise ConfigError(f"{keys[0]} has several values in the file of a sweep: give -m, or a value of {keys[0]}")
    composed = _check_job(config, overrides, key="hydra.run.dir")
    check_devices(composed.settings["trainer"])
    ranks = {os.environ[name] for name in _RANKS & os.environ.keys()}
    if ranks - {"0"}:
        return None
    folder, arm = Path(config.hydra.run.dir), config.arm or ""
    # several processes read the clock each for itself, and the others know of no number
    is_numbered = not ranks and not is_named(config, "hydra.run.dir")
    if not is_numbered:
        check_links(folder, key="hydra.run.dir", parts=[folder / arm / name for name in composed.arms])
        read_record(folder / arm, composed.settings)
        check_unlocked(folder / arm, key="hydra.run.dir")
    return RunFolder(folder, arm, composed, is_numbered=is_numbered)


def _check_sweep(name: str, overrides: list[str], *, chosen_from: str) -> Sweep | None:
    """Check each job of a multirun, and that each can have its folder; see `check_as_chosen`."""
    fixed = shared_overrides(overrides)
    for override in parse_overrides(fixed):
        if override.key_or_group == "hydra/launcher":
            check_installed(override.value())
    shared = compose_with_hydra(name, fixed)
    check_as_chosen(shared, name=chosen_from, overrides=fixed)
    if has_other_sweeper(shared):
        _check_job(shared, fixed, key="hydra.sweep.dir")
        return None
    grid = SweepGrid(overrides, shared)
    if chosen_options(grid.jobs[0]) == chosen_options(fixed):
        check_keys([line for line in grid.jobs[0] if line not in fixed], shared)
    jobs: dict[Path, Job] = {}
    for number, part in enumerate(_show_progress(grid.jobs)):
        placed = [*part, *grid.placing, f"hydra.job.num={number}", f"hydra.job.id={number}"]
        alike = shared if chosen_options(part) == chosen_options(fixed) else None
        config = compose_with_hydra(name, placed, alike=alike)
        folder, composed = Path(config.hydra.sweep.dir), _check_job(config, part, key="hydra.sweep.dir")
        job = Job(folder / config.hydra.sweep.subdir / (config.arm or ""), composed)
        other = jobs.setdefault(job.folder, job)
        if keys := _differing_jobs(other, job):
            place = config.hydra.sweep.subdir
            raise ConfigError(f"hydra.sweep.subdir={place} is that of two jobs; name {keys[0]} in it")
    launcher: Any = OmegaConf.to_container(shared.hydra.launcher, resolve=True)
    check_launcher(launcher, [job.composed.settings for job in jobs.values()])
    if is_here(launcher):
        for job in jobs.values():
            check_devices(job.composed.settings["trainer"])
    parts = [part for job in jobs.values() for part in {job.folder, *(job.folder / name for name in job.composed.arms)}]
    check_links(folder, key="hydra.sweep.dir", parts=parts)
    check_unlocked(folder, key="hydra.sweep.dir")
    for job in jobs.values():
        read_record(job.folder, job.composed.settings, key="hydra.sweep.dir")
        check_unlocked(job.folder, key="hydra.sweep.dir")
    return Sweep(
        folder, list(jobs.values()), [*grid.rounded, *grid.placing], takes_jobs_along=ends_with_driver(launcher)
    )


def _show_progress(jobs: Sequence[list[str]]) -> Iterable[list[str]]:
    """Show on a terminal how far the check of many jobs is: to compose one takes some tenths of a second."""
    console = Console(stderr=True)
    if len(jobs) < _MANY or not console.is_terminal:
        return jobs
    return track(jobs, "checking the jobs", console=console, transient=True)


def _differing_jobs(job: Job, other: Job) -> list[str]:
    """Return the keys in which two jobs differ; data or labels in two places are taken for others."""
    both = (job.composed.settings, other.composed.settings)
    places = [{"dataset.root": some["dataset"].get("root"), "noise.path": label_path(some)} for some in both]
    was, now = differing(*both)
    return [*(was | now)] or [key for key, place in places[0].items() if place != places[1][key]]


def _check_job(config: DictConfig, overrides: list[str], *, key: str) -> ComposedRun:
    """Check the configuration of one run and return what it stands for; `key` names the folder."""
    folder = OmegaConf.select(config, key)
    with_hydra = OmegaConf.to_container(config, resolve=False)
    ours = OmegaConf.create({part: value for part, value in with_hydra.items() if part != "hydra"})  # type: ignore[union-attr]
    composed = compose_run(ours, overrides, name=config.hydra.job.config_name)
    for arm in composed.arms.values():
        if arm["experiment"].get("train", True):
            Plan(arm).check_engine()
    if not folder:
        raise ConfigError(f"{key} must name a folder, got {folder!r}; the one that you are in is .")
    check_secrets({key: folder})
    if composed.settings["logger"]["wandb"]:
        check_wandb_mode(os.environ.get("WANDB_MODE", ""))
    check_writable_folder(Path(folder), key=key)
    return composed
