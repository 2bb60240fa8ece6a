"""Whether the values of a configuration fit the arguments of the class that they are for."""

import inspect
import re
from collections.abc import Collection
from typing import Any, get_args, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.errors import PydanticUndefinedAnnotation, PydanticUserError

from noisereg.config.check import nearest
from noisereg.config.targets import targets
from noisereg.errors import ConfigError


def check_arguments(key: str, section: dict[str, Any], target: Any, *, given: Collection[str] = ()) -> None:
    """Refuse arguments that a class does not have, that are of another type, or that the run itself gives.

    A type is what the class says of it, as far as that can be told of a plain value; what is itself to be built is not
    looked at.

    Args:
        key: of the part of the configuration.
        section: the part, as plain values.
        target: the class, or the function.
        given: names of the arguments that the run gives.

    Raises:
        ConfigError: naming the first key that is wrong.

    Example:
        >>> import torch
        >>> check_arguments("optimizer", {"momentun": 0.9}, torch.optim.SGD)
        Traceback (most recent call last):
        noisereg.errors.ConfigError: optimizer.momentun=0.9: SGD has no such argument; did you mean momentum?
    """
    known, takes_more = _arguments(target)
    for name, value in section.items():
        told = f"{key}.{name}={value!r}"
        if name in given:
            raise ConfigError(f"{told}: the run itself gives {name}; leave it out")
        if not (takes_more or name in known or name.startswith("_")):
            raise ConfigError(f"{told}: {target.__name__} has no such argument{nearest(name, known)}")
        if name in known and not any(targets(value)) and not _fits(value, known[name]):
            raise ConfigError(f"{told}: {target.__name__} takes {_written(known[name])}")


def _arguments(target: Any) -> tuple[dict[str, Any], bool]:
    """Give the arguments with their types, and tell whether any others are taken."""
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
        return True  # it is no type of plain values
    return True


def _written(annotation: Any) -> str:
    return re.sub(r"(\w+\.)+(?=\w)", "", inspect.formatannotation(annotation))
