"""One panel of a figure, as data."""

from collections import Counter
from typing import Annotated, ClassVar, Literal, get_args

import pandas as pd
from pydantic import Field, model_validator

from noisereg.config.schema import Flag, must_be
from noisereg.report.claims.selection import Selection
from noisereg.report.claims.stated import NumberOrComponent, Selected, Stated, Text

Kind = Literal["curves", "end", "scatter", "histograms", "check", "reliability", "plane", "tradeoff"]
_MOST_METRICS = 200  # of a panel: the layers of a deep network


class ReferenceLine(Stated):
    """A value to draw across a panel."""

    noun: ClassVar = "line"
    name_key: ClassVar = "label"

    label: Text
    value: NumberOrComponent


class PanelSpec(Stated):
    """One panel of a figure.

    Args:
        title: what it shows, with its unit.
        kind: curves: over training; end: at the end of training; scatter: the end of each replica, a point each;
            histograms: how often single neurons fired for each class; check: the curve of a theorem's check;
            reliability: accuracy against confidence on the test set; plane: the features of three classes on the plane
            of their templates; tradeoff: the second of two metrics against the first at the end of training, a curve a
            method, whose arms are called method_strength.
        x: column along the horizontal axis; by default epoch for curves and p for the end. With `metric`, the labels of
            the metrics stand there.
        metrics: column of each quantity and its label. A column that ends in `/*` stands for all that begin so, and
            what the star stands for is the label.
        of: which replicas are shown, and of the end of training, when.
        arm: the same as `of: {arm: ...}`.
        log: whether the vertical axis is logarithmic.
        log_x: whether the horizontal one is.
        factor: that turns the columns' unit into the title's.
        lines: values to draw across the panel, each with a label.
        neurons: how many neurons the histograms show.
        check: id of the check.
        split: whose features the plane shows: train or test.
        by: columns among p, lr and arm that tell lines apart; none: those in which the replicas differ, but for what
            another one decides.
        mark: the point of each curve to mark, where it is lowest or highest; empty for none.
        row: panels with the same word here, one after the other, stand in a row of their own with one vertical scale.

    Example:
        >>> PanelSpec.of({"title": "norm", "arm": "hinge", "metrics": {"norm/hidden": "W1"}}).selected.words
        'arm = hinge, at the end'
        >>> PanelSpec.of({"title": "norm", "log": "yes"})
        Traceback (most recent call last):
        ...
        ValueError: panel 'norm': log must be true or false, got 'yes'
    """

    noun: ClassVar = "panel"
    name_key: ClassVar = "title"

    title: Text
    kind: Annotated[Kind, must_be(f"one of {', '.join(get_args(Kind))}")] = "curves"
    x: Annotated[str, must_be("the name of a column")] = ""
    metrics: Annotated[
        dict[str, str], must_be("a mapping of columns to labels, such as {test/error: test}", min_length=1)
    ] = Field(default_factory=dict)
    chosen: Selected = Field(default=Selection(), alias="of", description="a mapping such as {p: 0.2, at: end}")
    arm: Annotated[str | None, must_be("the name of an arm", pattern=r"\S")] = None
    log: Flag = False
    log_x: Flag = False
    factor: Annotated[float, must_be("a finite number")] = 1.0
    lines: Annotated[list[ReferenceLine], must_be("a list of mappings with label and value")] = Field(
        default_factory=list
    )
    neurons: Annotated[int, must_be("a whole number, at least 1", ge=1)] = 30
    check: Annotated[str, must_be("the id of a check")] = ""
    split: Annotated[Literal["train", "test"], must_be("train or test")] = "test"
    by: Annotated[list[Literal["p", "lr", "arm"]], must_be("a list of p, lr and arm")] = Field(default_factory=list)
    mark: Annotated[Literal["", "lowest", "highest"], must_be("lowest or highest")] = ""
    row: Annotated[str, must_be("a text")] = ""

    @model_validator(mode="after")
    def _check_kind(self) -> "PanelSpec":
        """Raise what a panel of this kind lacks."""
        of_metrics = dict.fromkeys(("curves", "end", "scatter", "tradeoff"), "metrics")
        needed = {**of_metrics, "check": "check"}.get(self.kind)
        if needed and not getattr(self, needed):
            raise ValueError(f"{needed} is missing: it must be {self._keys()[needed]}")
        if self.kind == "tradeoff" and len(self.metrics) != 2:
            raise ValueError(f"metrics of a tradeoff must be two, got {len(self.metrics)}")
        if self.mark and self.kind != "curves":
            raise ValueError(f"mark needs kind curves, got {self.kind}")
        return self

    @property
    def selected(self) -> Selection:
        """Which replicas are shown, and of the end of training, when."""
        return self.chosen.but({"arm": self.arm}) if self.arm else self.chosen

    @property
    def along(self) -> str:
        """Column along the horizontal axis."""
        return self.x or ("epoch" if self.kind == "curves" else "p")

    def columns(self, frame: pd.DataFrame) -> dict[str, str]:
        """Return the columns of some rows that are shown, with their labels.

        Raises:
            ValueError: if the rows have none of them, or more than have room, or two have one label.

        Example:
            >>> rows = pd.DataFrame({"p": [0.0], "norm/hidden": 1.0, "norm/output": 2.0})
            >>> PanelSpec(title="norms", metrics={"norm/*": ""}).columns(rows)
            {'norm/hidden': 'hidden', 'norm/output': 'output'}
        """
        found: dict[str, str] = {}
        for column, label in self.metrics.items():
            if column.endswith("/*"):
                stem = column.removesuffix("*")
                found |= {name: name.removeprefix(stem) for name in frame if str(name).startswith(stem)}
            elif column in frame:
                found[column] = label
        shown = {column: label for column, label in found.items() if frame[column].notna().any()}
        if not shown:
            raise ValueError(f"panel {self.title!r} needs {', '.join(self.metrics)}; no run measured it")
        if len(shown) > _MOST_METRICS:
            raise ValueError(f"panel {self.title!r} has room for {_MOST_METRICS} columns, got {len(shown)}; name some")
        for label, number in Counter(shown.values()).items():
            if number > 1:  # their values would be one line, or one mean
                raise ValueError(f"panel {self.title!r} calls {number} columns {label!r}; give each a name of its own")
        return shown
