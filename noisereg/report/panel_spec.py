"""What an experiment asks to see: the panels of its figure, as data."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import pandas as pd

from noisereg.report.selection import Selection

Kind = Literal["curves", "end", "histograms", "check", "reliability", "plane"]
_MOST_METRICS = 40
_MOST_LAYERS_AS_LINES = 4
_NEEDED = {
    "histograms": ("title",),
    "check": ("title", "check"),
    "reliability": ("title",),
    "plane": ("title",),
}
_USUAL = (
    ("test/error", "test error (%)", 100),
    ("train/error", "train error, clean labels (%)", 100),
    ("train/active_neurons", "active neurons, train", 1),
    ("test/active_neurons", "active neurons, test", 1),
)
_PER_LAYER = (
    ("train/active_fraction", "active units, train (%)", 100),
    ("test/active_fraction", "active units, test (%)", 100),
    ("norm", "weight norm", 1),
)


@dataclass(frozen=True, kw_only=True)
class PanelSpec:
    """One panel of an experiment's figure.

    Args:
        title: what it shows, with its unit.
        kind: curves: over training; end: at the end of training; histograms: how often single neurons fired for each
            class; check: the curve of a theorem's check; reliability: accuracy against confidence on the test set;
            plane: the features of three classes on the plane of their templates.
        x: column along the horizontal axis; by default epoch for curves and p for the end. With `metric`, the labels of
            the metrics stand there.
        metrics: column of each quantity and its label. A column that ends in `/*` stands for all that begin so, and
            what the star stands for is the label.
        selected: which replicas are shown, and of the end of training, when; `of` in an experiment's file.
        log: whether the vertical axis is logarithmic.
        log_x: whether the horizontal one is.
        factor: that turns the columns' unit into the title's.
        lines: values to draw across the panel, each a mapping with `value` and `label`.
        neurons: how many neurons the histograms show.
        check: id of the check.
        split: whose features the plane shows: train or test.

    Example:
        >>> PanelSpec.of({"title": "norm", "arm": "hinge", "metrics": {"norm/hidden": "W1"}}).selected.words
        'arm = hinge, at the end'
    """

    title: str
    kind: Kind = "curves"
    x: str = ""
    metrics: Mapping[str, str] = field(default_factory=dict)
    selected: Selection = field(default_factory=Selection)
    log: bool = False
    log_x: bool = False
    factor: float = 1.0
    lines: Sequence[Mapping[str, Any]] = ()
    neurons: int = 30
    check: str = ""
    split: str = "test"

    @classmethod
    def of(cls, mapping: Any) -> "PanelSpec":
        """Read a panel from an experiment's file.

        Args:
            mapping: the fields by their names, but `of` for `selected`, and `arm` for `of: {arm: ...}`; null is as good
                as nothing.

        Raises:
            ValueError: in one line that names the panel, the key, what it must be and what came.

        Example:
            >>> PanelSpec.of({"title": "norm", "kind": "pie"})
            Traceback (most recent call last):
            ...
            ValueError: panel 'norm': kind must be one of curves, end, histograms, check, reliability, plane, got 'pie'
        """
        if not isinstance(mapping, Mapping):
            raise ValueError(f"a panel of a figure must be a mapping with title, metrics and more, got {mapping!r}")
        given = {key: value for key, value in mapping.items() if value is not None}
        try:
            return cls(**_checked(given))
        except ValueError as error:
            raise ValueError(f"panel {mapping.get('title', 'without title')!r}: {error}") from None

    @property
    def along(self) -> str:
        """Column along the horizontal axis."""
        return self.x or ("p" if self.kind == "end" else "epoch")

    def columns(self, frame: pd.DataFrame) -> dict[str, str]:
        """Name the columns that are shown, with their labels.

        Raises:
            ValueError: if the rows have none of them.

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
                found[column] = str(label)
        shown = {column: label for column, label in found.items() if frame[column].notna().any()}
        if not shown:
            raise ValueError(f"panel {self.title!r} needs {', '.join(map(str, self.metrics))}; no run measured it")
        return dict(list(shown.items())[:_MOST_METRICS])


def usual_panels(replicas: pd.DataFrame, curves: pd.DataFrame) -> list[PanelSpec]:
    """Name the panels of runs that ask for none: against p if there are several, and over training.

    Args:
        replicas: one row for each replica, at the end.
        curves: one row for each replica and measurement; may be empty.

    Example:
        >>> rows = pd.DataFrame({"p": [0.0, 0.2], "seed": 0, "test/error": [0.5, 0.2]})
        >>> [(panel.kind, panel.title) for panel in usual_panels(rows, rows[:0])]
        [('end', 'test error (%)')]
    """
    panels = _of_rows(replicas, "end") if "p" in replicas and replicas["p"].nunique() > 1 else []
    return panels + (_of_rows(curves, "curves") if len(curves) else [])


def _checked(given: Mapping[str, Any]) -> dict[str, Any]:
    """Check each key that is given, and that the kind has what it needs."""
    for key, value in given.items():
        if key not in _MUST_BE:
            raise ValueError(f"{key} is no key of a panel; there are {', '.join(_MUST_BE)}")
        fits, wanted = _MUST_BE[key]
        if not fits(value):
            raise ValueError(f"{key} must be {wanted}, got {value!r}")
    needed = _NEEDED.get(given.get("kind", ""), ("title", "metrics"))
    for key in needed:
        if key not in given:
            raise ValueError(f"{key} must be {_MUST_BE[key][1]}, got nothing")
    selected = Selection.of(given.get("of", {}))
    if "arm" in given:
        selected = selected.but({"arm": given["arm"]})
    return {key: value for key, value in given.items() if key not in ("of", "arm")} | {"selected": selected}


def _of_rows(frame: pd.DataFrame, kind: Kind) -> list[PanelSpec]:
    """Layers are told apart along the axis or by colour; many of them are left to the end of training."""
    present = [str(column) for column in frame if frame[column].notna().any()]
    panels = [
        PanelSpec(title=title, kind=kind, metrics={column: title}, factor=factor)
        for column, title, factor in _USUAL
        if column in present
    ]
    for stem, title, factor in _PER_LAYER:
        layers = [column for column in present if column.startswith(f"{stem}/")]
        few = len(layers) <= _MOST_LAYERS_AS_LINES
        if layers and (few or kind == "end"):
            along = "" if few else "metric"
            panels.append(PanelSpec(title=title, kind=kind, x=along, metrics={f"{stem}/*": ""}, factor=factor))
    return panels


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _are_metrics(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and bool(value)
        and all(isinstance(part, str) for pair in value.items() for part in pair)
    )


def _are_lines(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(line, Mapping) and {*line} == {"label", "value"} for line in value
    )


_TEXT, _FLAG = (_is_text, "a text that is not empty"), (_is_flag, "true or false")
_MUST_BE: dict[str, tuple[Callable[[Any], bool], str]] = {
    "title": _TEXT,
    "kind": (lambda value: value in get_args(Kind), f"one of {', '.join(get_args(Kind))}"),
    "x": (_is_text, "the name of a column"),
    "metrics": (_are_metrics, "a mapping of columns to labels, such as {test/error: test}"),
    "of": (lambda value: isinstance(value, Mapping), "a mapping such as {p: 0.2}"),
    "arm": (_is_text, "the name of an arm"),
    "log": _FLAG,
    "log_x": _FLAG,
    "factor": (_is_number, "a finite number"),
    "lines": (_are_lines, "a list of mappings with label and value"),
    "neurons": (lambda value: isinstance(value, int) and value > 0, "a whole number, at least 1"),
    "check": (_is_text, "the id of a check"),
    "split": (lambda value: value in ("train", "test"), "train or test"),
}
