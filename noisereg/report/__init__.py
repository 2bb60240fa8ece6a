"""What is drawn and said of runs: figures, claims and verdicts, and a page of them all."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from noisereg.report.figures.chart_parts import Figure
from noisereg.report.figures.figure import draw_figure
from noisereg.report.figures.files import save
from noisereg.report.figures.panel import PanelSpec
from noisereg.report.figures.usual import curve_panels, end_panels, usual_panels
from noisereg.statistics import Interval, cell_means, mean_interval, paired_means

__all__ = [
    "Figure",
    "Interval",
    "against_p",
    "cell_means",
    "curves",
    "draw_run",
    "mean_interval",
    "paired_means",
    "run_figures",
    "save",
]


def run_figures(
    replicas: pd.DataFrame | Sequence[Mapping[str, Any]], frame: pd.DataFrame, *, title: str = "", subtitle: str = ""
) -> dict[str, Figure]:
    """Draw the figures of a run of one network or of many, each by the name of its files.

    Args:
        replicas: one row for each replica, as it ended: p, seed, lr and arm if there are several, metrics.
        frame: the curves: one row for each replica and evaluation, with step and epoch.
        title: of the figures.
        subtitle: data and model in words; how many seeds and which interval are added to it.

    Returns:
        `curves`; `against_p`, or else `against_lr` or `against_arm`, if the replicas differ in that; `layers`, the end
        of training along the layers, if there are many.

    Raises:
        ValueError: if a column is missing, or a replica has two rows.

    Example:
        >>> rows = pd.DataFrame({"step": 1, "epoch": 1, "p": [0.0, 0.2], "seed": 0, "test/error": [0.5, 0.4]})
        >>> list(run_figures(rows, rows)), list(run_figures(rows[:1], rows[:1]))
        (['curves', 'against_p'], ['curves'])
    """
    return dict(draw_run(replicas, frame, title=title, subtitle=subtitle))


def draw_run(
    replicas: pd.DataFrame | Sequence[Mapping[str, Any]], frame: pd.DataFrame, *, title: str = "", subtitle: str = ""
) -> Iterator[tuple[str, Figure]]:
    """Draw what `run_figures` returns, a figure at a time: one can be saved while the next is drawn.

    Args and errors are those of `run_figures`.

    Example:
        >>> rows = pd.DataFrame({"step": 1, "epoch": 1, "p": [0.0, 0.2], "seed": 0, "test/error": [0.5, 0.4]})
        >>> [name for name, figure in draw_run(rows, rows)]
        ['curves', 'against_p']
    """
    rows = pd.DataFrame(replicas)
    panels: dict[str, list[PanelSpec]] = {"curves": curve_panels(frame)}
    for panel in usual_panels(rows, frame[:0]):
        panels.setdefault("layers" if panel.x == "metric" else f"against_{panel.x}", []).append(panel)
    for name, some in panels.items():
        if some:
            yield name, draw_figure(some, replicas=rows, curves=frame, title=title, subtitle=subtitle)


def curves(frame: pd.DataFrame, *, title: str = "", subtitle: str = "") -> Figure:
    """Draw errors, active neurons and weight norms over training, a colour for each p.

    With several p and learning rates, each rate has a column of panels.

    Args:
        frame: one row for each replica and evaluation: step, epoch, p, seed, lr and arm if there are several, metrics.
        title: of the figure.
        subtitle: data and model in words; how many seeds and which interval are added to it.

    Raises:
        ValueError: if there is nothing to draw, a column is missing, or a replica has two rows for one step.

    Example:
        >>> rows = pd.DataFrame({"step": [0, 10], "epoch": [0, 1], "p": 0.1, "seed": 0, "test/error": [0.5, 0.4]})
        >>> curves(rows, title="Hypercube").to_dict()["title"]["subtitle"]
        ['one seed, no interval']
    """
    return draw_figure(curve_panels(frame), replicas=frame[:0], curves=frame, title=title, subtitle=subtitle)


def against_p(replicas: pd.DataFrame | Sequence[Mapping[str, Any]], *, title: str = "", subtitle: str = "") -> Figure:
    """Draw errors, active neurons and weight norms at the end of training against p, or else the learning rate or arm.

    Args:
        replicas: one row for each replica: p, seed, lr and arm if there are several, metrics.
        title: of the figure.
        subtitle: data and model in words; how many seeds and which interval are added to it.

    Raises:
        ValueError: if there is nothing to draw, a column is missing, or a replica has two rows.

    Example:
        >>> rows = [{"p": p, "seed": seed, "test/error": p / 2} for p in (0, 0.2) for seed in range(3)]
        >>> against_p(rows, subtitle="hypercube").to_dict()["title"]["subtitle"]
        ['hypercube', 'band or bar: 95 % t interval of the mean over 3 seeds']
    """
    rows = pd.DataFrame(replicas)
    return draw_figure(end_panels(rows), replicas=rows, curves=rows[:0], title=title, subtitle=subtitle)
