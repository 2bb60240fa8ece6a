"""What an experiment's file states in a mapping, checked key by key: a claim, or a panel of a figure."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, PlainValidator, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from noisereg.config.check import suggest_name
from noisereg.config.schema import must_be
from noisereg.report.claims.selection import Selection


def is_component(node: Any) -> bool:
    """Return whether a number is yet to be computed.

    Example:
        >>> is_component({"_target_": "noisereg.theory.neuron_slope", "lr": 0.01})
        True
    """
    return isinstance(node, Mapping) and "_target_" in node


def _check_component(given: dict[str, Any]) -> dict[str, Any]:
    if not is_component(given):
        raise PydanticCustomError("component", "no component")
    return given


Text = Annotated[str, must_be("a text that is not empty", pattern=r"\S")]
NumberOrComponent = Annotated[
    float | Annotated[dict[str, Any], AfterValidator(_check_component)],
    must_be("a finite number, or a component with _target_"),
]
Selected = Annotated[
    Selection, PlainValidator(lambda given: given if isinstance(given, Selection) else Selection().but(given))
]
Mapped = TypeVar("Mapped", bound="Stated")


class Stated(BaseModel):
    """A mapping of an experiment's file, in which every key is known.

    Attributes:
        noun: for what it states, in the errors.
        name_key: the key that names it there.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, strict=True, frozen=True)
    noun: ClassVar[str]
    name_key: ClassVar[str]

    @classmethod
    def of(cls: type[Mapped], mapping: Any) -> Mapped:
        """Read it from an experiment's file.

        Args:
            mapping: values by their keys; null is as good as nothing.

        Raises:
            ValueError: in one line that names the claim or the panel, the key, what it must be and what came.
        """
        if not isinstance(mapping, Mapping):
            needed = [name for name, field in cls.model_fields.items() if field.is_required()]
            raise ValueError(f"a {cls.noun} must be a mapping with {', '.join(needed)} and more, got {mapping!r}")
        given = {str(key): value for key, value in mapping.items() if value is not None}
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            faults = sorted(error.errors(), key=lambda fault: fault["type"] == "missing")
            name = repr(given[cls.name_key]) if cls.name_key in given else f"without {cls.name_key}"
            raise ValueError(f"{cls.noun} {name}: {cls._sentence(faults[0], given)}") from None

    @classmethod
    def _sentence(cls, fault: ErrorDetails, given: Mapping[str, Any]) -> str:
        if fault["type"] == "value_error":  # raised by a check of several keys, or of a selection: a whole sentence
            return str(fault["ctx"]["error"])
        keys = cls._keys()
        key = str(fault["loc"][0])
        if fault["type"] == "extra_forbidden" and len(fault["loc"]) == 1:
            return f"{key} is no key of a {cls.noun}{suggest_name(key, keys) or '; there are ' + ', '.join(keys)}"
        if fault["type"] == "missing" and len(fault["loc"]) == 1:
            return f"{key} is missing: it must be {keys[key]}"
        return f"{key} must be {keys[key]}, got {given[key]!r}"

    @classmethod
    def _keys(cls) -> dict[str, str]:
        """Return what the value of each key must be, by its key."""
        return {field.alias or name: str(field.description) for name, field in cls.model_fields.items()}
