"""`noisereg export FOLDER`: the figures and tables of runs as a paper takes them, vector graphics and LaTeX."""

import re
import textwrap
from argparse import Namespace
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import pandas as pd
from rich.console import Console
from rich.text import Text

from noisereg.files.atomic import write_atomically
from noisereg.labels import label_of
from noisereg.parsers import EXPORTED, export_parser
from noisereg.report.figures.figure import figure_of
from noisereg.report.figures.files import specification_of
from noisereg.report.figures.paper import IMAGES, Form, paper_parts, paper_specification, width_of
from noisereg.report.groups.comparison import Comparison, setting_in_words
from noisereg.report.groups.reading import compute_or_explain, find_finished
from noisereg.report.groups.run_group import RunGroup
from noisereg.report.page.cells import claim_cells, replicas_in_words
from noisereg.report.page.comparison_table import LESS_THE_SAME, compare_groups
from noisereg.report.page.means_table import cells_of_metrics
from noisereg.report.page.results import claim_rows, comparison_rows, csv_text, difference_rows, result_rows
from noisereg.runs.summary import summary_metrics
from noisereg.statistics import CELL, DIFFERENCE, MEAN
from noisereg.terminal import plain_text, run_command

_HEADING = 14  # letters of a line
_CLAIM = r"lp{.4\linewidth}lllll"  # what a claim says is a sentence
_FITTED = "\\resizebox{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}{!}{%\n"  # at most as wide as the text


def main(arguments: Sequence[str] | None = None) -> int:
    """Export the runs in some folders, and return the exit code, as `run_command` does."""
    return run_command(_export, parser=export_parser(), arguments=arguments)


def _export(asked: Namespace, console: Console) -> None:
    form = Form(width_of(asked.width or ("column" if asked.each else "page")), asked.font, asked.each)
    formats = _formats_of(asked.format)
    groups, lines = find_finished(asked.paths, console)
    written: list[str] = []

    def write(what: str, make: Callable[[], dict[str, bytes]]) -> None:
        with console.status(Text(f"exporting the {what}")):
            made, fault = compute_or_explain(make)
        lines.extend([f"no {what}: {fault}"] if fault else [])
        for name, content in (made or {}).items():
            write_atomically(asked.out / name, content)
            console.print(str(asked.out / name), soft_wrap=True)
            written.append(name)

    for group in groups:
        write(f"figure of {group.title}", partial(figure_files, group, form=form, formats=formats))
        write(f"tables of {group.title}", partial(table_files, group, formats=formats))
        lines += group.curve_faults if group.judgements or {*IMAGES} & {*formats} else []
        group.forget_curves()
    if compared := compare_groups([group for group in groups if not group.judgements]):
        write("tables of groups side by side", partial(comparison_files, compared, formats=formats))
    if not written:
        raise ValueError(lines[0] if lines else f"no {asked.format} of {asked.paths[0]}: nothing was measured")
    for line in lines:
        console.print(line, soft_wrap=True)


def figure_files(group: RunGroup, *, form: Form, formats: Sequence[str]) -> dict[str, bytes]:
    """Return the figure of a group of runs as files, of which pdf and tex together make a caption.

    Returns:
        Contents by name: the figure, `<name>.pdf`, `.svg` and `.png`, or, if it is taller than a page, its parts,
        `<name>/part-1.pdf` and so on, or its panels, `<name>/01-<panel>.pdf`; with a caption in `<name>-figure.tex`.

    Raises:
        ValueError: if the runs do not allow their figure.
    """
    made: dict[str, bytes] = {}
    if images := [name for name in formats if name in IMAGES]:
        drawn = specification_of(figure_of(group))
        figures = _pages(drawn, group.name, form) if not form.each else _panels(drawn, group.name, form)
        for place, specification in figures.items():
            made |= {f"{place}.{name}": IMAGES[name](specification, form.width) for name in images}
        if {"pdf", "tex"} <= set(formats):
            heading = [group.title, *drawn.get("title", {}).get("subtitle", [])]
            is_in_parts = len(figures) > 1 and not form.each
            made[f"{group.name}-figure.tex"] = "\n".join(
                _figure_latex([*heading, *([f"part {part} of {len(figures)}"] if is_in_parts else [])], place, form)
                for part, place in enumerate(figures, start=1)
            ).encode()
    return made


def table_files(group: RunGroup, *, formats: Sequence[str]) -> dict[str, bytes]:
    """Return the tables of a group of runs as files, csv and tex.

    Returns:
        Contents by name: the means, `<name>.csv` and `.tex`; the verdicts, if there are claims, `<name>-claims.csv` and
        `.tex`.
    """
    made: dict[str, bytes] = {}
    if "csv" in formats:
        made[f"{group.name}.csv"] = csv_text(result_rows([group])).encode()
    if "tex" in formats and not group.means.empty:
        made[f"{group.name}.tex"] = means_latex(group).encode()
    if group.judgements and "csv" in formats:
        made[f"{group.name}-claims.csv"] = csv_text(claim_rows([group])).encode()
    if group.judgements and "tex" in formats:
        made[f"{group.name}-claims.tex"] = claims_latex(group).encode()
    return made


def comparison_files(compared: Comparison, *, formats: Sequence[str]) -> dict[str, bytes]:
    """Return the tables of groups side by side as files, csv and tex.

    Returns:
        Contents by name: the means for each combination of what differs, if that is more than p, rate and arm,
        `comparison.csv` and `.tex`; the paired differences between combinations that differ in one key,
        `differences.csv` and, those to the first value of each key, `.tex`.
    """
    made: dict[str, bytes] = {}
    if "csv" in formats:
        if compared.has_several_settings:
            made["comparison.csv"] = csv_text(comparison_rows(compared)).encode()
        made["differences.csv"] = csv_text(difference_rows(compared)).encode()
    if "tex" in formats and compared.has_several_settings:
        made["comparison.tex"] = comparison_latex(compared).encode()
    if "tex" in formats and not compared.differences.empty:
        made["differences.tex"] = differences_latex(compared).encode()
    return made


def comparison_latex(compared: Comparison) -> str:
    """Return groups of runs side by side as a table of LaTeX: a row for each combination of what differs."""
    rows, counts = _rows_of_means(compared.means, compared.keys, compared.metrics, MEAN)
    rows, over = _with_counts(rows, counts, by=compared.keys, name="replicas")
    caption = f"Mean $\\pm$ half of the 95 \\% t interval{_of_cut(rows)}{over}."
    return _latex(pd.DataFrame(rows), caption=caption, label="comparison")


def differences_latex(compared: Comparison) -> str:
    """Return paired differences to the first value of each key as a table of LaTeX."""
    table = compared.differences_to_the_first
    others = [f"{key} = {setting_in_words(than)}" for key, than in zip(table["key"], table["than"], strict=True)]
    table = table.assign(**{LESS_THE_SAME: others})
    by = [*compared.keys, LESS_THE_SAME]
    rows, counts = _rows_of_means(table, by, compared.metrics, DIFFERENCE)
    rows, over = _with_counts(rows, counts, by=by, name="pairs")
    caption = f"Mean of the differences seed by seed $\\pm$ half of its 95 \\% t interval{_of_cut(rows)}{over}."
    return _latex(pd.DataFrame(rows), caption=caption, label="differences")


def _rows_of_means(
    table: pd.DataFrame, by: Sequence[str], metrics: Iterable[str], names: Sequence[str]
) -> tuple[list[dict[str, str]], list[int]]:
    """Return the cells of a row for each place, and over how many replicas, or pairs, its means are."""
    shown = summary_metrics(metrics)
    rows, counts = [], []
    for place, part in table.groupby(list(by), dropna=False, sort=False):
        n, cells = cells_of_metrics(part, shown, names)
        means = [cell.replace("-", "$-$").replace("±", " $\\pm$ ") or "--" for cell in cells]
        own = {key: _escape(setting_in_words(value)) for key, value in zip(by, place, strict=True)}
        rows.append(own | {label_of(name).title: mean for name, mean in zip(shown, means, strict=True)})
        counts.append(n)
    return rows, counts


def _with_counts(
    rows: Sequence[Mapping[str, str]], counts: Sequence[int], *, by: Sequence[str], name: str
) -> tuple[list[dict[str, str]], str]:
    """Return rows with over how many each is behind its place; where all are over as many, they are for the caption."""
    if len(set(counts)) == 1:
        return [{**row} for row in rows], f", over {counts[0]} {name} each"
    pairs = zip(rows, counts, strict=True)
    return [{**{key: row[key] for key in by}, name: str(count), **row} for row, count in pairs], ""


def means_latex(group: RunGroup) -> str:
    """Return the means of a group as a table of LaTeX: a row for each arm, rate and p.

    It needs the packages booktabs and graphicx, by which one that is wider than the text gets smaller.

    The metrics are those of the terminal; a mean stands with half its 95 % interval, and the caption says over how
    many replicas it is.

    Example:
        >>> from pathlib import Path
        >>> from noisereg.runs.reading import Run
        >>> rows = [{"p": 0.2, "seed": seed, "test/error": 0.25 + seed / 100} for seed in range(3)]
        >>> print(means_latex(RunGroup("A & B", "sweep", [Run(Path("run"), "finished", record={"replicas": rows})])))
        \\begin{table}
        \\centering
        \\caption{A \\& B. Mean $\\pm$ half of the 95 \\% t interval; n = 3.}
        \\label{tab:sweep}
        \\resizebox{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}{!}{%
        \\begin{tabular}{rr}
        \\toprule
        p & test error (\\%) \\\\
        \\midrule
        0.2 & 26.00 $\\pm$ 2.48 \\\\
        \\bottomrule
        \\end{tabular}}
        \\end{table}
        <BLANKLINE>
    """
    means = group.means
    cells = [column for column in CELL if column in means]
    rows, numbers = _rows_of_means(means, cells, means["metric"].unique(), MEAN)
    of = means.drop_duplicates(cells)[["replicas", "diverged"]].to_numpy().tolist()
    counts = [replicas_in_words(n, *own) for n, own in zip(numbers, of, strict=True)]
    n = counts[0] if len(set(counts)) == 1 else f"{'; '.join(counts)} in this order"
    caption = f"{_escape(group.title)}. Mean $\\pm$ half of the 95 \\% t interval{_of_cut(rows)}; n = {n}."
    return _latex(pd.DataFrame(rows), caption=caption, label=group.name)


def claims_latex(group: RunGroup) -> str:
    """Return the verdicts on a group's claims as a table of LaTeX."""
    names = {"id": "claim", "says": "says", "paper": "paper", "mean": "ours", "interval": "95 % interval", "n": "n"}
    cells = [{**claim_cells(judgement), "mean": claim_cells(judgement)["ours"]} for judgement in group.judgements]
    rows = [
        {**{title: _escape(cell[key]) for key, title in names.items()}, "verdict": cell["verdict"]} for cell in cells
    ]
    caption = f"{_escape(group.title)}: claims and verdicts."
    return _latex(pd.DataFrame(rows), caption=caption, label=f"{group.name}-claims", columns=_CLAIM)


def _of_cut(rows: Sequence[Mapping[str, str]]) -> str:
    """Return what a caption says of intervals that are cut, if a cell has one."""
    has_ends = any(" [" in cell for row in rows for cell in row.values())
    return ", or [its ends] where it is cut at what is possible" if has_ends else ""


def _figure_latex(lines: Sequence[str], place: str, form: Form) -> str:
    """Return a figure of LaTeX, whose caption holds what the drawing on the page has in its title."""
    caption = ". ".join(_escape(line[:1].upper() + line[1:]) for line in lines)
    image = f"\\includegraphics[width={form.width:g}in]{{{place}.pdf}}"
    label = f"\\label{{fig:{place}}}"
    parts = ["\\begin{figure}", "\\centering", image, f"\\caption{{{caption}.}}", label, "\\end{figure}"]
    return "\n".join(parts) + "\n"


def _latex(table: pd.DataFrame, *, caption: str, label: str, columns: str = "") -> str:
    """Return a table, whose cells are LaTeX already; columns are set to the right if nothing else is said."""
    shown = table.rename(columns=_heading)
    text = shown.style.hide(axis="index").to_latex(
        hrules=True,
        caption=caption,
        label=f"tab:{label}",
        position_float="centering",
        column_format=columns or "r" * len(table.columns),
    )
    return text.replace("\\begin{tabular}", _FITTED + "\\begin{tabular}").replace("\\end{tabular}", "\\end{tabular}}")


def _heading(text: str) -> str:
    """Return a heading as LaTeX, in lines that are no longer than a number with its interval."""
    lines = [_escape(line) for line in textwrap.wrap(text, _HEADING, break_long_words=False, break_on_hyphens=False)]
    return lines[0] if len(lines) == 1 else "\\shortstack[r]{" + r" \\ ".join(lines) + "}"


def _escape(text: str) -> str:
    """Return a text as LaTeX that prints it."""
    marks = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    marks |= {mark: f"\\{mark}" for mark in "&%$#_{}"}
    marks |= {mark: f"{{{mark}}}" for mark in "[]"}  # at the beginning of a row they are the space above it
    return re.sub(r"[\\~^&%$#_{}\[\]]", lambda found: marks[found[0]], plain_text(text))


def _pages(specification: Mapping[str, Any], name: str, form: Form) -> dict[str, Any]:
    """Return a figure, in parts where it is taller than a page, by the names of their files."""
    parts = paper_parts(specification, form)
    return {name if len(parts) == 1 else f"{name}/part-{number}": part for number, part in enumerate(parts, start=1)}


def _panels(specification: Mapping[str, Any], name: str, form: Form) -> dict[str, Any]:
    """Return each panel of a figure as a figure of its own, by the name of its file."""
    found: dict[str, Any] = {}
    for row in specification["vconcat"]:
        for panel in row["hconcat"]:
            title = panel.get("title", "")
            words = str(title.get("text", "")) if isinstance(title, dict) else str(title)
            stem = re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")
            place = f"{name}/{len(found) + 1:02}-{stem}".rstrip("-")
            found[place] = paper_specification({**specification, "vconcat": [{**row, "hconcat": [panel]}]}, form)
    return found


def _formats_of(text: str) -> list[str]:
    given = [name.strip() for name in text.split(",")]
    if unknown := [name for name in given if name not in EXPORTED]:
        raise ValueError(f"--format must be some of {','.join(EXPORTED)}, got {unknown[0]!r}")
    return given
