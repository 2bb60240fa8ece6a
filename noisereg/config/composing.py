"""The runs that a configuration stands for, composed and checked whole: values, what they build, and secrets."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from hydra import compose
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf

from noisereg.config.check import check, nearest
from noisereg.config.secrets import check_secrets
from noisereg.config.targets import check_targets
from noisereg.errors import ConfigError


def compose_arms(config: DictConfig, overrides: Sequence[str]) -> dict[str, DictConfig]:
    """Compose the runs that a configuration stands for: one for each arm of its experiment, in its short form if asked.

    What the user says on the command line goes over what an arm says. Hydra must be initialised.

    Args:
        config: of the whole.
        overrides: of the command line that it was composed from.

    Returns:
        The configuration of each arm by its name, or of the one that `arm` chooses, without the experiment; if there
        are no arms, one configuration by the name "".

    Raises:
        ConfigError: if an arm cannot be composed, or there is no arm of that name.
    """
    experiment = check_safe(config, overrides)["experiment"]
    fast, arms = experiment.get("fast", []) if config.fast else [], experiment.get("arms", {})
    if config.arm is not None and config.arm not in arms:
        hint = nearest(config.arm, arms) or _named(arms)
        raise ConfigError(f"arm={config.arm}: the experiment has no such arm{hint}")
    _check_lines([*fast, *(line for arm in arms.values() for line in arm)])
    if not arms:
        return {"": _compose(fast, overrides) if fast else config}
    chosen = arms if config.arm is None else {config.arm: arms[config.arm]}
    parts = {name: _compose([*arm, *fast], overrides) for name, arm in chosen.items()}
    for part in parts.values():
        part.experiment, part.arm = {}, None
        part.logger.group = part.logger.group or experiment.get("id")
    return parts


def check_safe(config: DictConfig, overrides: Sequence[str]) -> dict[str, Any]:
    """Check a configuration, and that it builds nothing but what the command line allows and holds no secret.

    Args:
        config: without Hydra's own part.
        overrides: of the command line.

    Returns:
        The configuration as plain values.

    Raises:
        ConfigError: naming the first key that is wrong.
    """
    check_secrets(OmegaConf.to_container(config, resolve=False))  # type: ignore[arg-type]
    settings, trust = check(config), trusted(overrides)
    if settings.get("trust", []) != trust:
        raise ConfigError(f"trust={settings['trust']} stands in a file; it counts on the command line only")
    check_targets(settings, trust=trust)
    check_secrets(settings)
    return settings


def trusted(overrides: Sequence[str]) -> list[str]:
    """Give the packages that a command line trusts.

    Example:
        >>> trusted(["seed=1", "trust=[mine]"])
        ['mine']
    """
    given: list[Any] = [override.value() for override in parsed(overrides) if override.key_or_group == "trust"]
    return given[-1] if given and isinstance(given[-1], list) else []  # anything else is refused by the checks


def _compose(lines: Sequence[str], overrides: Sequence[str]) -> DictConfig:
    try:
        part = compose("train", overrides=[*lines, *overrides])
    except HydraException as error:
        raise ConfigError(f"experiment: {first_line(error)}") from None
    check_safe(part, overrides)
    return part


def _check_lines(lines: Sequence[str]) -> None:
    """Refuse what an experiment's arms may not say in the user's name."""
    for override in parsed(lines):
        if steers(override):
            raise ConfigError(f"experiment: an arm cannot set {override.input_line}; give it on the command line")


def parsed(overrides: Sequence[str], *, loader: Any = None) -> list[Override]:
    """Read overrides as Hydra does.

    Args:
        overrides: as they are written.
        loader: of Hydra's configurations, which a glob over options needs.

    Raises:
        ConfigError: naming the one that cannot be read.
    """
    try:
        return OverridesParser.create(config_loader=loader).parse_overrides(list(overrides))
    except OverrideParseException as error:
        raise ConfigError(unreadable(error)) from None
    except HydraException as error:
        raise ConfigError(first_line(error)) from None


def steers(override: Override) -> bool:
    """Tell whether an override is one that only the user's own command line may hold: of Hydra, or of what is trusted.

    Example:
        >>> [steers(override) for override in parsed(["+hydra.callbacks={}", "trust=[mine]", "seed=1"])]
        [True, True, False]
    """
    return re.split(r"[./]", override.key_or_group)[0] in ("hydra", "trust")


def unreadable(error: OverrideParseException) -> str:
    """Say in one line that an override cannot be read, and how they are written."""
    return f"{error.override}: cannot be read; write key=value, and quote what is special to your shell: 'key=[1,2]'"


def first_line(error: Exception) -> str:
    """Give the first line of what an error says."""
    return str(error).strip().splitlines()[0]


def _named(arms: Iterable[str]) -> str:
    return f" (known: {', '.join(arms)})" if arms else ""
