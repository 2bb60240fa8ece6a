"""The panels of runs that ask for none: errors, active neurons and weight norms."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from noisereg.labels import in_words, label_of, measured_as
from noisereg.report.claims.selection import Selection
from noisereg.report.figures.panel import Kind, PanelSpec
from noisereg.report.figures.panel_values import has_moments_in_an_epoch

_ERRORS = ("test/error", "train/error")
_SPLITS = ("train", "test")
_MOST_LAYERS = 4  # that have a panel or a line each; more of them stand along the axis, at the end of training


def usual_panels(replicas: pd.DataFrame, curves: pd.DataFrame) -> list[PanelSpec]:
    """Return the panels of the end of training, if there is something to compare there, and of the curves.

    Example:
        >>> rows = pd.DataFrame({"p": [0.0, 0.2], "seed": 0, "test/error": [0.5, 0.2]})
        >>> [(panel.kind, panel.title) for panel in usual_panels(rows, rows[:0])]
        [('end', 'test error (%)')]
    """
    compared = bool(varying_column(replicas))
    return [panel for panel in end_panels(replicas) if compared or panel.x == "metric"] + curve_panels(curves)


def curve_panels(curves: pd.DataFrame) -> list[PanelSpec]:
    """Return the panels of the curves; with several p and learning rates, a row of one panel a rate for each quantity.

    Example:
        >>> rows = pd.DataFrame({"p": [0.0], "test/error": [0.5], "train/error": [None], "norm/hidden": [3.0]})
        >>> [panel.title for panel in curve_panels(rows)]
        ['test error (%)', 'weight norm, hidden']
    """
    shown = [*_ERRORS, *_active(curves), *_few_layers(curves, "norm")]
    along = "step" if has_moments_in_an_epoch(curves) else ""
    panels = [panel_of(metric, "curves", x=along) for metric in shown if _is_measured(curves, metric)]
    stems = [stem for stem in _fractions(curves) if len(_few_layers(curves, stem)) > 1]
    panels += [_layers_panel(stem, "curves", x=along) for stem in stems]
    if not all(_varies(curves, column) for column in ("p", "lr")):
        return panels
    return [
        panel.model_copy(
            update={
                "title": f"{panel.title}, lr {in_words(rate)}",
                "chosen": Selection({"lr": rate}),
                "row": panel.title,
            }
        )
        for panel in panels
        for rate in sorted(curves["lr"].unique())
    ]


def end_panels(replicas: pd.DataFrame) -> list[PanelSpec]:
    """Return the panels of the end of training: against p, else the learning rate or the arm, and along many layers.

    Example:
        >>> rows = pd.DataFrame({"p": 0.1, "lr": [0.1, 0.2], "train/error": 0.5})
        >>> [(panel.title, panel.x) for panel in end_panels(rows)]
        [('train error, clean labels (%)', 'lr')]
    """
    along = varying_column(replicas) or "p"
    active = [metric for metric in _active(replicas) if _is_measured(replicas, metric)]
    splits = {metric.partition("/")[0] for metric in active[:1]}  # the first one, by each of its thresholds
    active = [metric for metric in active if metric.partition("/")[0] in splits]
    shown = [*_ERRORS, *active, *_few_layers(replicas, "norm")]
    panels = [panel_of(metric, "end", x=along) for metric in shown if _is_measured(replicas, metric)]
    stems = (*_fractions(replicas), "norm")
    return panels + [
        _layers_panel(stem, "end", x="metric") for stem in stems if len(_layers(replicas, stem)) > _MOST_LAYERS
    ]


def panel_of(metric: str, kind: Kind, *, x: str = "", by: Sequence[Any] = ()) -> PanelSpec:
    """Return the panel of one metric, with its title and its unit; the arguments are those of `PanelSpec`.

    Example:
        >>> panel_of("test/error", "end").title
        'test error (%)'
    """
    label = label_of(metric)
    metrics, by = {metric: label.words}, list(by)
    return PanelSpec(title=label.title, kind=kind, x=x, metrics=metrics, factor=label.factor, log_x=x == "lr", by=by)


def varying_column(replicas: pd.DataFrame) -> str:
    """Return the first of p, the learning rate and the arm in which replicas differ; empty if there is none.

    Example:
        >>> varying_column(pd.DataFrame({"p": 0.1, "lr": [0.1, 0.2]}))
        'lr'
    """
    return next((column for column in ("p", "lr", "arm") if _varies(replicas, column)), "")


def _layers_panel(stem: str, kind: Kind, *, x: str) -> PanelSpec:
    """Return a panel of all layers: a line each over training, or along the axis at the end of it."""
    label = label_of(f"{stem}/each layer")
    return PanelSpec(title=label.title, kind=kind, x=x, metrics={f"{stem}/*": ""}, factor=label.factor)


def _active(rows: pd.DataFrame) -> list[str]:
    """Return what tells how active a network is: the neurons of one layer, the active fraction of several."""
    is_deep = any(len(_layers(rows, stem)) > 1 for stem in _fractions(rows))
    return measured_as([f"{split}/{'active_fraction' if is_deep else 'active_neurons'}" for split in _SPLITS], rows)


def _fractions(rows: pd.DataFrame) -> list[str]:
    """Return the names of the active fractions of all layers, one for each split and threshold."""
    stems = ("/".join(str(name).split("/")[:2]) for name in rows)
    return measured_as([f"{split}/active_fraction" for split in _SPLITS], stems)


def _few_layers(rows: pd.DataFrame, stem: str) -> list[str]:
    layers = _layers(rows, stem)
    return layers if len(layers) <= _MOST_LAYERS else []


def _layers(rows: pd.DataFrame, stem: str) -> list[str]:
    return [str(name) for name in rows if str(name).startswith(f"{stem}/") and _is_measured(rows, str(name))]


def _is_measured(rows: pd.DataFrame, metric: str) -> bool:
    return metric in rows and bool(rows[metric].notna().any())


def _varies(rows: pd.DataFrame, column: str) -> bool:
    return column in rows and rows[column].nunique() > 1
