"""What is drawn and said of runs: figures, claims and verdicts, and a page of them all."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from noisereg.report.figures.chart_parts import Figure
from noisereg.report.figures.figure import draw_figure
from noisereg.report.figures.files import save
from noisereg.report.figures.panel import PanelSpec
from noisereg.report.figures.usual import curve_panels, usual_panels

__all__ = ["Figure", "run_figures", "save"]


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
    rows = pd.DataFrame(replicas)
    panels: dict[str, list[PanelSpec]] = {"curves": curve_panels(frame)}
    for panel in usual_panels(rows, frame[:0]):
        panels.setdefault("layers" if panel.x == "metric" else f"against_{panel.x}", []).append(panel)
    return {
        name: draw_figure(some, replicas=rows, curves=frame, title=title, subtitle=subtitle)
        for name, some in panels.items()
        if some
    }
