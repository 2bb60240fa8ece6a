"""A figure: a panel for each thing that an experiment asks to see, or that is usual for runs."""

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from noisereg.labels import in_words
from noisereg.report.claims.selection import REPLICA, Selection
from noisereg.report.figures import chart_parts
from noisereg.report.figures.check_panel import check_chart
from noisereg.report.figures.histogram_panel import histogram_chart
from noisereg.report.figures.line_panel import FEWEST_FOR_AN_INTERVAL, line_chart
from noisereg.report.figures.line_styles import choose_styles
from noisereg.report.figures.panel import PanelSpec
from noisereg.report.figures.panel_values import (
    from_diverged,
    panel_means,
    replica_curves,
    replica_values,
    stops_early,
    thinned,
)
from noisereg.report.figures.plane_panel import plane_charts
from noisereg.report.figures.reliability_panel import reliability_chart
from noisereg.report.figures.tradeoff_panel import tradeoff_chart
from noisereg.report.figures.usual import end_panels, usual_panels
from noisereg.report.groups.naming import AnalysedNetwork
from noisereg.report.groups.run_group import RunGroup
from noisereg.runs.summary import have_diverged

Fires = Callable[[Selection], np.ndarray | None]
Analyses = Callable[[Selection], Sequence[AnalysedNetwork]]

_OF_LINES = ("curves", "end", "scatter")
_WITH_LEGEND = ("check", "reliability", "plane", "tradeoff")
_PANELS_A_ROW = 3
_STANDS_WITH = {"reliability": "end"}
_A_ROW_OF_THEIR_OWN = {"histograms": 2, "plane": 4}
_MOST_SINGLES = 600


def panels_of(group: RunGroup) -> list[PanelSpec]:
    """Return the panels that a group's experiment asks for, or those that are usual, with the curves of checks.

    Raises:
        ValueError: if a panel is no panel.

    Example:
        >>> from pathlib import Path
        >>> from noisereg.runs.reading import Run
        >>> record = {"replicas": [{"p": p, "seed": 0, "test/error": p / 2} for p in (0.0, 0.2)]}
        >>> [panel.title for panel in panels_of(RunGroup("A", "a", [Run(Path("run"), "finished", record=record)]))]
        ['test error (%)']
    """
    asked = group.experiment.get("figure") or []
    checks = [str(check["id"]) for check in group.checks if check.get("curve")]
    return [PanelSpec.of(panel) for panel in asked] or [
        *usual_panels(group.replicas, group.curves),
        *(PanelSpec(title=check, kind="check", check=check) for check in checks),
    ]


def figure_of(group: RunGroup) -> chart_parts.Figure:
    """Draw a group's figure.

    Raises:
        ValueError: if a panel is no panel, or asks for what the runs do not have.
    """
    return draw_figure(
        panels_of(group),
        replicas=group.replicas,
        curves=group.curves,
        fires=group.fires,
        analyses=group.analyses,
        checks=group.checks,
        title=group.title,
    )


def draw_figure(
    panels: Sequence[PanelSpec],
    *,
    replicas: pd.DataFrame,
    curves: pd.DataFrame,
    fires: Fires = lambda selection: None,
    analyses: Analyses = lambda selection: (),
    checks: Sequence[Mapping[str, Any]] = (),
    title: str = "",
    subtitle: str = "",
) -> chart_parts.Figure:
    """Draw panels.

    A line is the mean over seeds, its band Student's 95 % t interval of that mean; where there are few places along the
    axis, there are points with bars. A faint point is a replica; of two, there are such points in place of the band. A
    replica that stopped early keeps its last values, and one that diverged has none from then on; the subtitle says of
    how many replicas the means then are. Lines differ in colour by p (else learning rate, arm, metric), and in dashes
    by the rest. A click in the legend shows one colour alone, a click with shift adds another. The subtitle names
    panels that the runs do not allow.

    Args:
        panels: what to draw, in order.
        replicas: one row for each replica, at the end of training: p, seed, lr and arm if there are several, metrics.
        curves: one row for each replica and measurement: step and epoch too; may be empty.
        fires: returns how often each hidden neuron fired for each class, an array (replicas, classes, hidden), for the
            replicas that a selection names; None if that was not kept.
        analyses: returns what networks left at their end, those that a selection names.
        checks: rows of the theorems' checks, as `noisereg.theory.Check.as_row` gives them.
        title: of the figure.
        subtitle: data and model in words; how many seeds and which interval are added to it.

    Raises:
        ValueError: if there is nothing to draw, or no panel can be drawn.

    Example:
        >>> rows = pd.DataFrame({"p": [0.0, 0.2], "seed": 0, "test/error": [0.5, 0.2]})
        >>> panel = PanelSpec(title="error", kind="end", metrics={"test/error": "test"})
        >>> draw_figure([panel], replicas=rows, curves=rows[:0], subtitle="hypercube").to_dict()["title"]["subtitle"]
        ['hypercube', 'one seed, no interval']
    """
    if not panels:
        why = "no error, active neurons or norm was measured"
        if curves.empty and end_panels(replicas):
            why = "its replicas have one p, learning rate and arm, and there are no curves (logger=csv writes them)"
        raise ValueError(f"a figure needs at least one panel, got none: {why}")
    draw: dict[str, Callable[[PanelSpec], Sequence[Any]]] = {
        "histograms": lambda panel: _histograms(panel, replicas, fires),
        "check": lambda panel: [check_chart(panel, checks)],
        "reliability": lambda panel: [reliability_chart(panel.title, _networks(panel, analyses))],
        "tradeoff": lambda panel: [tradeoff_chart(panel, replicas)],
        "plane": lambda panel: plane_charts(panel.title, _networks(panel, analyses), split=panel.split),
    }
    faults: dict[int, str] = {}
    tables = _tables(panels, replicas=replicas, curves=curves, faults=faults)
    own = any(panel.kind in _WITH_LEGEND for panel in panels)
    drawn = {place: thinned(table) if panels[place].kind == "curves" else table for place, table in tables.items()}
    styles = dict(zip(drawn, choose_styles(list(drawn.values()), own=own), strict=True))
    charts: list[tuple[PanelSpec, Any]] = []
    owned: set[str] = set()
    for place, panel in enumerate(panels):
        try:
            if place in drawn:
                singles = _singles(panel, drawn[place], replicas=replicas, curves=curves)
                chart = line_chart(panel, drawn[place], style=styles[place], singles=singles)
                charts.append((panel, _with_choice(chart, styles[place].choice, owned)))
            elif place not in faults:
                charts += [(panel, chart) for chart in draw[panel.kind](panel)]
        except ValueError as error:
            faults[place] = str(error)
    if not charts:
        raise ValueError("; ".join(faults.values()))
    failed = int(have_diverged(replicas).sum())
    over_training = [panels[place] for place in tables if panels[place].kind == "curves"]
    lines = [
        subtitle,
        _intervals_in_words([table for place, table in tables.items() if panels[place].kind != "scatter"]),
        "a point for each replica" * any(panels[place].kind == "scatter" for place in tables),
        f"{failed} of {len(replicas)} replicas diverged" * (failed > 0),
        "replicas that stopped early keep their last values"
        * _any_stops_early(over_training, replicas=replicas, curves=curves),
        "evenly spaced evaluations, not all" * (sum(map(len, drawn.values())) < sum(map(len, tables.values()))),
        *(f"not drawn: {fault}" for _, fault in sorted(faults.items())),
    ]
    rows = _in_rows(charts)
    legends = ("color", "strokeDash", "shape") if own or any(style.own for style in styles.values()) else ()
    return chart_parts.in_rows(
        [[chart for _, chart in row] for row in rows],
        title=title,
        lines=lines,
        apart=("xOffset", *legends),
        same_heights=[bool(row[0][0].row) for row in rows],
    )


def _tables(
    panels: Sequence[PanelSpec], *, replicas: pd.DataFrame, curves: pd.DataFrame, faults: dict[int, str]
) -> dict[int, pd.DataFrame]:
    """Compute the means of the panels of lines by their places, and note what is wrong with others."""
    tables = {}
    for place, panel in enumerate(panels):
        if panel.kind in _OF_LINES:
            try:
                tables[place] = panel_means(panel, replicas=replicas, curves=curves)
            except ValueError as error:
                faults[place] = str(error)
    return tables


def _with_choice(chart: alt.LayerChart, choice: alt.Parameter | None, owned: set[str]) -> alt.LayerChart:
    """Let the first panel own a choice: altair warns of one with many owners."""
    if choice is None or choice.name in owned:
        return chart
    owned.add(choice.name)
    return chart.add_params(choice)


def _networks(panel: PanelSpec, analyses: Analyses) -> Sequence[AnalysedNetwork]:
    if not (found := analyses(panel.selected)):
        raise ValueError(f"panel {panel.title!r} needs analysis.npz, which no run has")
    return found


def _singles(panel: PanelSpec, table: pd.DataFrame, *, replicas: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    """Return the values of single replicas where it is clear which mean they belong to, or where they are two.

    Over training they stand in the place of the band, which is not drawn of two.
    """
    if panel.kind == "end":
        values = replica_values(panel, replicas=replicas, curves=curves)
        return values if len(values) <= _MOST_SINGLES else values[:0]
    if 1 < table["n"].max() < FEWEST_FOR_AN_INTERVAL:
        values = replica_curves(panel, curves=curves)
        return values[values["x"].isin(table["x"])]
    return pd.DataFrame()


def _histograms(panel: PanelSpec, replicas: pd.DataFrame, fires: Fires) -> list[alt.FacetChart]:
    """Draw one replica of each p: that with the first seed."""
    rows, charts = panel.selected.rows(replicas), []
    if rows.empty:
        raise ValueError(f"panel {panel.title!r} shows replicas, and there is none")
    for p, group in rows.groupby("p"):
        (first,) = group.sort_values("seed", kind="stable").head(1).to_dict("records")
        counts = fires(Selection({name: first[name] for name in REPLICA if name in rows}))
        if counts is None:
            raise ValueError(f"panel {panel.title!r} needs fires.npz, which the run does not have")
        title = panel.title if rows["p"].nunique() == 1 else f"{panel.title}, p = {in_words(p)}"
        charts.append(histogram_chart(counts[0], neurons=panel.neurons, title=title))
    return charts


def _in_rows(charts: Sequence[tuple[PanelSpec, Any]]) -> list[list[tuple[PanelSpec, Any]]]:
    """Break rows where the kind of panel changes or a row has a name, unless all panels have a place in one."""
    kinds = {panel.kind for panel, _ in charts}
    named = any(panel.row for panel, _ in charts)
    if not named and kinds.isdisjoint(_A_ROW_OF_THEIR_OWN) and len(charts) <= _PANELS_A_ROW:
        return [list(charts)]
    rows = []
    for (kind, name), group in groupby(charts, key=lambda pair: _place_of(pair[0])):
        some = list(group)
        number = len(some) if name else _A_ROW_OF_THEIR_OWN.get(kind, _PANELS_A_ROW)
        rows += [some[start : start + number] for start in range(0, len(some), number)]
    return rows


def _place_of(panel: PanelSpec) -> tuple[str, str]:
    """Return what panels of one row, or of rows one after the other, have in common."""
    return _STANDS_WITH.get(panel.kind, panel.kind), panel.row


def _any_stops_early(panels: Sequence[PanelSpec], *, replicas: pd.DataFrame, curves: pd.DataFrame) -> bool:
    shown = (panel.selected.rows(curves) for panel in panels)
    return any(stops_early(rows[~from_diverged(rows, replicas)]) for rows in shown)


def _intervals_in_words(tables: Sequence[pd.DataFrame]) -> str:
    numbers = sorted({int(n) for table in tables for n in table["n"]})
    if not numbers:
        return ""
    lacking = [(n, of) for table in tables for n, of in zip(table["n"], table["replicas"], strict=True) if n < of]
    fewest = "{} of {} replicas where others have no value".format(*min(lacking)) if lacking else ""
    seeds = f"{numbers[-1]}" if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"
    words = f"band or bar: 95 % t interval of the mean over {seeds} seeds"
    if numbers[-1] < FEWEST_FOR_AN_INTERVAL:
        words = "one seed, no interval" if numbers[-1] == 1 else "mean of two seeds, no interval; faint: each seed"
    elif numbers[0] < FEWEST_FOR_AN_INTERVAL:
        words += f", none of fewer than {FEWEST_FOR_AN_INTERVAL}"
    return ", ".join([words, *([fewest] if lacking else [])])
