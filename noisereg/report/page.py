"""The report: one HTML page of all groups of runs, that loads nothing from anywhere."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import altair as alt
import vl_convert
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from noisereg.report.experiment_figure import experiment_figure
from noisereg.report.groups import Group
from noisereg.report.layers import layer_tables
from noisereg.report.panel_spec import PanelSpec, usual_panels
from noisereg.report.runs import Run
from noisereg.report.sections import claim_cells, counted, in_words, means_table, run_facts, settings_of
from noisereg.report.vega import vega_script
from noisereg.report.verdicts import RULE

_TEMPLATE = Path(__file__).parent / "template"


@dataclass(frozen=True)
class Figure:
    """The figure of a group, or why there is none.

    Args:
        specification: of Vega-Lite; empty if there is none.
        fault: why not.
    """

    specification: Mapping[str, Any]
    fault: str = ""

    @classmethod
    def of(cls, group: Group) -> "Figure":
        """Draw what a group's experiment asks for, or what is usual.

        A figure that the runs do not allow is a sentence on the page: it does not keep the rest from being shown.

        Example:
            >>> replicas = [{"p": p, "seed": 0, "test/error": p / 2} for p in (0.0, 0.2)]
            >>> group = Group("Sweep", "sweep", [Run(Path("run"), "finished", record={"replicas": replicas})])
            >>> Figure.of(group).specification["title"]["text"]
            'Sweep'
        """
        try:
            return cls(figure_of(group).to_dict())
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            return cls({}, f"No figure: {error}")

    @property
    def for_the_page(self) -> dict[str, Any]:
        """The specification without its title, which stands above it on the page."""
        return {key: value for key, value in self.specification.items() if key != "title"} | {"background": "white"}

    @property
    def caption(self) -> str:
        """The lines below its title."""
        return ", ".join(self.specification.get("title", {}).get("subtitle", []))

    def image(self) -> bytes:
        """Draw it as PNG, two dots a pixel."""
        return vl_convert.vegalite_to_png(dict(self.specification), scale=2)


def panels_of(group: Group) -> list[PanelSpec]:
    """Give the panels that a group's experiment asks for, or what is usual: errors, active neurons, curves of checks.

    Raises:
        ValueError: if a panel is no panel.

    Example:
        >>> record = {"replicas": [{"p": p, "seed": 0, "test/error": p / 2} for p in (0.0, 0.2)]}
        >>> [panel.title for panel in panels_of(Group("Sweep", "sweep", [Run(Path("run"), "finished", record=record)]))]
        ['test error (%)']
    """
    asked = (group.experiment or {}).get("figure") or []
    return [PanelSpec.of(panel) for panel in asked] or [
        *usual_panels(group.replicas, group.curves),
        *(
            PanelSpec(title=str(check["id"]), kind="check", check=str(check["id"]))
            for check in group.checks
            if check.get("curve")
        ),
    ]


def figure_of(group: Group) -> alt.VConcatChart:
    """Draw a group's figure.

    Raises:
        ValueError: if a panel is no panel, or asks for what the runs do not have.
    """
    return experiment_figure(
        panels_of(group),
        replicas=group.replicas,
        curves=group.curves,
        fires=group.fires,
        analyses=group.analyses,
        checks=group.checks,
        title=group.title,
    )


def render(
    groups: Sequence[Group],
    figures: Sequence[Figure],
    *,
    unfinished: Sequence[Run] = (),
    defaults: Mapping[str, str] | None = None,
    title: str = "Label noise in ReLU networks: the paper's claims and ours",
) -> str:
    """Write the page.

    Everything that comes from a run is escaped, and the page forbids the browser to load anything.

    Args:
        groups: of finished runs.
        figures: of each group.
        unfinished: runs that failed, were cut off or cannot be read.
        defaults: the default of each dotted key of the configuration, as JSON, to tell which settings differ.
        title: of the page.

    Example:
        >>> failed = Run(Path("run"), "failed", "no memory <here>")
        >>> "no memory &lt;here&gt;" in render([], [], unfinished=[failed])
        True
    """
    sections = [_section(group, figure, defaults) for group, figure in zip(groups, figures, strict=True)]
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATE),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    runs = sum(len(group.runs) for group in groups)
    return environment.get_template("page.html").render(
        title=title,
        subtitle=f"{len(groups)} experiments and sweeps, {runs} finished runs, {len(unfinished)} others",
        sections=sections,
        total=counted([judgement for group in groups for judgement in group.judgements]),
        unfinished=unfinished,
        rule=RULE,
        css=_text("page.css"),
        script=_text("page.js"),
        bundle=vega_script() if any(section["figure"] for section in sections) else "",
    )


def _section(group: Group, figure: Figure, defaults: Mapping[str, str] | None) -> dict[str, Any]:
    counts = counted(group.judgements)
    experiment = group.experiment or {}
    return {
        "anchor": group.name,
        "title": group.title,
        "place": str(experiment.get("place") or ""),
        "note": str(experiment.get("note") or ""),
        "figure": figure.for_the_page if figure.specification else {},
        "caption": figure.caption,
        "fault": figure.fault,
        "claims": [claim_cells(judgement) for judgement in group.judgements],
        "counts_in_words": in_words(counts),
        "means": None if group.judgements else means_table(group),
        "layers": layer_tables(group.replicas),
        "missing": [*(f"Missing: {line}" for line in group.missing), *group.notes],
        "runs": [run_facts(run) for run in group.runs],
        "settings": settings_of(group.runs[-1], defaults),
    }


def _text(name: str) -> str:
    return (_TEMPLATE / name).read_text(encoding="utf-8")
