"""`noisereg export FOLDER`: the figures and tables of runs as a paper takes them, vector graphics and LaTeX."""

import argparse
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import pandas as pd

from noisereg.labels import label_of
from noisereg.report.figures.chart_process import CHARTS
from noisereg.report.figures.figure import figure_of
from noisereg.report.figures.files import specification_of, visible
from noisereg.report.groups.reading import read_groups
from noisereg.report.groups.run_group import RunGroup
from noisereg.report.page.cells import claim_cells, replicas_in_words
from noisereg.report.page.results import claim_rows, csv_text, result_rows
from noisereg.runs.reading import find_runs
from noisereg.runs.summary import summary_metrics
from noisereg.statistics import CELL
from noisereg.terminal import guard_output, open_console, plain_text

FORMATS = ("pdf", "svg", "png", "csv", "tex")
WIDTHS = {"column": 3.25, "page": 6.75}  # inches
_POINTS = 72  # to the inch; a dot of a figure is one
_FONT_SIZE = 8.0  # points
_PANEL = 2.0  # inches that a panel needs at least


@dataclass(frozen=True)
class Form:
    """How figures are exported.

    Args:
        width: of a figure, in inches.
        font: family of its letters.
        each: whether each panel is a figure of its own.

    Raises:
        ValueError: if the width is not in [1, 40], or there is no such font here.
    """

    width: float = WIDTHS["page"]
    font: str = "sans-serif"
    each: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.width <= 40:
            raise ValueError(f"--width must be in [1, 40] inches, got {self.width:g}")
        if not _has_font(self.font):
            raise ValueError(f"--font={self.font}: this machine has no such font; sans-serif is always there")


def main(arguments: Sequence[str] | None = None) -> int:
    """Export the runs in some folders.

    Args:
        arguments: of the command line; by default those of this process.

    Returns:
        The exit code: 0, or 2 for bad input, which is one line on stderr.
    """
    guard_output()
    asked = _parser().parse_args(arguments)
    console = open_console()
    try:
        form, formats = (
            Form(_width_of(asked.width or ("column" if asked.each else "page")), asked.font, asked.each),
            _formats_of(asked.format),
        )
        groups, others = read_groups(find_runs(asked.paths))
        if not groups:
            raise ValueError(f"no finished run in {', '.join(map(str, asked.paths))}")
        for group in groups:
            with console.status(f"exporting {group.title}"):
                for path in export_group(group, asked.out, form=form, formats=formats):
                    console.print(str(path), soft_wrap=True)
    except (ValueError, OSError) as error:
        print(plain_text(f"error: {error}"), file=sys.stderr)
        return 2
    for run in others:
        console.print(f"left out, {run.status}: {run.folder} {run.reason}", soft_wrap=True)
    return 0


def export_group(group: RunGroup, folder: Path, *, form: Form, formats: Sequence[str]) -> list[Path]:
    """Write the figure and the tables of a group of runs; each file appears whole or not at all.

    Args:
        group: of runs.
        folder: to write into.
        form: of the figure.
        formats: some of `FORMATS`.

    Returns:
        The files: the figure, `<name>.pdf`, `.svg` and `.png`, or its panels, `<name>/01-<panel>.pdf` and so on, with a
        caption in `<name>-figure.tex`; the means, `<name>.csv` and `.tex`; the verdicts, if there are claims,
        `<name>-claims.csv` and `.tex`.

    Raises:
        ValueError: if the runs do not allow their figure.
    """
    from noisereg.files.atomic import write_atomically  # noqa: PLC0415 - loads Lightning, which no other part here needs

    made: dict[str, bytes] = {}
    if images := [name for name in formats if name in _IMAGES]:
        drawn = specification_of(figure_of(group))
        figures = {group.name: drawn} if not form.each else _panels(drawn, group.name)
        for place, figure in figures.items():
            specification = paper_specification(figure, form)
            made |= {f"{place}.{name}": _IMAGES[name](specification, form.width) for name in images}
        if {"pdf", "tex"} <= set(formats):
            lines = drawn.get("title", {}).get("subtitle", [])
            made[f"{group.name}-figure.tex"] = _figure_latex(group, [*figures], lines, form).encode()
    if "csv" in formats:
        made[f"{group.name}.csv"] = csv_text(result_rows([group])).encode()
    if "tex" in formats and not group.means.empty:
        made[f"{group.name}.tex"] = means_latex(group).encode()
    if group.judgements and "csv" in formats:
        made[f"{group.name}-claims.csv"] = csv_text(claim_rows([group])).encode()
    if group.judgements and "tex" in formats:
        made[f"{group.name}-claims.tex"] = claims_latex(group).encode()
    for name, content in made.items():
        write_atomically(folder / name, lambda file, content=content: file.write(content))  # type: ignore[misc]
    return [folder / name for name in made]


def paper_specification(specification: Mapping[str, Any], form: Form) -> dict[str, Any]:
    """Return a figure without its title, with as many panels in a row as the width has room for, in letters of 8 pt.

    Args:
        specification: of Vega-Lite, rows of panels.
        form: of the figure.

    Returns:
        A specification that is scaled to the width as it is written.
    """
    columns = max(1, int(form.width / _PANEL))
    rows = []
    for row in specification["vconcat"]:
        panels = row["hconcat"]
        rows += [{**row, "hconcat": panels[at : at + columns]} for at in range(0, len(panels), columns)]
    bare = {key: _static(value) for key, value in specification.items() if key not in ("title", "params")}
    bare |= {"vconcat": [_static(row) for row in rows], "background": "white"}
    size = _FONT_SIZE
    for _ in range(2):  # the size of letters is part of the width that the scale follows from
        size = _FONT_SIZE * _width_in_dots(_draw_svg(_with_letters(bare, size, form.font))) / (form.width * _POINTS)
    return _with_letters(bare, size, form.font)


def means_latex(group: RunGroup) -> str:
    """Return the means of a group as a table of LaTeX for the package booktabs: a row for each arm, rate and p.

    The metrics are those of the terminal; a mean stands with half its 95 % interval, and the caption says over how
    many replicas it is.

    Example:
        >>> from noisereg.runs.reading import Run
        >>> rows = [{"p": 0.2, "seed": seed, "test/error": 0.25 + seed / 100} for seed in range(3)]
        >>> print(means_latex(RunGroup("A & B", "sweep", [Run(Path("run"), "finished", record={"replicas": rows})])))
        \\begin{table}
        \\centering
        \\caption{A \\& B. Mean $\\pm$ half of the 95 \\% t interval; n = 3.}
        \\label{tab:sweep}
        \\begin{tabular}{rr}
        \\toprule
        p & test error (\\%) \\\\
        \\midrule
        0.2 & 26.00 $\\pm$ 2.48 \\\\
        \\bottomrule
        \\end{tabular}
        \\end{table}
        <BLANKLINE>
    """
    means = group.means
    cells = [column for column in CELL if column in means]
    metrics = summary_metrics(means["metric"].unique())
    rows, counts = [], []
    for values, part in means.groupby(cells, dropna=False, sort=False):
        own = part.set_index("metric").to_dict("index")
        place = {
            cell: f"{value:g}" if isinstance(value, float) else str(value)
            for cell, value in zip(cells, values, strict=True)
        }
        rows.append({**place, **{label_of(metric).title: _mean_in_latex(own[metric], metric) for metric in metrics}})
        most = max((own[metric] for metric in metrics), key=lambda row: row["n"], default=next(iter(own.values())))
        counts.append(replicas_in_words(int(most["n"]), int(most["replicas"]), int(most["diverged"])))
    n = counts[0] if len(set(counts)) == 1 else f"{'; '.join(counts)} in this order"
    caption = f"{_escape(group.title)}. Mean $\\pm$ half of the 95 \\% t interval; n = {n}."
    return _latex(pd.DataFrame(rows), caption=caption, label=group.name, right=len(rows[0]))


def claims_latex(group: RunGroup) -> str:
    """Return the verdicts on a group's claims as a table of LaTeX for the package booktabs."""
    names = {"id": "claim", "says": "says", "paper": "paper", "mean": "ours", "interval": "95 % interval", "n": "n"}
    cells = [{**claim_cells(judgement), "mean": claim_cells(judgement)["ours"]} for judgement in group.judgements]
    rows = [
        {**{title: _escape(cell[key]) for key, title in names.items()}, "verdict": cell["verdict"]} for cell in cells
    ]
    caption = f"{_escape(group.title)}: claims and verdicts."
    return _latex(pd.DataFrame(rows), caption=caption, label=f"{group.name}-claims", right=0)


def _mean_in_latex(row: Mapping[str, Any], metric: str) -> str:
    """Return a mean and half its interval, in the unit that is shown."""
    if pd.isna(row["mean"]):
        return "--"
    label = label_of(metric)
    half = label.factor * (row["high"] - row["low"]) / 2
    spread = "" if pd.isna(half) else f" $\\pm$ {half:.{label.digits}f}"
    return f"{label.factor * row['mean']:.{label.digits}f}{spread}"


def _figure_latex(group: RunGroup, places: Sequence[str], lines: Sequence[str], form: Form) -> str:
    """Return a figure of LaTeX, whose caption holds what the drawing on the page has in its title."""
    caption = ". ".join(_escape(line) for line in (group.title, *lines))
    images = [f"\\includegraphics[width={form.width:g}in]{{{place}.pdf}}" for place in places]
    label = f"\\label{{fig:{group.name}}}"
    parts = ["\\begin{figure}", "\\centering", *images, f"\\caption{{{caption}.}}", label, "\\end{figure}"]
    return "\n".join(parts) + "\n"


def _latex(table: pd.DataFrame, *, caption: str, label: str, right: int) -> str:
    """Return a table, whose cells are LaTeX already and whose first columns are set to the right."""
    shown = table.rename(columns=_escape)
    return shown.style.hide(axis="index").to_latex(
        hrules=True,
        caption=caption,
        label=f"tab:{label}",
        position_float="centering",
        column_format="r" * right + "l" * (len(table.columns) - right),
    )


def _escape(text: str) -> str:
    """Return a text as LaTeX that prints it."""
    marks = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    marks |= {mark: f"\\{mark}" for mark in "&%$#_{}"}
    return re.sub(r"[\\~^&%$#_{}]", lambda found: marks[found[0]], plain_text(text))


def _panels(specification: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return each panel of a figure as a figure of its own, by the name of its file."""
    found: dict[str, Any] = {}
    for row in specification["vconcat"]:
        for panel in row["hconcat"]:
            title = panel.get("title", "")
            words = str(title.get("text", "")) if isinstance(title, dict) else str(title)
            stem = re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")
            place = f"{name}/{len(found) + 1:02}-{stem}".rstrip("-")
            found[place] = {**specification, "vconcat": [{**row, "hconcat": [panel]}]}
    return found


def _static(part: Any) -> Any:
    """Return a part of a figure as it looks before anything is clicked: on paper there is nothing to choose by."""
    if isinstance(part, list):
        return [_static(item) for item in part if not _is_choice(item)]
    if isinstance(part, dict):
        return {key: _static(value) for key, value in part.items() if key != "params"}
    return part


def _is_choice(part: Any) -> bool:
    """Return whether a part is a filter by what was clicked."""
    condition = part.get("filter") if isinstance(part, dict) else None
    return isinstance(condition, dict) and "param" in condition


def _with_letters(specification: dict[str, Any], size: float, font: str) -> dict[str, Any]:
    """Return a figure whose letters are of one size, in its own dots, and one family."""
    config = dict(specification.get("config", {}))
    parts = {"axis": ("labelFontSize", "titleFontSize"), "legend": ("labelFontSize", "titleFontSize")}
    parts |= {"title": ("fontSize", "subtitleFontSize"), "header": ("labelFontSize", "titleFontSize")}
    for part, keys in parts.items():
        config[part] = {**config.get(part, {}), **dict.fromkeys(keys, size)}
    return {**specification, "config": {**config, "font": font}}


def _has_font(font: str) -> bool:
    """Return whether a letter can be drawn in a font: one that is missing leaves out all letters without a word."""
    letter = f'<text y="9" font-family={quoteattr(font)}>n</text>'
    page = CHARTS.ask("pdf", f'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9">{letter}</svg>')
    return b"/FontFile" in page


def _pdf(specification: dict[str, Any], width: float) -> bytes:
    """Return the image with its fonts in it; its dots are points."""
    return CHARTS.ask("pdf", _sized_svg(specification, width * _POINTS))


def _svg(specification: dict[str, Any], width: float) -> bytes:
    return _sized_svg(specification, width, unit="in").encode()


def _png(specification: dict[str, Any], width: float) -> bytes:
    return CHARTS.ask("print", _sized_svg(specification, width * _POINTS))


def _sized_svg(specification: dict[str, Any], width: float, *, unit: str = "") -> str:
    """Return an image of some width; its own dots stay in the viewBox."""
    text = _draw_svg(specification)
    scale = width / _width_in_dots(text)
    head, end, rest = text.partition(">")
    sized = re.sub(
        r'\b(width|height)="([\d.]+)"', lambda found: f'{found[1]}="{float(found[2]) * scale:.4f}{unit}"', head
    )
    return f"{sized}{end}{rest}"


def _draw_svg(specification: dict[str, Any]) -> str:
    return CHARTS.ask("svg", visible(specification)).decode()


def _width_in_dots(svg: str) -> float:
    found = re.search(r'<svg[^>]* width="([\d.]+)"', svg)
    if found is None:
        raise ValueError("the chart library has drawn no image")
    return float(found[1])


_IMAGES: dict[str, Callable[[dict[str, Any], float], bytes]] = {"pdf": _pdf, "svg": _svg, "png": _png}


def _width_of(text: str) -> float:
    try:
        return WIDTHS[text] if text in WIDTHS else float(text)
    except ValueError:
        raise ValueError(f"--width must be column, page or a number of inches, got {text}") from None


def _formats_of(text: str) -> list[str]:
    given = [name.strip() for name in text.split(",")]
    if unknown := [name for name in given if name not in FORMATS]:
        raise ValueError(f"--format must be some of {','.join(FORMATS)}, got {unknown[0]!r}")
    return given


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="noisereg export", description=__doc__)
    parser.add_argument("paths", nargs="+", type=Path, metavar="FOLDER", help="of a run, or of many runs")
    parser.add_argument("--out", type=Path, default=Path("export"), metavar="FOLDER", help="by default export")
    parser.add_argument("--format", default=",".join(FORMATS), help=f"by default all: {','.join(FORMATS)}")
    parser.add_argument(
        "--width", help="of figures: column (3.25 inches), page (6.75) or inches; by default page, of each panel column"
    )
    parser.add_argument("--each", action="store_true", help="each panel as a figure of its own")
    parser.add_argument("--font", default="sans-serif", help="of figures, by the name that the system has for it")
    return parser


if __name__ == "__main__":
    sys.exit(main())
