"""The figure of an experiment, in the paper's form: a panel for each thing that it asks to see."""

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from noisereg.report import drawing
from noisereg.report.analyses import AnalysedNetwork
from noisereg.report.check_panel import check_chart
from noisereg.report.histograms import histogram_chart
from noisereg.report.line_panel import line_chart
from noisereg.report.look import looks_of
from noisereg.report.panel_spec import PanelSpec
from noisereg.report.panel_tables import panel_table, replica_values
from noisereg.report.plane import plane_charts
from noisereg.report.reliability import reliability_chart
from noisereg.report.selection import REPLICA, Selection

Fires = Callable[[Mapping[str, Any]], np.ndarray | None]
Analyses = Callable[[Selection], Sequence[AnalysedNetwork]]

_LINES = ("curves", "end")
_WITH_LEGEND = ("check", "reliability", "plane")
_PANELS_A_ROW = 3
_STANDS_WITH = {"reliability": "end"}
_A_ROW_OF_THEIR_OWN = {"histograms": 2, "plane": 4}
_MOST_SINGLES = 600


def experiment_figure(
    panels: Sequence[PanelSpec],
    *,
    replicas: pd.DataFrame,
    curves: pd.DataFrame,
    fires: Fires = lambda where: None,
    analyses: Analyses = lambda selection: (),
    checks: Sequence[Mapping[str, Any]] = (),
    title: str = "",
) -> alt.VConcatChart:
    """Draw an experiment's panels.

    A line is the mean over seeds, its band Student's 95 % t interval of that mean; where there are few places along the
    axis, there are points with bars. Lines differ in colour by p (else learning rate, arm, metric), and in dashes by
    the rest. A click in the legend shows one colour alone. The subtitle names panels that the runs do not allow.

    Args:
        panels: what to draw, in order.
        replicas: one row for each replica, at the end of training: p, seed, lr and arm if there are several, metrics.
        curves: one row for each replica and measurement; may be empty.
        fires: gives how often each hidden neuron fired for each class, an array (replicas, classes, hidden), for the
            replica with the given values of columns; None if that was not kept.
        analyses: gives what single networks left at their end, those that a selection names.
        checks: rows of the theorems' checks, as `noisereg.theory.Check.as_row` gives them.
        title: of the figure.

    Raises:
        ValueError: if there is nothing to draw, or no panel can be drawn.

    Example:
        >>> rows = pd.DataFrame({"p": [0.0, 0.2], "seed": 0, "test/error": [0.5, 0.2]})
        >>> panel = PanelSpec(title="error", kind="end", metrics={"test/error": "test"})
        >>> experiment_figure([panel], replicas=rows, curves=rows[:0]).to_dict()["title"]["subtitle"]
        ['one seed, no interval']
    """
    if not panels:
        raise ValueError("a figure needs at least one panel, got none")
    draw: dict[str, Callable[[PanelSpec], Sequence[Any]]] = {
        "histograms": lambda panel: _histograms(panel, replicas, fires),
        "check": lambda panel: [check_chart(panel, checks)],
        "reliability": lambda panel: [reliability_chart(panel.title, _networks(panel, analyses))],
        "plane": lambda panel: plane_charts(panel.title, _networks(panel, analyses), split=panel.split),
    }
    faults: dict[int, str] = {}
    tables = _tables(panels, replicas=replicas, curves=curves, faults=faults)
    own = any(panel.kind in _WITH_LEGEND for panel in panels)
    looks = dict(zip(tables, looks_of(list(tables.values()), own=own), strict=True))
    charts: list[tuple[str, Any]] = []
    owned: set[str] = set()
    for place, panel in enumerate(panels):
        try:
            if place in tables:
                singles = _singles(panel, replicas=replicas, curves=curves)
                chart = line_chart(panel, tables[place], look=looks[place], singles=singles)
                charts.append((panel.kind, _with_choice(chart, looks[place].choice, owned)))
            elif place not in faults:
                charts += [(panel.kind, chart) for chart in draw[panel.kind](panel)]
        except ValueError as error:
            faults[place] = str(error)
    if not charts:
        raise ValueError("; ".join(faults.values()))
    not_drawn = [f"not drawn: {fault}" for _, fault in sorted(faults.items())]
    figure = drawing.page(_in_rows(charts), title=title, lines=[_intervals_in_words([*tables.values()]), *not_drawn])
    return _apart(figure, legends=own or any(look.own for look in looks.values()))


def _tables(
    panels: Sequence[PanelSpec], *, replicas: pd.DataFrame, curves: pd.DataFrame, faults: dict[int, str]
) -> dict[int, pd.DataFrame]:
    """Make the tables of the panels of lines by their places, and note what is wrong with others."""
    tables = {}
    for place, panel in enumerate(panels):
        if panel.kind in _LINES:
            try:
                tables[place] = panel_table(panel, replicas=replicas, curves=curves)
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


def _singles(panel: PanelSpec, *, replicas: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    """Show single replicas where it is clear which mean they belong to."""
    values = replica_values(panel, replicas=replicas, curves=curves) if panel.kind == "end" else pd.DataFrame()
    return values if len(values) <= _MOST_SINGLES else values[:0]


def _histograms(panel: PanelSpec, replicas: pd.DataFrame, fires: Fires) -> list[alt.FacetChart]:
    """Draw one replica of each p: that with the first seed."""
    rows, charts = panel.selected.rows(replicas), []
    for p, group in rows.groupby("p"):
        (first,) = group.sort_values("seed", kind="stable").head(1).to_dict("records")
        counts = fires({name: first[name] for name in REPLICA if name in rows})
        if counts is None:
            raise ValueError(f"panel {panel.title!r} needs fires.npz, which the run does not have")
        title = panel.title if rows["p"].nunique() == 1 else f"{panel.title}, p = {p:g}"
        charts.append(histogram_chart(counts[0], neurons=panel.neurons, title=title))
    return charts


def _in_rows(charts: Sequence[tuple[str, Any]]) -> list[list[Any]]:
    """Break rows where the kind of panel changes, unless all have a place in one."""
    kinds = {kind for kind, _ in charts}
    if kinds.isdisjoint(_A_ROW_OF_THEIR_OWN) and len(charts) <= _PANELS_A_ROW:
        return [[chart for _, chart in charts]]
    rows = []
    placed = [(_STANDS_WITH.get(kind, kind), chart) for kind, chart in charts]
    for kind, group in groupby(placed, key=itemgetter(0)):
        some = [chart for _, chart in group]
        number = _A_ROW_OF_THEIR_OWN.get(kind, _PANELS_A_ROW)
        rows += [some[start : start + number] for start in range(0, len(some), number)]
    return rows


def _apart(figure: alt.VConcatChart, *, legends: bool) -> alt.VConcatChart:
    """Give each panel its own scales, and its own legends if it has them below."""
    names = ["xOffset", *(["color", "strokeDash", "shape"] if legends else [])]
    apart: dict[str, Any] = dict.fromkeys(names, "independent")
    figure.vconcat = [row.resolve_scale(y="independent", **apart) for row in figure.vconcat]
    return figure.resolve_scale(**apart)


def _intervals_in_words(tables: Sequence[pd.DataFrame]) -> str:
    numbers = sorted({int(n) for table in tables for n in table["n"]})
    if not numbers:
        return ""
    if numbers[-1] == 1:
        return "one seed, no interval"
    seeds = f"{numbers[-1]}" if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"
    return f"band or bar: 95 % t interval of the mean over {seeds} seeds"
