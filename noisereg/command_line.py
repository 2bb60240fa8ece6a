"""Every job that a command line stands for is checked before the first one starts."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from noisereg.config import ConfigError, check, conf_dir, nearest


def check_command_line(arguments: Sequence[str]) -> None:
    """Check every job that a command line stands for, before the first one starts.

    Args:
        arguments: those of the command, without its name.

    Raises:
        ConfigError: naming the first key, value or name that is wrong, with the nearest one that is right.
    """
    options = get_args_parser().parse_args(list(arguments))
    if any((options.help, options.hydra_help, options.cfg, options.info, options.shell_completion)):
        return
    if options.config_path or options.config_name or options.experimental_rerun:
        return  # another configuration than ours: each run checks its own
    overrides = list(options.overrides)
    if options.config_dir:
        overrides.append(f"hydra.searchpath=[file://{Path(options.config_dir).resolve()}]")
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        for job in _jobs(overrides) if options.multirun else [overrides]:
            _check_job(job, multirun=options.multirun)


def _jobs(overrides: list[str]) -> Iterator[list[str]]:
    """Expand the overrides of a multirun as Hydra's own sweeper does; another sweeper's are left to it."""
    parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
    try:
        parsed = parser.parse_overrides(overrides)
        if any(override.key_or_group == "hydra/sweeper" for override in parsed):
            return iter(())
        batches = BasicSweeper.split_arguments(parsed, max_batch_size=None)
    except OverrideParseException as error:
        raise ConfigError(_unreadable(error)) from None
    except HydraException as error:
        raise ConfigError(_first_line(error)) from None
    return (job for batch in batches for job in batch)


def _check_job(overrides: list[str], *, multirun: bool) -> None:
    try:
        config = compose("train", overrides=overrides, return_hydra_config=True)
    except MissingConfigException as error:
        raise ConfigError(_unknown_option(error)) from None
    except OverrideParseException as error:
        raise ConfigError(_unreadable(error)) from None
    except ConfigCompositionException as error:
        raise ConfigError(_unknown_key(overrides) or _first_line(error)) from None
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise ConfigError(_first_line(error)) from None
    folder = config.hydra.sweep.dir if multirun else config.hydra.run.dir
    with_hydra = OmegaConf.to_container(config, resolve=False)
    ours = OmegaConf.create({key: value for key, value in with_hydra.items() if key != "hydra"})  # type: ignore[union-attr]
    for part in compose_arms(ours, overrides).values():
        check(part)
    _check_writable(Path(folder), key="hydra.sweep.dir" if multirun else "hydra.run.dir")


def default_settings() -> dict[str, Any]:
    """Give the configuration of a plain `python train.py`, as plain values.

    Example:
        >>> default_settings()["dataset"]["d"]
        60
    """
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return check(compose("train"))


def compose_arms(config: DictConfig, overrides: Sequence[str]) -> dict[str, DictConfig]:
    """Compose the runs that a configuration stands for: one for each arm of its experiment, in its short form if asked.

    What the user says on the command line goes over what an arm says. Hydra must be initialised.

    Args:
        config: of the whole.
        overrides: of the command line that it was composed from.

    Returns:
        The configuration of each arm by its name, without the experiment; if there are no arms, one configuration by
        the name "".

    Raises:
        ConfigError: if an arm cannot be composed.
    """
    experiment = check(config)["experiment"]
    fast, arms = experiment.get("fast", []) if config.fast else [], experiment.get("arms", {})
    if not arms:
        return {"": _compose([*fast, *overrides]) if fast else config}
    parts = {name: _compose([*arm, *fast, *overrides]) for name, arm in arms.items()}
    for part in parts.values():
        part.experiment = {}
        part.logger.group = part.logger.group or experiment.get("id")
    return parts


def _compose(overrides: list[str]) -> DictConfig:
    try:
        return compose("train", overrides=overrides)
    except HydraException as error:
        raise ConfigError(f"experiment: {_first_line(error)}") from None


def _check_writable(folder: Path, *, key: str) -> None:
    existing = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    probe = existing / f".noisereg-probe-{id(folder)}"
    try:
        probe.mkdir()
        probe.rmdir()
    except OSError as error:
        reason = error.strerror or error
        raise ConfigError(f"{key}={folder} cannot be written to ({existing}: {reason}); name another folder") from None


def _unreadable(error: OverrideParseException) -> str:
    return f"{error.override}: cannot be read; write key=value, and quote what is special to your shell: 'key=[1,2]'"


def _unknown_option(error: MissingConfigException) -> str:
    group, _, name = (error.missing_cfg_file or "").rpartition("/")
    options = error.options or []
    return f"{group}={name}: there is no such {group}{nearest(name, options)} (known: {', '.join(options)})"


def _unknown_key(overrides: list[str]) -> str | None:
    """Find the override whose group or key does not exist, and say so; None if there is none."""
    parsed = OverridesParser.create().parse_overrides(overrides)
    groups = [str(path.relative_to(conf_dir())) for path in conf_dir().rglob("*") if path.is_dir()]
    choices = [str(override.input_line) for override in parsed if override.key_or_group in groups]
    known = list(dict.fromkeys([*_keys(OmegaConf.to_container(compose("train", overrides=choices))), *groups]))
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


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
