"""`python -m noisereg.report FOLDER`: what finished runs say, as a page, figures and a table."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from noisereg.config.composing import compose_settings
from noisereg.report.groups.run_group import RunGroup, group_runs
from noisereg.report.page.html import DrawnFigure, render
from noisereg.report.page.results import csv_text, result_rows
from noisereg.report.page.terminal import kinds_table, overview_table
from noisereg.runs.reading import Run, find_runs
from noisereg.terminal import guard_output, open_console


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the report of the runs in some folders.

    Args:
        arguments: of the command line; by default those of this process.

    Returns:
        The exit code: 0, or 2 for bad input, which is one line on stderr.
    """
    guard_output()
    asked = _parser().parse_args(arguments)
    try:
        first = asked.paths[0]
        folder = asked.out or (first if first.is_dir() else first.parent)
        make_report(find_runs(asked.paths), folder, console=open_console())
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def make_report(runs: Sequence[Run], folder: Path, *, console: Console) -> None:
    """Write report.html, results.csv and a figure for each group of runs.

    Each file appears whole or not at all.

    Args:
        runs: of any status.
        folder: to write into.
        console: to print on.
    """
    together = group_runs(runs)
    figures = []
    for group in together:
        with console.status(Text(f"drawing {group.title}")):
            figures.append(_drawn(group, folder / "figures" / f"{group.name}.png"))
    unfinished = [run for run in runs if run.status != "finished"]
    with console.status("writing the page"):
        page = render(together, figures, unfinished=unfinished, defaults=compose_settings())
        _write(folder / "results.csv", csv_text(result_rows(together)).encode())
        _write(folder / "report.html", page.encode())
    console.print(overview_table(together))
    if (kinds := kinds_table(together)).row_count:
        console.print(kinds)
    for run in unfinished:
        console.print(Text(f"{run.status}: {run.folder} {run.reason}"), soft_wrap=True)
    console.print(Text(f"{folder / 'report.html'}, figures and results.csv beside it"), soft_wrap=True)


def _drawn(group: RunGroup, path: Path) -> DrawnFigure:
    figure = DrawnFigure.of(group)
    if figure.specification:
        _write(path, figure.image())
    return figure


def _write(path: Path, content: bytes) -> None:
    from noisereg.files.atomic import write_atomically  # noqa: PLC0415 - loads Lightning, which no other part here needs

    write_atomically(path, lambda file: file.write(content))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m noisereg.report", description=__doc__)
    parser.add_argument("paths", nargs="+", type=Path, metavar="FOLDER", help="of a run, or of many runs")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="to write into; by default the first one")
    return parser


if __name__ == "__main__":
    sys.exit(main())
