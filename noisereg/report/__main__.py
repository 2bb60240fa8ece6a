"""`python -m noisereg.report FOLDER`: what finished runs came to, as a page, figures and tables."""

import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.text import Text

from noisereg.config.composing import compose_settings
from noisereg.files.atomic import write_atomically
from noisereg.parsers import report_parser
from noisereg.report import export
from noisereg.report.figures.chart_process import DrawingError
from noisereg.report.figures.files import images_of
from noisereg.report.groups.reading import find_groups
from noisereg.report.groups.run_group import RunGroup, describe_ends
from noisereg.report.page.comparison_table import compare_groups, print_means
from noisereg.report.page.html import DrawnFigure, render
from noisereg.report.page.results import claim_rows, comparison_rows, csv_text, difference_rows, result_rows
from noisereg.report.page.terminal import kinds_table, overview_table
from noisereg.runs.reading import Run
from noisereg.terminal import run_command

_MOST_TABLES = 40  # that are printed
_MOST_FIGURES = 24  # of groups without claims: a figure takes a second, and the page has the numbers of all groups
_NO_MORE_FIGURES = f"No figure: these are drawn of the first {_MOST_FIGURES} groups; name fewer folders to see it"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the report of the runs in some folders, and return the exit code, as `run_command` does.

    Where the first argument is export, it is `noisereg export` with the others.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    if given[:1] == ["export"]:  # a folder of that name is ./export
        return export.main(given[1:])
    return run_command(_report, parser=report_parser(), arguments=given)


def _report(asked: Namespace, console: Console) -> None:
    first = asked.paths[0]
    folder = asked.out or (first if first.is_dir() else first.parent)
    make_report(*find_groups(asked.paths, console), folder, console=console)


def make_report(groups: Sequence[RunGroup], others: Sequence[Run], folder: Path, *, console: Console) -> None:
    """Write report.html, results.csv, claims.csv if there are claims, and a figure for each group of runs.

    Groups without claims that differ in a few settings are compared: comparison.csv and differences.csv.

    Each file appears whole or not at all. A run that is not finished, or cannot be read, is a line, and keeps no other
    from being shown.
    """
    judged = [group for group in groups if group.judgements]
    compared = compare_groups([group for group in groups if not group.judgements])
    with console.status("writing the tables"):
        write_atomically(folder / "results.csv", csv_text(result_rows(groups)).encode())
        if judged:
            write_atomically(folder / "claims.csv", csv_text(claim_rows(judged)).encode())
        if compared:
            write_atomically(folder / "comparison.csv", csv_text(comparison_rows(compared)).encode())
            write_atomically(folder / "differences.csv", csv_text(difference_rows(compared)).encode())
    drawn = [*judged, *[group for group in groups if not group.judgements][:_MOST_FIGURES]]
    figures = {group.name: DrawnFigure({}, _NO_MORE_FIGURES) for group in groups}
    for group in drawn:
        with console.status(Text(f"drawing {group.title}")):
            figures[group.name] = _drawn(group, folder / "figures")
            group.forget_curves()
    with console.status("writing the page"):
        page = render(groups, list(figures.values()), unfinished=others, compared=compared, defaults=compose_settings())
        write_atomically(folder / "report.html", page.encode())
    _print_results(groups, console)
    for group in drawn:
        for line in (figures[group.name].fault, *figures[group.name].notes, *group.notes):
            if line and line != describe_ends([group]):  # which stands below the tables
                console.print(Text(f"{group.title}: {line}"), soft_wrap=True)
    for run in others:
        console.print(Text(f"{run.status}: {run.folder} {run.reason}"), soft_wrap=True)
    files = ["figures", "results.csv", *(["claims.csv"] if judged else [])]
    files += ["comparison.csv", "differences.csv"] if compared else []
    beside = f"{', '.join(files[:-1])} and {files[-1]}"
    console.print(Text(f"{folder / 'report.html'}, with {beside} beside it"), soft_wrap=True)


def _print_results(groups: Sequence[RunGroup], console: Console) -> None:
    """Print the verdicts on experiments, and the means of all other groups."""
    if judged := [group for group in groups if group.judgements]:
        console.print(overview_table(judged))
        console.print(kinds_table(judged))
    print_means(groups, console, most=_MOST_TABLES, elsewhere="in results.csv and on the page")
    if not judged and (ends := describe_ends(groups)):
        console.print(Text(ends), soft_wrap=True)


def _drawn(group: RunGroup, folder: Path) -> DrawnFigure:
    figure = DrawnFigure.of(group)
    if figure.specification:
        try:
            for kind, content in images_of(figure.specification).items():
                write_atomically(folder / f"{group.name}.{kind}", content)
        except DrawingError as error:
            return replace(figure, notes=[*figure.notes, f"no {folder / group.name}.png and .svg: {error}"])
    return figure


if __name__ == "__main__":
    sys.exit(main())
