"""The figure of an experiment, in the paper's form: panels of curves, end points, histograms and checks."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from noisereg.report import drawing
from noisereg.report.check_panel import check_chart
from noisereg.report.histograms import histogram_chart
from noisereg.report.line_panel import line_chart
from noisereg.report.look import looks_of
from noisereg.report.panel_spec import PanelSpec
from noisereg.report.panel_tables import panel_table, replica_values
from noisereg.report.selection import REPLICA

Fires = Callable[[Mapping[str, Any]], np.ndarray | None]

_LINES = ("curves", "end")
_PANELS_A_ROW = 3
_HISTOGRAMS_A_ROW = 2
_MOST_SINGLES = 600


def experiment_figure(
    panels: Sequence[PanelSpec],
    *,
    replicas: pd.DataFrame,
    curves: pd.DataFrame,
    fires: Fires = lambda where: None,
    checks: Sequence[Mapping[str, Any]] = (),
    title: str = "",
) -> alt.VConcatChart:
    """Draw an experiment's panels.

    A line is the mean over seeds, its band Student's 95 % t interval of that mean; where there are few places along the
    axis, there are points with bars. Lines differ in colour by p (else learning rate, arm, metric), and in dashes by
    the rest. A click in the legend shows one colour alone.

    Args:
        panels: what to draw, in order.
        replicas: one row for each replica, at the end of training: p, seed, lr and arm if there are several, metrics.
        curves: one row for each replica and measurement; may be empty.
        fires: gives how often each hidden neuron fired for each class, an array (replicas, classes, hidden), for the
            replica with the given values of columns; None if that was not kept.
        checks: rows of the theorems' checks, as `noisereg.theory.Check.as_row` gives them.
        title: of the figure.

    Raises:
        ValueError: if there is nothing to draw, or a panel asks for what the runs do not have.

    Example:
        >>> rows = pd.DataFrame({"p": [0.0, 0.2], "seed": 0, "test/error": [0.5, 0.2]})
        >>> panel = PanelSpec(title="error", kind="end", metrics={"test/error": "test"})
        >>> experiment_figure([panel], replicas=rows, curves=rows[:0]).to_dict()["title"]["subtitle"]
        ['one seed, no interval']
    """
    if not panels:
        raise ValueError("a figure needs at least one panel, got none")
    tables = [panel_table(panel, replicas=replicas, curves=curves) for panel in panels if panel.kind in _LINES]
    looks = looks_of(tables, own=any(panel.kind == "check" for panel in panels))
    lines = zip(tables, looks, strict=True)
    charts: list[tuple[str, alt.TopLevelMixin]] = []
    owned: set[str] = set()
    for panel in panels:
        if panel.kind == "histograms":
            charts += [("histograms", chart) for chart in _histograms(panel, replicas, fires)]
        elif panel.kind == "check":
            charts.append(("check", check_chart(panel, checks)))
        else:
            table, look = next(lines)
            chart = line_chart(panel, table, look=look, singles=_singles(panel, replicas=replicas, curves=curves))
            if look.choice and look.choice.name not in owned:  # altair warns of a choice with many owners
                chart = chart.add_params(look.choice)
                owned.add(look.choice.name)
            charts.append((panel.kind, chart))
    rows = _in_rows(charts)
    figure = drawing.page(rows, title=title, lines=[_intervals_in_words(tables)])
    return _apart(figure, legends=any(look.own for look in looks))


def _singles(panel: PanelSpec, *, replicas: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    """Show single replicas where it is clear which mean they belong to."""
    values = replica_values(panel, replicas=replicas, curves=curves) if panel.kind == "end" else pd.DataFrame()
    return values if len(values) <= _MOST_SINGLES else values[:0]


def _histograms(panel: PanelSpec, replicas: pd.DataFrame, fires: Fires) -> Iterator[alt.FacetChart]:
    """Draw one replica of each p: that with the first seed."""
    rows = panel.selected.rows(replicas)
    for p, group in rows.groupby("p"):
        (first,) = group.sort_values("seed", kind="stable").head(1).to_dict("records")
        counts = fires({name: first[name] for name in REPLICA if name in rows})
        if counts is None:
            raise ValueError(f"panel {panel.title!r} needs fires.npz, which the run does not have")
        title = panel.title if rows["p"].nunique() == 1 else f"{panel.title}, p = {p:g}"
        yield histogram_chart(counts[0], neurons=panel.neurons, title=title)


def _in_rows(charts: Sequence[tuple[str, Any]]) -> list[list[Any]]:
    """Break rows where the kind of panel changes, unless all have a place in one."""
    kinds = {kind for kind, _ in charts}
    if "histograms" not in kinds and len(charts) <= _PANELS_A_ROW:
        return [[chart for _, chart in charts]]
    rows = []
    for kind, group in groupby(charts, key=itemgetter(0)):
        some = [chart for _, chart in group]
        number = _HISTOGRAMS_A_ROW if kind == "histograms" else _PANELS_A_ROW
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
