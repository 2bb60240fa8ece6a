"""What the paper says of a metric: a claim, read from an experiment's file and checked."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field, model_validator

from noisereg.config.schema import Flag, must_be
from noisereg.labels import moment_of
from noisereg.report.claims.selection import Selection
from noisereg.report.claims.stated import NumberOrComponent, Selected, Stated, Text, is_component

Words = Annotated[str, must_be("a text")]
Other = Annotated[dict[str, Any] | None, must_be("a mapping such as {p: 0.2, at: end}")]
Bound = Annotated[
    float | dict[str, Any] | None,
    must_be("a finite number, a selection such as {p: 0}, or a component with _target_"),
]


class Claim(Stated):
    """A sentence of the paper about one metric. All its numbers are in the unit of the metric.

    Args:
        id: such as "F3a".
        metric: name of the column it is about; with a star at its end, the mean of all columns that begin so.
        of: which replicas, and when; `selected` once it is read.
        says: the claim, in a sentence.
        place: where it is made.
        minus: it is about the difference from these, seed by seed. What is not named is as in `of`; another metric may
            be named as `metric`.
        over: it is about the ratio to these, seed by seed.
        rank_with: another metric; it is about the rank correlation of the two over each replica's training, from the
            epoch `of.at` on if that is a number.
        factor: that numbers are multiplied by when they are shown, such as 100 for percent.
        unit: of the numbers that are shown.
        paper: the number that the paper states.
        predicted: the number that a theory gives; before the run, the component that computes it.
        tolerance: of the number, as a share of it, at least 0 and below 1.
        similar_to: a number, a component that computes it, or a selection: the value is as large, seed by seed, to
            within `margin`.
        margin: how far a value may be from what it is similar to, or from the number (for `tolerance`), above 0.
        below: a number, a component that computes it, or a selection: the value lies below it, seed by seed.
        above: likewise.
        smallest_effect: how far below or above it must lie to be worth the name, at least 0.
        every: whether each replica lies there, not the mean alone.
        identity: whether it holds by construction, so that it checks the code and not the paper.
        note: shown unless all that is claimed is met.

    Example:
        >>> claim = Claim.of({"id": "F1", "metric": "test/error", "of": {"p": 0.2}, "paper": 0.21})
        >>> claim.selected.words, claim.tolerance
        ('p = 0.2, at the end', 0.15)
        >>> Claim.of({"id": "F1", "metric": "test/error", "paper": "21 %"})
        Traceback (most recent call last):
        ...
        ValueError: claim 'F1': paper must be a finite number, got '21 %'
    """

    noun: ClassVar = "claim"
    name_key: ClassVar = "id"

    id: Text
    metric: Text
    selected: Selected = Field(default=Selection(), alias="of", description="a mapping such as {p: 0.2, at: end}")
    says: Words = ""
    place: Words = ""
    minus: Other = None
    over: Other = None
    rank_with: Annotated[str | None, must_be("the name of a metric", pattern=r"\S")] = None
    factor: Annotated[float, must_be("a finite number above 0", gt=0)] = 1.0
    unit: Words = ""
    paper: Annotated[float | None, must_be("a finite number")] = None
    predicted: Annotated[NumberOrComponent | None, must_be("a finite number, or a component with _target_")] = None
    tolerance: Annotated[float, must_be("a share, at least 0 and below 1 (0.15 is 15 %)", ge=0, lt=1)] = 0.15
    similar_to: Bound = None
    margin: Annotated[float | None, must_be("a finite number above 0", gt=0)] = None
    below: Bound = None
    above: Bound = None
    smallest_effect: Annotated[float, must_be("a finite number, at least 0", ge=0)] = 0.0
    every: Flag = False
    identity: Flag = False
    note: Words = ""

    @model_validator(mode="after")
    def _check_together(self) -> "Claim":
        if self.selected.metric is not None:
            raise ValueError("of.metric is no key of a claim; give metric beside of")
        for key in ("minus", "over", "similar_to", "below", "above"):
            other = getattr(self, key)
            if isinstance(other, dict) and not is_component(other):
                self.selected.but(other, key)
        given = [key for key in ("minus", "over", "rank_with") if getattr(self, key) is not None]
        if len(given) > 1:
            raise ValueError(f"{given[0]} and {given[1]} exclude each other; keep one")
        if self.number is None and self.similar_to is None and not self.directions:
            raise ValueError("it claims nothing; give paper, predicted, similar_to, below or above")
        for key, is_given in (("every", self.every), ("smallest_effect", self.smallest_effect)):
            if is_given and not self.directions:
                raise ValueError(f"{key} needs below or above")
        if self.similar_to is not None and self.number is not None:
            raise ValueError("similar_to excludes paper and predicted; make two claims of them")
        if self.similar_to is not None and self.margin is None:
            raise ValueError("similar_to needs margin, how far apart two values may be that are similar")
        if self.margin is not None and self.similar_to is None and self.number is None:
            raise ValueError("margin needs similar_to, paper or predicted")
        if self.number == 0 and self.margin is None:
            raise ValueError("a tolerance is a share of the number, and of 0 there is none; give margin")
        return self

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
    def compared(self) -> list[Selection]:
        """Which replicas its own are compared with, in any way; none for a claim about numbers alone."""
        others = (self.minus, self.over, self.similar_to, self.below, self.above)
        return [self.selected.but(other) for other in others if isinstance(other, Mapping) and not is_component(other)]

    @property
    def words(self) -> str:
        """Which number it is about, in words."""
        other = [
            f"{sign} {self.selected.but(mapping).words}"
            for sign, mapping in (("minus", self.minus), ("over", self.over))
            if mapping is not None
        ]
        moment = moment_of(self.metric)
        metric = f"{self.metric} ({moment})" if moment else self.metric
        if self.rank_with is not None:
            return f"rank correlation of {metric} with {self.rank_with}: {self.selected.during}"
        return "; ".join([f"{metric}: {self.selected.words}", *other])

    def shown(self, number: float) -> str:
        """Return a number in the unit that is shown.

        Example:
            >>> Claim(id="F1", metric="test/error", paper=0.2, factor=100, unit="%").shown(0.21)
            '21 %'
        """
        return f"{self.factor * number:.4g} {self.unit}".rstrip()
