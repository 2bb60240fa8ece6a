"""The arguments of a class: whether the values of a configuration fit them, and their keys in its errors."""

import inspect
import re
from collections.abc import Collection
from typing import Any, get_args, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.errors import PydanticUndefinedAnnotation, PydanticUserError

from noisereg.config.check import suggest_name
from noisereg.config.sections import built_sections
from noisereg.errors import ConfigError


def check_arguments(key: str, section: dict[str, Any], target: Any, *, given: Collection[str] = ()) -> None:
    """Refuse arguments that a class does not have, that are of another type, or that the run itself gives.

    What the run gives, the class must take.

    A type is what the class declares, as far as it is one of plain values; what is itself to be built is not looked at.

    Raises:
        ConfigError: naming the first key that is wrong.

    Example:
        >>> import torch
        >>> check_arguments("optimizer", {"momentun": 0.9}, torch.optim.SGD)
        Traceback (most recent call last):
        noisereg.errors.ConfigError: optimizer.momentun=0.9: SGD has no such argument; did you mean momentum?
    """
    known, takes_more = _arguments(target)
    if not takes_more and (missing := [name for name in given if name not in known]):
        raise ConfigError(
            f"{key}: {target.__name__} must take {', '.join(given)}, which the run gives, and lacks "
            f"{', '.join(missing)}: write def __init__(self, {', '.join(given)}, ...)"
        )
    for name, value in section.items():
        place = f"{key}.{name}={value!r}"
        if name in given:
            raise ConfigError(f"{place}: the run itself gives {name}; leave it out")
        if not (takes_more or name in known or name.startswith("_")):
            raise ConfigError(f"{place}: {target.__name__} has no such argument{suggest_name(name, known)}")
        if name in known and not any(built_sections(value)) and not _fits(value, known[name]):
            kind = re.sub(r"(\w+\.)+(?=\w)", "", inspect.formatannotation(known[name]))
            raise ConfigError(f"{place}: {target.__name__} takes {kind}")


def qualify(text: str, key: str, target: Any, *, given: Collection[str] = ()) -> str:
    """Return the text of an error in one line, with the key of each argument that it names.

    Classes speak of their arguments; who reads the text knows the keys of the configuration. A word is an argument's
    name if it begins the text, stands before an equals sign, or holds an underscore.

    Args:
        text: of the error.
        key: of the part of the configuration.
        target: the class, or the function, that raised it.
        given: names of the arguments that the run gives, which have no key.

    Example:
        >>> class Data:
        ...     def __init__(self, train_size: int, order: str = "shuffle"): ...
        >>> qualify("order must be shuffle", "dataset", Data)
        'dataset.order must be shuffle'
        >>> qualify("set a lower train_size, or keep the order", "dataset", Data)
        'set a lower dataset.train_size, or keep the order'
    """
    names, text = _arguments(target)[0].keys() - set(given), " ".join(text.split())

    def add_key(word: re.Match[str]) -> str:
        is_argument = word.start() == 0 or "_" in word[0] or text[word.end() :].startswith("=")
        return f"{key}.{word[0]}" if is_argument and word[0] in names else word[0]

    return re.sub(r"(?<!\S)\w+\b(?!\.)", add_key, text)


def _arguments(target: Any) -> tuple[dict[str, Any], bool]:
    """Return the arguments with their types, and whether any others are taken."""
    known: dict[str, Any] = {}
    takes_more = False
    for parameter in _signature(target).parameters.values():
        if parameter.kind is not parameter.VAR_KEYWORD:
            known[parameter.name] = Any if parameter.annotation is parameter.empty else parameter.annotation
        elif unpacked := get_args(parameter.annotation):
            known |= get_type_hints(unpacked[0])
        else:
            takes_more = True
    return known, takes_more


def _signature(target: Any) -> inspect.Signature:
    try:
        return inspect.signature(target, eval_str=True)
    except NameError:  # some types are known to type checkers only
        return inspect.signature(target)


def _fits(value: Any, annotation: Any) -> bool:
    try:
        TypeAdapter(annotation, config=ConfigDict(arbitrary_types_allowed=True)).validate_python(value)
    except ValidationError:
        return False
    except (PydanticUserError, PydanticUndefinedAnnotation):
        return True  # it is not a type of plain values
    return True
