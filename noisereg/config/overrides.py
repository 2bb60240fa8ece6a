"""The overrides of a command line, read as Hydra reads them."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, OverrideParseException

from noisereg.config.sections import walk
from noisereg.errors import ConfigError

_BY_HAND = re.compile(
    r"(callbacks|trainer)\b.*\.\w*(dir|path|file|filename|model_registry)|model\b.*\.(weights|pretrained)\w*"
)
_TEXTS = ("hydra.run.dir", "hydra.sweep.dir", "dataset.root", "logger.project", "logger.group")


def parse_overrides(overrides: Sequence[str]) -> list[Override]:
    """Read overrides. A glob over options finds them where Hydra is initialised.

    Raises:
        ConfigError: naming the one that cannot be read.
    """
    loader = GlobalHydra.instance().config_loader() if GlobalHydra.instance().is_initialized() else None
    try:
        return OverridesParser.create(config_loader=loader).parse_overrides(list(overrides))
    except OverrideParseException as error:
        raise ConfigError(describe_unreadable(error)) from None
    except HydraException as error:
        raise ConfigError(first_line(error)) from None


def shared_overrides(overrides: Sequence[str]) -> list[str]:
    """Return the overrides that have one value: those that all runs of a sweep share.

    Raises:
        ConfigError: naming an override that cannot be read.
    """
    return [str(override.input_line) for override in parse_overrides(overrides) if not override.is_sweep_override()]


def trusted_packages(overrides: Sequence[str]) -> list[str]:
    """Return the packages that a command line trusts.

    Example:
        >>> trusted_packages(["seed=1", "trust=[mine]"])
        ['mine']
    """
    given: list[Any] = [item.value() for item in parse_overrides(overrides) if item.key_or_group == "trust"]
    return given[-1] if given and isinstance(given[-1], list) else []  # anything else is refused by the checks


def is_for_user_only(override: Override) -> bool:
    """Return whether only the user's own command line may hold an override: of Hydra, or of what is trusted.

    Example:
        >>> [is_for_user_only(item) for item in parse_overrides(["+hydra.callbacks={}", "trust=[mine]", "seed=1"])]
        [True, True, False]
    """
    return re.split(r"[./]", override.key_or_group)[0] in ("hydra", "trust")


def stated_keys(overrides: Sequence[str]) -> set[str]:
    """Return the keys that a command line sets, those inside of its values too.

    Example:
        >>> sorted(stated_keys(["+callbacks.best={dirpath: out}"]))
        ['callbacks.best', 'callbacks.best.dirpath']
    """
    return {key for item in parse_overrides(overrides) for key, _ in walk(item.value(), item.key_or_group)}


def is_by_hand(key: str) -> bool:
    """Return whether an argument counts on the command line only: where files are written, and what is downloaded.

    Example:
        >>> [is_by_hand(key) for key in ("callbacks.best.dirpath", "model.weights", "dataset.root")]
        [True, True, False]
    """
    return bool(_BY_HAND.fullmatch(key))


def states_by_hand(line: str) -> bool:
    """Return whether an override, read as text, sets an argument that `is_by_hand`, itself or inside of its value.

    Example:
        >>> states_by_hand("+callbacks.best={dirpath: out}"), states_by_hand("optimizer.lr=0.1")
        (True, False)
    """
    key, _, value = line.lstrip("+").partition("=")
    return any(
        is_by_hand(full) for full in (key, *(f"{key}.{name}" for name in re.findall(r"\w+(?=['\"]?\s*:)", value)))
    )


def describe_unreadable(error: OverrideParseException) -> str:
    """Return in one line that an override cannot be read, and how they are written."""
    return (
        f"{error.override}: cannot be read; write key=value, a list as 'key=[1,2]', and a text with other signs than "
        "letters, digits and -_./:+ in quotes within quotes: \"key='a=b'\""
    )


def quote_value(text: str) -> str:
    """Return a text as the value of an override that stands for it, whatever it holds.

    Example:
        >>> print(quote_value("out/a=b's"))
        'out/a=b\\'s'
    """
    escaped = re.sub(r"(\\*)('|$)", lambda found: 2 * found[1] + (found[2] and "\\'"), text)
    return f"'{escaped.replace('${', chr(92) + '${')}'"


def quote_texts(overrides: Sequence[str]) -> list[str]:
    """Return overrides in which the folders and names that Hydra cannot read are quoted, and ~ is the home.

    Example:
        >>> quote_texts(["hydra.run.dir=out/a=b", "seed=1"])
        ["hydra.run.dir='out/a=b'", 'seed=1']
    """
    return [_quote_text(override) for override in overrides]


def _quote_text(override: str) -> str:
    key, sign, value = override.partition("=")
    if not sign or key.lstrip("+") not in _TEXTS or _is_readable(override):
        return override
    return f"{key}={quote_value(str(Path(value).expanduser()))}"


def _is_readable(override: str) -> bool:
    try:
        OverridesParser.create().parse_overrides([override])
    except OverrideParseException:
        return False
    return True


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, with the one that it announces; that of its cause if it has none.

    Example:
        >>> first_line(ValueError("x is 1\\nmore")), first_line(ValueError("in a:\\nb is 1")), first_line(KeyError())
        ('x is 1', 'in a: b is 1', 'KeyError')
    """
    if not str(error).strip():
        return first_line(error.__cause__) if error.__cause__ else type(error).__name__
    first, *more = str(error).strip().splitlines()
    return f"{first} {more[0].strip()}" if more and first.endswith(":") else first
