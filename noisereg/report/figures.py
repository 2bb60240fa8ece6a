"""The two figures of a run: its curves over training, and its end against p."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import altair as alt
import pandas as pd
import vl_convert
from altair.utils.html import INLINE_HTML_TEMPLATE
from jinja2.utils import htmlsafe_json_dumps

from noisereg.report import drawing
from noisereg.report.panels import Panel, curve_panels, strength_panels
from noisereg.report.tables import (
    curve_bands,
    curve_keys,
    curve_rows,
    replica_rows,
    seeds_in_words,
    stops_early,
    strength_values,
    thinned,
)
from noisereg.report.vega import vega_script
from noisereg.statistics import bands

_PANELS_A_ROW = 3
_FEWEST_FOR_A_BAND = 3  # values of p; between two, a band would say more than is known


def curves(frame: pd.DataFrame, *, title: str = "", subtitle: str = "", level: float = 0.95) -> alt.VConcatChart:
    """Draw errors, active neurons and weight norms over training, a colour for each p.

    A line is the mean over seeds, its band Student's t interval of that mean. A replica that stopped early keeps its
    last values. A click in the legend shows one p alone, a click with shift adds another. With several learning rates,
    each has a column of panels. Of very many points, evenly spaced evaluations are drawn.

    Args:
        frame: one row for each replica and evaluation: step, epoch, p, seed, lr if there are several, metrics.
        title: of the figure.
        subtitle: data and model in words; how many seeds and which interval are added to it.
        level: of the intervals, in (0, 1).

    Raises:
        ValueError: if there is nothing to draw, a column is missing, a replica has two rows for one step, or level is
            not in (0, 1).

    Example:
        >>> rows = pd.DataFrame({"step": [0, 10], "epoch": [0, 1], "p": 0.1, "seed": 0, "test/error": [0.5, 0.4]})
        >>> curves(rows, title="Hypercube").to_dict()["title"]["subtitle"]
        ['one seed, no interval']
    """
    rows = curve_rows(frame)
    panels = _some(curve_panels(rows))
    tables = [curve_bands(rows, panel, level=level) for panel in panels]
    drawn = [thinned(table) for table in tables]
    moving = rows["epoch"].nunique() > 1
    colour = drawing.colour_of(rows, "p")
    charts = [
        [_curve_panel(part, name, colour=colour, band=moving) for name, part in parts]
        for parts in map(_by_rate, panels, drawn)
    ]
    lines = [subtitle, seeds_in_words(rows, mark="band" if moving else "bar", level=level)]
    if stops_early(rows):
        lines.append("replicas that stopped early keep their last values")
    if sum(map(len, drawn)) < sum(map(len, tables)):
        lines.append("evenly spaced evaluations, not all")
    grid = charts if "lr" in rows else _in_rows([row[0] for row in charts])
    return drawing.page(grid, title=title, lines=lines, chosen_by="p", same_height="lr" in rows)


def against_p(
    replicas: pd.DataFrame | Sequence[Mapping[str, Any]],
    *,
    title: str = "",
    subtitle: str = "",
    level: float = 0.95,
) -> alt.VConcatChart:
    """Draw errors and active neurons at the end of training against p.

    A line is the mean over seeds, its band Student's t interval of that mean; with fewer than three values of p, there
    are points with bars. A faint point is a replica. With several learning rates, each has a colour, and a click in
    the legend shows one alone.

    Args:
        replicas: one row for each replica: p, seed, lr if there are several, metrics.
        title: of the figure.
        subtitle: data and model in words; how many seeds and which interval are added to it.
        level: of the intervals, in (0, 1).

    Raises:
        ValueError: if there is nothing to draw, a column is missing, a replica has two rows, or level is not in (0, 1).

    Example:
        >>> rows = [{"p": p, "seed": seed, "test/error": p / 2} for p in (0, 0.2) for seed in (0, 1)]
        >>> against_p(rows, subtitle="hypercube").to_dict()["title"]["subtitle"]
        ['hypercube', 'bar: 95 % t interval of the mean over 2 seeds']
    """
    rows = replica_rows(replicas)
    row = [_strength_panel(rows, panel, level=level) for panel in _some(strength_panels(rows))]
    lines = [subtitle, seeds_in_words(rows, mark="band" if _band_against(rows) else "bar", level=level)]
    return drawing.page([row], title=title, lines=lines, chosen_by="lr" if "lr" in rows else None)


def save(chart: alt.TopLevelMixin, path: Path) -> None:
    """Write a figure as an image, and as a page that shows numbers beneath the mouse.

    Either file appears whole or not at all. The page loads nothing from the network.

    Args:
        chart: the figure.
        path: of the files without their suffix; `.png` (two dots a pixel) and `.html` are added.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save(against_p([{"p": 0.1, "seed": 0, "test/error": 0.5}]), Path(folder) / "against_p")
        ...     sorted(file.name for file in Path(folder).iterdir())
        ['against_p.html', 'against_p.png']
    """
    from noisereg.files.atomic import write_atomically  # noqa: PLC0415 - loads Lightning, which no other part here needs

    specification = chart.to_dict()
    image = vl_convert.vegalite_to_png(_visible(specification), scale=2)
    page = _page(specification)
    write_atomically(path.with_name(f"{path.name}.png"), lambda file: file.write(image))
    write_atomically(path.with_name(f"{path.name}.html"), lambda file: file.write(page.encode()))


def _page(specification: dict[str, Any]) -> str:
    """Put a figure on a page of its own, with all that draws it."""
    return INLINE_HTML_TEMPLATE.render(
        spec=htmlsafe_json_dumps(specification),
        embed_options=htmlsafe_json_dumps({"mode": "vega-lite", "actions": {"export": True, "editor": False}}),
        output_div="figure",
        vegalite_version=alt.VEGALITE_VERSION,
        vegaembed_script=vega_script(),
    )


def _curve_panel(table: pd.DataFrame, title: str, *, colour: Any, band: bool) -> alt.LayerChart:
    axis = alt.Axis(tickCount=5, tickMinStep=1, grid=False)
    x = alt.X("epoch:Q", title="epoch", axis=axis, scale=alt.Scale(nice=False, zero=False))
    return drawing.panel(drawing.mean_marks(table, x, colour=colour, band=band), title)


def _strength_panel(rows: pd.DataFrame, panel: Panel, *, level: float) -> alt.LayerChart:
    values = strength_values(rows, panel)
    means = bands(values, "value", by=curve_keys(rows), level=level)
    strengths = drawing.rounded(rows["p"])
    band = _band_against(rows)
    margin = (0.04 if band else 0.4) * (strengths[-1] - strengths[0]) or 0.1
    scale = alt.Scale(domain=[strengths[0] - margin, strengths[-1] + margin], nice=False)
    ticks = alt.Undefined if band else strengths
    axis = alt.Axis(grid=False, tickCount=5, format="~g", values=ticks)
    x = alt.X("p:Q", title="p", axis=axis, scale=scale)
    colour = drawing.colour_of(rows, "lr")
    marks = drawing.mean_marks(means, x, colour=colour, band=band)
    return drawing.panel([drawing.replica_marks(values, x, colour=colour), *marks], panel.title)


def _band_against(rows: pd.DataFrame) -> bool:
    return rows["p"].nunique() >= _FEWEST_FOR_A_BAND


def _by_rate(panel: Panel, table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    if "lr" not in table:
        return [(panel.title, table)]
    return [(f"{panel.title}, lr {rate:g}", rows) for rate, rows in table.groupby("lr")]


def _in_rows(charts: Sequence[alt.LayerChart]) -> list[Sequence[alt.LayerChart]]:
    return [charts[start : start + _PANELS_A_ROW] for start in range(0, len(charts), _PANELS_A_ROW)]


def _some(panels: list[Panel]) -> list[Panel]:
    if not panels:
        raise ValueError("a figure needs values of test/error, train/error or train/active_neurons, got none")
    return panels


def _visible(spec: Any) -> Any:
    """Leave out marks that are only there for the mouse: thousands of them make an image four times slower."""
    if isinstance(spec, dict):
        return {key: _visible(value) for key, value in spec.items()}
    if isinstance(spec, list):
        return [_visible(part) for part in spec if not _only_for_the_mouse(part)]
    return spec


def _only_for_the_mouse(part: Any) -> bool:
    mark = part.get("mark") if isinstance(part, dict) else None
    return isinstance(mark, dict) and mark.get("opacity") == 0
