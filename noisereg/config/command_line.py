"""Every job that a command line stands for is checked before the first one starts."""

import os
from argparse import Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from noisereg.config.check import check, conf_dir, nearest
from noisereg.config.composition import compose_arms, first_line, parsed, steers, trusted, unreadable
from noisereg.config.grid import Grid, fixed, is_left_to_hydra, without_value
from noisereg.config.hydra_section import check_hydra
from noisereg.config.launchers import check_installed, check_launcher
from noisereg.config.plan import Plan
from noisereg.config.run_folder import differing, read_record
from noisereg.config.secrets import check_secrets
from noisereg.config.sweep import Job, Sweep
from noisereg.errors import ConfigError
from noisereg.files.lock import LOCK, locked

_OF_OTHERS = {"LOCAL_RANK", "RANK", "SLURM_PROCID"}  # a training of several processes: the first one looks after it


def check_command_line(arguments: Sequence[str]) -> Sweep | None:
    """Check every job that a command line stands for, before the first one starts.

    Args:
        arguments: those of the command, without its name.

    Returns:
        The jobs of a multirun; None for a single run, or where another sweeper than Hydra's own chooses the jobs.

    Raises:
        ConfigError: naming the first key, value or name that is wrong, with the nearest one that is right.
    """
    options = get_args_parser().parse_args(list(arguments))
    _check_options(options)
    overrides = list(options.overrides)
    _check_overrides(overrides)
    shows = any((options.help, options.hydra_help, options.cfg, options.info, options.shell_completion))
    if shows and not (options.config_dir or options.config_path):
        return None
    if options.config_dir:
        overrides.append(f"hydra.searchpath=[file://{Path(options.config_dir).resolve()}]")
    name = options.config_name or "train"
    with initialize_config_dir(options.config_path or str(conf_dir()), version_base="1.3"):
        if options.multirun and not shows:
            return _check_sweep(name, overrides)
        config = _composed(name, overrides)
        if not shows:
            _check_run(config, overrides)
    return None


def _check_options(options: Namespace) -> None:
    if options.experimental_rerun:
        raise ConfigError("--experimental-rerun reads a pickle, which can run code; take resume=FOLDER")
    if options.config_path and not Path(options.config_path).is_absolute():
        raise ConfigError(f"--config-path must be an absolute path, got {options.config_path}; or take --config-dir")
    if options.config_dir and not Path(options.config_dir).is_dir():
        raise ConfigError(f"--config-dir={options.config_dir}: there is no such folder")
    if "/" in (options.config_name or ""):
        raise ConfigError(f"--config-name must be a name without a slash, got {options.config_name}")


def _check_overrides(overrides: list[str]) -> None:
    """Refuse a secret before anything of the command line is told or written."""
    for override in parsed(overrides):
        check_secrets({override.key_or_group: override.value()})


def _check_sweep(name: str, overrides: list[str]) -> Sweep | None:
    """Check each job of a multirun, and that each can have its folder."""
    for override in parsed(fixed(overrides)):
        if override.key_or_group == "hydra/launcher":
            check_installed(override.value())
    shared = _composed(name, fixed(overrides))
    if is_left_to_hydra(shared):
        _check_job(shared, fixed(overrides), key="hydra.sweep.dir")
        return None
    grid = Grid(overrides, shared)
    jobs: dict[Path, Job] = {}
    for number, part in enumerate(grid.jobs):
        placed = [*part, *grid.placing, f"hydra.job.num={number}", f"hydra.job.id={number}"]
        config = _composed(name, placed)
        folder, settings = Path(config.hydra.sweep.dir), _check_job(config, part, key="hydra.sweep.dir")
        job = Job(folder / config.hydra.sweep.subdir / (config.arm or ""), settings)
        other = jobs.setdefault(job.folder, job)
        if keys := differing(other.settings, job.settings):
            place = config.hydra.sweep.subdir
            raise ConfigError(f"hydra.sweep.subdir={place} is that of two jobs; name {keys[0]} in it")
    launcher: Any = OmegaConf.to_container(shared.hydra.launcher, resolve=True)
    check_launcher(launcher, [job.settings for job in jobs.values()])
    _check_alone(folder, key="hydra.sweep.dir")
    for job in jobs.values():
        _check_free(job.folder, job.settings, key="hydra.sweep.dir")
    return Sweep(folder, list(jobs.values()), grid.placing)


def _composed(name: str, overrides: list[str]) -> DictConfig:
    """Compose a configuration with Hydra's part, and check that part: Hydra builds it before the run begins."""
    try:
        config = compose(name, overrides=overrides, return_hydra_config=True)
    except MissingConfigException as error:
        raise ConfigError(_unknown_option(error)) from None
    except OverrideParseException as error:
        raise ConfigError(unreadable(error)) from None
    except ConfigCompositionException as error:
        raise ConfigError(_misused(overrides) or _unknown_key(overrides) or first_line(error)) from None
    except (HydraException, OmegaConfBaseException, YAMLError, ValueError) as error:
        raise ConfigError(_misused(overrides) or first_line(error)) from None
    hydra: Any = OmegaConf.to_container(config.hydra, resolve=False)
    keys = [override.key_or_group for override in parsed(overrides)]
    check_secrets({"hydra": hydra})
    check_hydra(hydra, overrides=overrides, keys=keys, trust=trusted(overrides))
    return config


def _check_run(config: DictConfig, overrides: list[str]) -> None:
    """Check a single run, and that it can have its folder."""
    if keys := without_value(overrides, config):
        raise ConfigError(f"{keys[0]} has several values in the file of a sweep: give -m, or a value of {keys[0]}")
    settings = _check_job(config, overrides, key="hydra.run.dir")
    if not _OF_OTHERS & os.environ.keys():
        _check_free(Path(config.hydra.run.dir) / (config.arm or ""), settings, key="hydra.run.dir")


def _check_job(config: DictConfig, overrides: list[str], *, key: str) -> dict[str, Any]:
    """Check one job, and give its configuration as plain values."""
    folder = OmegaConf.select(config, key)
    with_hydra = OmegaConf.to_container(config, resolve=False)
    ours = OmegaConf.create({key: value for key, value in with_hydra.items() if key != "hydra"})  # type: ignore[union-attr]
    arms = {name: check(part) for name, part in compose_arms(ours, overrides).items()}
    for arm in arms.values():
        if arm["experiment"].get("train", True):
            Plan(arm).check_engine()
    if not folder:
        raise ConfigError(f"{key} must name a folder, got {folder!r}; the one that you are in is .")
    check_secrets({key: folder})
    _check_writable(Path(folder), key=key)
    return arms.get(ours.arm or "") or check(ours)


def resumed(arguments: Sequence[str]) -> list[str]:
    """Put in place of `resume=FOLDER` the command of the run in that folder, to be given again there.

    What a run trusts is not taken over from its folder: who resumes it says it anew.

    Args:
        arguments: those of the command, without its name.

    Raises:
        ConfigError: if the folder holds no run.

    Example:
        >>> resumed(["seed=1"])
        ['seed=1']
    """
    folders = [Path(argument.removeprefix("resume=")) for argument in arguments if argument.startswith("resume=")]
    if not folders:
        return list(arguments)
    known = folders[-1] / ".hydra" / "overrides.yaml"
    try:
        recorded = [str(override) for override in OmegaConf.load(known)]
    except (OSError, YAMLError) as error:
        raise ConfigError(f"resume={folders[-1]}: no run can be found there ({known}: {error})") from None
    kept = [override for override in parsed(recorded) if override.key_or_group not in ("trust", "resume")]
    if alien := [override for override in kept if steers(override)]:
        raise ConfigError(f"resume={folders[-1]}: {known} has {alien[0].key_or_group}, which no run writes there")
    others = [argument for argument in arguments if not argument.startswith("resume=")]
    place = str(folders[-1].resolve()).replace("'", "\\'")
    return [*(str(override.input_line) for override in kept), *others, f"hydra.run.dir='{place}'"]


def default_settings() -> dict[str, Any]:
    """Give the configuration of a plain `python train.py`, as plain values.

    Example:
        >>> default_settings()["dataset"]["d"]
        60
    """
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return check(compose("train"))


def _check_free(folder: Path, settings: dict[str, Any], *, key: str) -> None:
    """Refuse a folder of another run, or of one that is under way, before Hydra writes there."""
    read_record(folder, settings, key=key)
    _check_alone(folder, key=key)


def _check_alone(folder: Path, *, key: str) -> None:
    if (folder / LOCK).exists():
        with locked(folder, key=key):
            pass


def _check_writable(folder: Path, *, key: str) -> None:
    existing = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    probe = existing / f".noisereg-probe-{id(folder)}"
    try:
        probe.mkdir()
        probe.rmdir()
    except OSError as error:
        reason = error.strerror or error
        raise ConfigError(f"{key}={folder} cannot be written to ({existing}: {reason}); name another folder") from None


def _unknown_option(error: MissingConfigException) -> str:
    group, _, name = (error.missing_cfg_file or "").rpartition("/")
    options = error.options or []
    return f"{group}={name}: there is no such {group}{nearest(name, options)} (known: {', '.join(options)})"


def _misused(overrides: list[str]) -> str | None:
    """Find the override that is not written as one of its kind, and say so; None if there is none."""
    for override in parsed(overrides):
        key, value = override.key_or_group, override.value()
        if override.is_sweep_override():
            return f"{override.input_line}: for a run each give -m; a list is written '{key}=[1,2]'"
        if key == "sweeps" and not override.is_add():
            return f"{override.input_line}: a sweep is added, with a plus: -m +{override.input_line}"
        if key and (conf_dir() / key).is_dir() and not isinstance(value, str | list):
            return f"{override.input_line}: {key} must be the name of one of its options"
    return None


def _unknown_key(overrides: list[str]) -> str | None:
    """Find the override whose group or key does not exist, and say so; None if there is none."""
    parsed = OverridesParser.create().parse_overrides(overrides)
    groups = [str(path.relative_to(conf_dir())) for path in conf_dir().rglob("*") if path.is_dir()]
    choosing = {*groups, "hydra.searchpath"}
    choices = [str(override.input_line) for override in parsed if override.key_or_group in choosing]
    try:
        chosen = compose("train", overrides=choices)
    except (HydraException, OmegaConfBaseException):
        return None  # it is an option that is wrong, and not an override
    known = list(dict.fromkeys([*_keys(OmegaConf.to_container(chosen)), *groups]))
    for override in parsed:
        key = override.key_or_group
        if not (override.is_add() or key in known or key.startswith("hydra")):
            return f"{override.input_line}: there is no key or group {key}{_suggestion(key, known)}"
    return None


def _suggestion(key: str, known: list[str]) -> str:
    """Hint at a key of the same section, or at the same name in another."""
    section, _, name = key.rpartition(".")
    if elsewhere := [full for full in known if full.rpartition(".")[2] == name]:
        return f"; did you mean {elsewhere[0]}?"
    return nearest(name, [full.rpartition(".")[2] for full in known if full.rpartition(".")[0] == section])


def _keys(node: Any, prefix: str = "") -> Iterator[str]:
    for name, value in node.items():
        yield f"{prefix}{name}"
        if isinstance(value, dict):
            yield from _keys(value, f"{prefix}{name}.")
