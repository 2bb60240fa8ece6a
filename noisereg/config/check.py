"""The values of a configuration, checked against the schema; a fault is told in one line that names the key."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, get_args, get_origin

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from noisereg.config.schema import MOST, TOGETHER, Config, Section
from noisereg.errors import ConfigError

Settings = dict[str, Any]


class ComposedRun(NamedTuple):
    """What a configuration stands for, as plain values.

    Attributes:
        settings: of the run: of the arm that `arm` chooses, else of the whole.
        arms: the configuration of each part that is trained, without the experiment, by the name of its folder in that
            of the run: of each arm; or of the run itself, which may be one arm that was chosen, by the name "".
    """

    settings: Settings
    arms: dict[str, Settings]


def check(config: DictConfig) -> Settings:
    """Check the values of a composed configuration.

    Args:
        config: without Hydra's own part.

    Returns:
        The configuration as plain values, every interpolation resolved.

    Raises:
        ConfigError: naming the first key that is wrong.

    Example:
        >>> check(OmegaConf.create({"seed": -1}))
        Traceback (most recent call last):
        noisereg.errors.ConfigError: seed must be a whole number in [0, 2**63), got -1
    """
    try:
        plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
        Config.model_validate(plain)
    except ValidationError as error:
        faults = sorted(error.errors(), key=lambda fault: fault["type"] == "missing")
        raise ConfigError(_describe_fault(faults[0])) from None
    except MissingMandatoryValue as error:
        raise ConfigError(f"{error.full_key} has no value, as no file gives one: add {error.full_key}=VALUE") from None
    except OmegaConfBaseException as error:
        raise ConfigError(f"{error.full_key or error.key}: {str(error).splitlines()[0]}") from None
    return plain  # type: ignore[return-value]


def suggest_name(name: str, names: Iterable[str], *, words: Mapping[str, str] | None = None) -> str:
    """Return the hint "; did you mean ...?" for a name that is not among the known ones, or an empty text.

    Args:
        name: that is not known.
        names: that are.
        words: what stands for a name in the hint; None: the name itself.

    Example:
        >>> suggest_name("resnet21", ["resnet20", "mlp"])
        '; did you mean resnet20?'
    """

    def likeness(known: str) -> float:
        return difflib.SequenceMatcher(None, name, known).ratio()

    closest = max(sorted(names), key=likeness, default="")
    shown = (words or {}).get(closest, closest)
    return f"; did you mean {shown}?" if closest and likeness(closest) >= 0.6 else ""


def is_known(key: str) -> bool:
    """Return whether a section of the configuration may hold a key, be it in a file or not.

    Example:
        >>> is_known("trainer.accumulate_grad_batches"), is_known("trainer.epochs")
        (True, False)
    """
    section: type[Section] = Config
    for name in key.split("."):
        field = _fields(section).get(name)
        if field is None:
            return False
        section = field.annotation if _is_section(field.annotation) else Section
    return True


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Section)


def _describe_fault(fault: ErrorDetails) -> str:
    if fault["type"] == TOGETHER:
        return fault["msg"]
    place = [str(part) for part in fault["loc"]]
    key, description, section = _find_key(place)
    if fault["type"] == "extra_forbidden":
        return f"{key}={fault['input']!r}: there is no such key{suggest_name(place[-1], _fields(section))}"
    if fault["type"] == "missing":
        return f"{key} is missing: it must be {description}"
    limit = " and below 2**31" if fault.get("ctx", {}).get("lt") == MOST else ""
    return f"{key} must be {description}{limit}, got {fault['input']!r}"


def _find_key(place: list[str]) -> tuple[str, str, type[Section]]:
    """Return the key that pydantic's place stands for, the words for its values, and the section that holds it."""
    section: type[Section] = Config
    for depth, name in enumerate(place, start=1):
        field = _fields(section).get(name)
        annotation = field.annotation if field else None
        if field and not field.description and get_origin(annotation) is dict:
            section = get_args(annotation)[1]
        elif _is_section(annotation):
            section = annotation  # type: ignore[assignment]
        elif field and field.description:
            return ".".join(place[:depth]), field.description, section
    return ".".join(place), "a section of keys", section


def _fields(section: type[Section]) -> dict[str, Any]:
    return {field.alias or name: field for name, field in section.model_fields.items()}
