"""What the paper says of a metric: a claim, read from an experiment's file and checked."""

import difflib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from noisereg.report.metric_names import metric_in_words
from noisereg.report.selection import Selection


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A sentence of the paper about one metric. All its numbers are in the unit of the metric.

    Args:
        id: such as "F3a".
        metric: name of the column it is about; with a star at its end, the mean of all columns that begin so.
        selected: which replicas, and when; `of` in an experiment's file.
        says: the claim, in a sentence.
        place: where it is made.
        minus: it is about the difference from these, seed by seed. What is not named is as in `of`; another metric may
            be named as `metric`.
        over: it is about the ratio to these, seed by seed.
        factor: that numbers are multiplied by when they are shown, such as 100 for percent.
        unit: of the numbers that are shown.
        paper: the number that the paper states.
        predicted: the number that a theory gives; before the run, the component that computes it.
        tolerance: of the number, as a share of it, at least 0.
        below: a number, a component that computes it, or a selection: the value lies below it, seed by seed.
        above: likewise.
        every: whether each replica lies there, not the mean alone.
        note: shown unless all that is claimed is met.

    Example:
        >>> claim = Claim.of({"id": "F1", "metric": "test/error", "of": {"p": 0.2}, "paper": 0.21})
        >>> claim.selected.words, claim.tolerance
        ('p = 0.2, at the end', 0.15)
    """

    id: str
    metric: str
    selected: Selection = field(default_factory=Selection)
    says: str = ""
    place: str = ""
    minus: Mapping[str, Any] | None = None
    over: Mapping[str, Any] | None = None
    factor: float = 1.0
    unit: str = ""
    paper: float | None = None
    predicted: float | Mapping[str, Any] | None = None
    tolerance: float = 0.15
    below: float | Mapping[str, Any] | None = None
    above: float | Mapping[str, Any] | None = None
    every: bool = False
    note: str = ""

    @classmethod
    def of(cls, mapping: Any) -> "Claim":
        """Read a claim from an experiment's file.

        Args:
            mapping: the fields by their names, but `of` for `selected`; null is as good as nothing.

        Raises:
            ValueError: in one line that names the claim, the key, what it must be and what came.

        Example:
            >>> Claim.of({"id": "F1", "metric": "test/error", "paper": "21 %"})
            Traceback (most recent call last):
            ...
            ValueError: claim F1: paper must be a finite number, got '21 %'
        """
        if not isinstance(mapping, Mapping):
            raise ValueError(f"a claim must be a mapping with id, metric and more, got {mapping!r}")
        given = {key: value for key, value in mapping.items() if value is not None}
        try:
            return cls(**_checked(given))
        except ValueError as error:
            raise ValueError(f"claim {mapping.get('id', 'without id')}: {error}") from None

    @property
    def number(self) -> float | Mapping[str, Any] | None:
        """The number that the value is held against: the paper's, or else the theory's."""
        return self.paper if self.paper is not None else self.predicted

    @property
    def directions(self) -> dict[str, float | Mapping[str, Any]]:
        """What the value is claimed to lie below or above."""
        sides = {"below": self.below, "above": self.above}
        return {side: bound for side, bound in sides.items() if bound is not None}

    @property
    def words(self) -> str:
        """Say which number it is about."""
        other = [
            f"{sign} {self.selected.but(mapping).words}"
            for sign, mapping in (("minus", self.minus), ("over", self.over))
            if mapping is not None
        ]
        return "; ".join([f"{metric_in_words(self.metric)}: {self.selected.words}", *other])

    def shown(self, number: float) -> str:
        """Write a number in the unit that is shown.

        Example:
            >>> Claim(id="F1", metric="test/error", factor=100, unit="%").shown(0.21)
            '21 %'
        """
        return f"{self.factor * number:.4g} {self.unit}".rstrip()


def is_component(node: Any) -> bool:
    """Tell whether a number is yet to be computed.

    Example:
        >>> is_component({"_target_": "noisereg.theory.neuron_slope", "lr": 0.01})
        True
    """
    return isinstance(node, Mapping) and "_target_" in node


def _checked(given: Mapping[str, Any]) -> dict[str, Any]:
    """Check each key that is given, and that together they claim something."""
    for key, value in given.items():
        if key not in _MUST_BE:
            near = difflib.get_close_matches(str(key), _MUST_BE, n=1)
            raise ValueError(f"{key} is no key of a claim" + (f"; did you mean {near[0]}?" if near else ""))
        fits, wanted = _MUST_BE[key]
        if not fits(value):
            raise ValueError(f"{key} must be {wanted}, got {value!r}")
    if missing := [key for key in ("id", "metric") if key not in given]:
        raise ValueError(f"{missing[0]} must be given")
    _check_together(given)
    selected = Selection.of(given.get("of", {}))
    if selected.metric is not None:
        raise ValueError("of.metric is no key of a claim; give metric beside of")
    for key in ("minus", "over", "below", "above"):
        if isinstance(given.get(key), Mapping) and not is_component(given[key]):
            selected.but(given[key], key)
    return {key: value for key, value in given.items() if key != "of"} | {"selected": selected}


def _check_together(given: Mapping[str, Any]) -> None:
    if "minus" in given and "over" in given:
        raise ValueError("minus and over exclude each other; keep one")
    if not given.keys() & {"paper", "predicted", "below", "above"}:
        raise ValueError("it claims nothing; give paper, predicted, below or above")
    if given.get("every") and not given.keys() & {"below", "above"}:
        raise ValueError("every needs below or above")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_known_or_component(value: Any) -> bool:
    return _is_number(value) or is_component(value)


def _is_bound(value: Any) -> bool:
    return _is_number(value) or isinstance(value, Mapping)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_name(value: Any) -> bool:
    return _is_text(value) and bool(value.strip())


def _is_mapping(value: Any) -> bool:
    return isinstance(value, Mapping)


_BOUND = (_is_bound, "a finite number, a selection such as {p: 0}, or a component with _target_")
_SELECTION = (_is_mapping, "a mapping such as {p: 0.2, at: end}")
_MUST_BE: dict[str, tuple[Callable[[Any], bool], str]] = {
    "id": (_is_name, "a text that is not empty"),
    "metric": (_is_name, "a text that is not empty"),
    "of": _SELECTION,
    "says": (_is_text, "a text"),
    "place": (_is_text, "a text"),
    "minus": _SELECTION,
    "over": _SELECTION,
    "factor": (lambda value: _is_number(value) and value > 0, "a finite number above 0"),
    "unit": (_is_text, "a text"),
    "paper": (_is_number, "a finite number"),
    "predicted": (_is_known_or_component, "a finite number, or a component with _target_"),
    "tolerance": (lambda value: _is_number(value) and value >= 0, "a finite number, at least 0"),
    "below": _BOUND,
    "above": _BOUND,
    "every": (lambda value: isinstance(value, bool), "true or false"),
    "note": (_is_text, "a text"),
}
