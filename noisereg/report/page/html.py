"""The report: one HTML page of all groups of runs, that loads nothing from anywhere."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from noisereg.report.claims.verdicts import RULE
from noisereg.report.figures.chart_process import DrawingError
from noisereg.report.figures.figure import figure_of
from noisereg.report.figures.files import specification_of, vega_script
from noisereg.report.groups.comparison import Comparison
from noisereg.report.groups.reading import compute_or_explain
from noisereg.report.groups.run_group import RunGroup, describe_ends
from noisereg.report.page.cells import claim_cells, count_by_kind, kinds_in_words, run_facts, settings_of
from noisereg.report.page.comparison_table import besides_in_words, comparison_cells, difference_cells
from noisereg.report.page.layer_table import layer_tables
from noisereg.report.page.means_table import means_table
from noisereg.runs.reading import Run
from noisereg.terminal import plain_text

_TEMPLATE = Path(__file__).parent / "template"
_OF_CLAIMS = "Label noise in ReLU networks: the paper's claims and ours"
_OF_RUNS = "Label noise: the results of runs"
_MOST_OPEN_ROWS = 80
_MOST_SECTIONS = 1000  # a section takes ten thousand characters, and no browser opens a hundred million


@dataclass(frozen=True)
class DrawnFigure:
    """The figure of a group, or why there is none.

    Args:
        specification: of Vega-Lite; empty if there is none.
        fault: why not.
        notes: which curves it lacks, and why, a line each.
    """

    specification: Mapping[str, Any]
    fault: str = ""
    notes: Sequence[str] = ()

    @classmethod
    def of(cls, group: RunGroup) -> "DrawnFigure":
        """Draw what a group's experiment asks for, or what is usual.

        A figure that the runs do not allow is a sentence on the page: it does not keep the rest from being shown.

        Example:
            >>> replicas = [{"p": p, "seed": 0, "test/error": p / 2} for p in (0.0, 0.2)]
            >>> group = RunGroup("Sweep", "sweep", [Run(Path("run"), "finished", record={"replicas": replicas})])
            >>> DrawnFigure.of(group).specification["title"]["text"]
            'Sweep'
        """
        drawn, fault = compute_or_explain(lambda: specification_of(figure_of(group)))
        return cls(drawn or {}, fault and f"No figure: {fault}", notes=group.curve_faults)

    @property
    def for_the_page(self) -> dict[str, Any]:
        """The specification without its title, which stands above it on the page."""
        return {key: value for key, value in self.specification.items() if key != "title"} | {"background": "white"}

    @property
    def caption(self) -> str:
        """The lines below its title."""
        return ", ".join(self.specification.get("title", {}).get("subtitle", []))


def render(
    groups: Sequence[RunGroup],
    figures: Sequence[DrawnFigure],
    *,
    unfinished: Sequence[Run] = (),
    compared: Comparison | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> str:
    """Return the page as text.

    Everything that comes from a run is escaped, and the page forbids the browser to load anything.

    Args:
        groups: of finished runs; the first thousand have a section, and those with claims.
        figures: of each group.
        unfinished: runs that failed, were cut off or cannot be read.
        compared: the groups that differ in a few settings, side by side; None for no such table.
        defaults: the default configuration, to list the settings that differ.

    Example:
        >>> failed = Run(Path("run"), "failed", "no memory <here>")
        >>> "no memory &lt;here&gt;" in render([], [], unfinished=[failed])
        True
    """
    sections = [
        _section(group, figure, defaults)
        for place, (group, figure) in enumerate(zip(groups, figures, strict=True))
        if place < _MOST_SECTIONS or group.judgements
    ]
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATE),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        finalize=_plain,
    )
    runs = len({run.folder for group in groups for run in group.runs})
    are_judged = any(group.judgements for group in groups)
    return environment.get_template("page.html").render(
        title=_OF_CLAIMS if are_judged else _OF_RUNS,
        subtitle=", ".join(
            [
                _counted(len(groups), "experiment or sweep", "experiments and sweeps"),
                _counted(runs, "finished run", "finished runs"),
                *([_counted(len(unfinished), "other", "others")] if unfinished else []),
            ]
        ),
        ends=describe_ends(groups),
        sections=sections,
        left_out=len(groups) - len(sections),
        total=count_by_kind(judgement for group in groups for judgement in group.judgements),
        unfinished=unfinished,
        comparison=_comparison(compared) if compared and compared.has_several_settings else [],
        rule=RULE,
        css=_text("page.css"),
        script=_text("page.js"),
        bundle=_bundle(sections),
    )


def _bundle(sections: Sequence[dict[str, Any]]) -> str:
    """Return the script that draws the figures of a page; where there is none, each figure is a line that says why."""
    drawn = [section for section in sections if section["figure"]]
    try:
        return vega_script() if drawn else ""
    except DrawingError as error:
        for section in drawn:
            section |= {"figure": {}, "fault": f"No figure: {error}"}
        return ""


def _section(group: RunGroup, figure: DrawnFigure, defaults: Mapping[str, Any] | None) -> dict[str, Any]:
    experiment, means = group.experiment, means_table(group.means)
    return {
        "anchor": group.name,
        "title": group.title,
        "place": str(experiment.get("place") or ""),
        "note": str(experiment.get("note") or ""),
        "figure": figure.for_the_page if figure.specification else {},
        "caption": figure.caption,
        "fault": figure.fault,
        "claims": [claim_cells(judgement) for judgement in group.judgements],
        "counts_in_words": kinds_in_words(count_by_kind(group.judgements)),
        "means": means,
        "are_means_open": not group.judgements and len(means["rows"]) <= _MOST_OPEN_ROWS,
        "layers": layer_tables(group.replicas),
        "missing": [*(f"Missing: {line}" for line in group.missing), *group.notes, *figure.notes],
        "runs": [run_facts(run) for run in group.runs],
        "settings": settings_of(group.runs[-1], defaults),
    }


def _comparison(compared: Comparison) -> list[dict[str, Any]]:
    """Return the tables of groups side by side."""
    tables = {
        "Means over the seeds, at the end of training": comparison_cells(compared),
        f"Paired differences, over the seeds that both have{besides_in_words(compared)}": difference_cells(compared),
    }
    return [{"title": title, **table} for title, table in tables.items() if table["rows"]]


def _counted(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def _plain(value: Any) -> Any:
    """Return what a template writes: a text without what turns the direction of writing."""
    return plain_text(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _text(name: str) -> str:
    return (_TEMPLATE / name).read_text(encoding="utf-8")
