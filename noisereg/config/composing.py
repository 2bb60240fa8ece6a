"""From overrides to the configurations of runs: composed by Hydra, one for each arm, and checked whole."""

from collections.abc import Sequence
from pathlib import Path
from string import Template
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from noisereg.config.allowed import check_callbacks, check_targets
from noisereg.config.check import ComposedRun, Settings, check, is_known, suggest_name
from noisereg.config.hydra_section import check_hydra
from noisereg.config.machine import check_loggers
from noisereg.config.overrides import (
    describe_unreadable,
    first_line,
    is_for_user_only,
    parse_overrides,
    stated_keys,
    trusted_packages,
)
from noisereg.config.secrets import check_interpolations, check_secrets
from noisereg.config.sections import is_below, walk
from noisereg.errors import ConfigError

# What Hydra raises where a file or an override is not what it takes: the last three for what is no name of an option.
_FAULTS = (HydraException, OmegaConfBaseException, YAMLError, ValueError, TypeError, AttributeError, KeyError)


def conf_dir() -> Path:
    """Return the folder of the configuration: beside the package in a checkout, inside it when installed."""
    package = Path(__file__).parents[1]
    return package / "conf" if (package / "conf").is_dir() else package.parent / "conf"


def compose_settings(*overrides: str) -> Settings:
    """Compose and check the configuration of `python train.py` with some overrides, as plain values.

    What it would build and whether it holds a secret is not looked at: the overrides are the caller's own.

    Raises:
        ConfigError: naming the first key that is wrong.

    Example:
        >>> compose_settings("dataset.d=30")["dataset"]["d"]
        30
    """
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return check(compose("train", overrides=list(overrides)))


def compose_help() -> str:
    """Return what `--help` prints: the template in train.yaml, with the options of each group in their place.

    It is of the files alone: Hydra's own way to it takes seconds.

    Example:
        >>> "optimizer: adam, sgd" in compose_help()
        True
    """
    folder = conf_dir()
    template = str(OmegaConf.load(folder / "train.yaml").hydra.help.template)
    options: dict[str, list[str]] = {}
    for path in folder.glob("*/**/*.yaml"):
        options.setdefault(path.parent.relative_to(folder).as_posix(), []).append(path.stem)
    groups = sorted((group, names) for group, names in options.items() if group.partition("/")[0] != "hydra")
    lines = (f"{group}: {', '.join(sorted(names))}\n" for group, names in groups)
    return Template(template).substitute(APP_CONFIG_GROUPS="".join(lines))


def compose_with_hydra(name: str, overrides: list[str], *, alike: DictConfig | None = None) -> DictConfig:
    """Compose a configuration with Hydra's part, and check that part: Hydra builds it before the run begins.

    Hydra must be initialised.

    Args:
        name: of the primary configuration.
        overrides: of the command line.
        alike: a configuration of the same groups' options, if there is one: it spares the search for a wrong key a
            composition of its own.

    Raises:
        ConfigError: naming the override that is wrong, or the key that is in Hydra's part.
    """
    try:
        config = compose(name, overrides=overrides, return_hydra_config=True)
    except MissingConfigException as error:
        raise ConfigError(_describe_unknown_option(error, name)) from None
    except OverrideParseException as error:
        raise ConfigError(describe_unreadable(error)) from None
    except ConfigCompositionException as error:
        fault = _find_misuse(overrides) or _find_unknown_key(overrides, alike or _compose_options(name, overrides))
        raise ConfigError(fault or _describe_composition(error)) from None
    except _FAULTS as error:
        raise ConfigError(_find_misuse(overrides) or _find_broken_file(error) or first_line(error)) from None
    except RecursionError:
        raise ConfigError("a file of options is nested too deep, or holds or includes itself") from None
    hydra: Any = OmegaConf.to_container(config.hydra, resolve=False)
    keys = [override.key_or_group for override in parse_overrides(overrides)]
    check_secrets({"hydra": hydra})
    written = {key: value for key, value in hydra.items() if key not in ("overrides", "launcher", "sweeper")}
    written["job"] = {key: value for key, value in hydra["job"].items() if key != "override_dirname"}
    written["sweeper"] = {"params": hydra["sweeper"].get("params")}
    stated = stated_keys(overrides)
    check_interpolations({"hydra": written}, stated=stated)
    for key in stated:
        if is_below(key, "hydra") and not is_below(key, "hydra.launcher"):
            check_secrets({key: _resolve(config, key)})
    check_hydra(hydra, overrides=overrides, keys=keys, trust=trusted_packages(overrides))
    return config


def _resolve(config: DictConfig, key: str) -> Any:
    """Return a value of Hydra's part that the command line sets; None where only a run that has begun gives it one.

    Raises:
        ConfigError: if it reads a variable of the environment that is not there.
    """
    try:
        return OmegaConf.select(config, key)
    except OmegaConfBaseException as error:
        if "Environment variable" in str(error):  # a KeyError of the resolver, told by its words alone
            raise ConfigError(f"{key}: {first_line(error)}") from None
        return None


def check_as_chosen(config: DictConfig, *, name: str, overrides: Sequence[str]) -> None:
    """Refuse a file that changes the launcher or the sweeper which the command line chooses.

    Their settings hold lines for a shell, addresses of servers and names of functions. Hydra must be initialised.

    Args:
        config: with Hydra's part.
        name: of the primary configuration whose settings count as chosen: the program's own, or that of --config-path.
        overrides: of the command line that it was composed from.

    Raises:
        ConfigError: naming the setting.
    """
    sections = ("hydra.launcher", "hydra.sweeper")
    given_here = parse_overrides(overrides)
    choosing = [item for item in given_here if item.key_or_group.replace("/", ".").startswith(sections)]
    if len(choosing) == len(given_here) and config.hydra.job.config_name == name:
        return  # no other file is chosen: the same would be composed again
    chosen = compose(name, overrides=[str(item.input_line) for item in choosing], return_hydra_config=True)
    for section in sections:
        given: Any = OmegaConf.to_container(OmegaConf.select(config, section), resolve=False)
        own: Any = OmegaConf.to_container(OmegaConf.select(chosen, section), resolve=False)
        for key in given.keys() | own.keys():
            if key != "params" and given.get(key) != own.get(key):
                raise ConfigError(f"{section}.{key} can be set on the command line only, and a file sets it")


def compose_run(config: DictConfig, overrides: Sequence[str], *, name: str = "train") -> ComposedRun:
    """Compose and check what a configuration stands for: a run, or one for each arm of its experiment.

    What the user says on the command line goes over what an arm says. Hydra must be initialised.

    Args:
        config: of the whole.
        overrides: of the command line that it was composed from.
        name: of the primary configuration that it was composed from, as the arms are.

    Raises:
        ConfigError: naming the first key that is wrong; if an arm cannot be composed, or there is no arm of that name.
    """
    whole = check_safe(config, overrides)
    check_loggers(whole["logger"], overrides)
    experiment = whole["experiment"]
    fast, arms = experiment.get("fast", []) if config.fast else [], experiment.get("arms", {})
    if config.arm is not None and config.arm not in arms:
        hint = suggest_name(config.arm, arms) or (f" (known: {', '.join(arms)})" if arms else "")
        raise ConfigError(f"arm={config.arm}: the experiment has no such arm{hint}")
    for override in parse_overrides([*fast, *(line for arm in arms.values() for line in arm)]):
        if is_for_user_only(override):
            raise ConfigError(f"experiment: an arm cannot set {override.input_line}; give it on the command line")
    if not arms:
        settings = _compose_part(name, fast, overrides) if fast else whole
        return ComposedRun(settings, {"": settings})
    chosen = arms if config.arm is None else {"": arms[config.arm]}
    parts = {key: _compose_part(name, [*arm, *fast], overrides) for key, arm in chosen.items()}
    for part in parts.values():
        part |= {"experiment": {}, "arm": None}
        part["logger"] = {**part["logger"], "group": part["logger"]["group"] or experiment.get("id")}
    return ComposedRun(parts.get("", whole), parts)


def check_safe(config: DictConfig, overrides: Sequence[str]) -> Settings:
    """Check a configuration, and that it builds nothing but what the command line allows and holds no secret.

    Args:
        config: without Hydra's own part.
        overrides: of the command line.

    Returns:
        The configuration as plain values.

    Raises:
        ConfigError: naming the first key that is wrong.
    """
    written: Any = OmegaConf.to_container(config, resolve=False)
    stated = stated_keys(overrides)
    check_secrets(written)
    check_interpolations(written, stated=stated)
    try:
        settings = check(config)
    except ConfigError:
        for override in parse_overrides(overrides):  # what is missing without an option may stand far from its group
            if override.value() == [] and (conf_dir() / override.key_or_group).is_dir():
                group = override.key_or_group
                raise ConfigError(f"{group}=[]: {group} must be the name of one of its options") from None
        raise
    trust = trusted_packages(overrides)
    if settings.get("trust", []) != trust:
        raise ConfigError(f"trust={settings['trust']} stands in a file; it counts on the command line only")
    check_targets(settings, trust=trust, stated=stated)
    check_callbacks(settings)
    check_secrets(settings)
    return settings


def _compose_part(name: str, lines: Sequence[str], overrides: Sequence[str]) -> Settings:
    try:
        part = compose(name, overrides=[*lines, *overrides])
    except _FAULTS as error:
        raise ConfigError(f"experiment: {_find_misuse([*lines, *overrides]) or first_line(error)}") from None
    except RecursionError:
        raise ConfigError("experiment: a file of options is nested too deep, or holds or includes itself") from None
    return check_safe(part, overrides)


def _describe_unknown_option(error: MissingConfigException, primary: str) -> str:
    group, _, name = (error.missing_cfg_file or "").rpartition("/")
    if not group and name == primary:
        return f"--config-name={name}: there is no {name}.yaml; name the folder that it lies in: --config-dir FOLDER"
    options = error.options or sorted(path.stem for path in (conf_dir() / group).glob("*.yaml"))  # none of a list
    return f"{group}={name}: there is no such {group}{suggest_name(name, options)} (known: {', '.join(options)})"


def _describe_composition(error: ConfigCompositionException) -> str:
    line = first_line(error)
    override = line.removeprefix("Error merging override ")
    return line if override == line else f"{override}: {first_line(error.__cause__ or error)}"


def _find_broken_file(error: BaseException) -> str | None:
    """Return what is wrong with the first file that is no YAML, if it is that: the error does not name the file."""
    if not isinstance(error, YAMLError | UnicodeDecodeError):
        return None
    folders = [place.path for place in GlobalHydra.instance().config_loader().get_search_path().get_path()]
    for folder in (folder.removeprefix("file://") for folder in folders if "://" not in folder.removeprefix("file://")):
        for path in sorted(Path(folder).rglob("*.yaml")):
            try:
                OmegaConf.load(path)
            except (YAMLError, UnicodeDecodeError) as fault:
                return f"{path} is no YAML: {' '.join(str(fault).split())}"
    return None


def _find_misuse(overrides: list[str]) -> str | None:
    """Return what is wrong with the first override that is not written as one of its kind; None if there is none."""
    for override in parse_overrides(overrides):
        key, value = override.key_or_group, override.value()
        if override.is_sweep_override():
            return f"{override.input_line}: for a run each give -m; a list is written '{key}=[1,2]'"
        if key == "sweeps" and not override.is_add():
            return f"{override.input_line}: a sweep is added, with a plus: -m +{override.input_line}"
        names = value if isinstance(value, list) else [value]
        if key and (conf_dir() / key).is_dir() and not all(isinstance(name, str) for name in names):
            return f"{override.input_line}: {key} must be the name of one of its options"
    return None


def check_keys(overrides: Sequence[str], config: DictConfig) -> None:
    """Refuse a key that is in no file, before Hydra composes a configuration to find that.

    Args:
        overrides: that choose no option.
        config: composed without them, with Hydra's part.

    Raises:
        ConfigError: naming the override, with the nearest key.
    """
    given = parse_overrides(overrides)
    if any(override.is_add() or override.is_delete() for override in given):  # a key may be in what another adds
        return
    changed = OmegaConf.masked_copy(config, [str(part) for part in config if part != "hydra"])
    OmegaConf.set_struct(changed, True)
    for override in given:
        try:
            OmegaConf.update(changed, override.key_or_group, override.value())  # as Hydra does
        except OmegaConfBaseException:
            if fault := _find_unknown_key([str(override.input_line)], config):
                raise ConfigError(fault) from None


def chosen_options(overrides: Sequence[str]) -> list[str]:
    """Return those of some overrides that choose an option of a group, or where groups are looked for."""
    choosing = {*_groups(), "hydra.searchpath"}
    return [str(override.input_line) for override in parse_overrides(overrides) if override.key_or_group in choosing]


def _groups() -> list[str]:
    return [str(path.relative_to(conf_dir())) for path in conf_dir().rglob("*") if path.is_dir()]


def _compose_options(name: str, overrides: list[str]) -> DictConfig | None:
    """Compose a configuration by the options of groups alone; None if it is one of them that is wrong."""
    try:
        return compose(name, overrides=chosen_options(overrides))
    except (HydraException, OmegaConfBaseException):
        return None


def _find_unknown_key(overrides: list[str], chosen: DictConfig | None) -> str | None:
    """Return what is wrong with the first override whose group or key is in nothing that is chosen; None if none is."""
    if chosen is None:
        return None
    given, groups = parse_overrides(overrides), _groups()
    ours = {part: value for part, value in OmegaConf.to_container(chosen).items() if part != "hydra"}  # type: ignore[union-attr]
    keys = (key for key, _ in walk(ours, into=(dict,)) if key)
    known = list(dict.fromkeys([*keys, *groups]))
    meant = [key for key in known if not is_below(key, "suggested")]
    for override in given:
        key = override.key_or_group
        if override.is_add() or key in known or key.startswith("hydra"):
            continue
        if is_known(key):
            return f"{override.input_line}: {key} stands in no file; add it with a plus: +{override.input_line}"
        hint = _suggest_key(key, meant)
        if not hint and (target := _target_beside(key, chosen)):
            kind = str(target).rpartition(".")[2]
            hint = f"; if it is an argument of {kind}, add it with a plus: +{override.input_line}"
        return f"{override.input_line}: there is no key or group {key}{hint}"
    return None


def _target_beside(key: str, config: DictConfig) -> Any:
    """Return the class that the section of a key describes; None if it is no such section, as a key of a list is in."""
    try:
        return OmegaConf.select(config, f"{key.rpartition('.')[0]}._target_") if "." in key else None
    except OmegaConfBaseException:
        return None


def _suggest_key(key: str, known: list[str]) -> str:
    """Return the hint at the same name in the nearest section, or at the nearest name in the same section or in any."""
    section, _, name = key.rpartition(".")
    last_names = {full.rpartition(".")[2]: full for full in reversed(known)}
    if elsewhere := [full for full in known if full.rpartition(".")[2] == name]:
        return suggest_name(key, elsewhere) or f"; did you mean {elsewhere[0]}?"
    beside = {full.rpartition(".")[2]: full for full in known if full.rpartition(".")[0] == section}
    if section and beside:
        return suggest_name(name, beside, words=beside)
    return suggest_name(key, known) or suggest_name(name, last_names, words=last_names)
