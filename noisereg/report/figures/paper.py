"""Figures as a paper takes them: vector graphics of a width, in letters of one size and font."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any
from xml.sax.saxutils import quoteattr

from noisereg.report.figures.chart_process import CHARTS
from noisereg.report.figures.files import visible

WIDTHS = {"column": 3.25, "page": 6.75}  # inches
_POINTS = 72  # to the inch; a dot of a figure is one
_FONT_SIZE = 8.0  # points
_PANEL = 2.0  # inches that a panel needs at least
_TALLEST = 9.0  # inches of a page, less its margins


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


def paper_specification(specification: Mapping[str, Any], form: Form) -> dict[str, Any]:
    """Return a figure without its title, with as many panels in a row as the width has room for, in letters of 8 pt.

    It is scaled to the width as it is written.
    """
    return _with_paper_letters(_laid_out(specification, form), form)


def paper_parts(specification: Mapping[str, Any], form: Form) -> list[dict[str, Any]]:
    """Return a figure as `paper_specification` does, in as few parts as are no taller than a page.

    Each has as many rows as the others or one more; a part of one row may be taller.
    """
    laid_out = _laid_out(specification, form)
    rows = laid_out["vconcat"]
    parts = [_with_paper_letters(laid_out, form)]
    tallest = _height_in_inches(parts[0], form)
    number = min(math.ceil(tallest / _TALLEST), len(rows))
    while tallest > _TALLEST and len(parts) < len(rows):
        ends = [len(rows) * part // number for part in range(number + 1)]
        split = [{**laid_out, "vconcat": rows[first:last]} for first, last in pairwise(ends)]
        parts = [_with_paper_letters(part, form) for part in split]
        tallest = max(_height_in_inches(part, form) for part in parts)
        number += 1
    return parts


def _laid_out(specification: Mapping[str, Any], form: Form) -> dict[str, Any]:
    """Return a figure without its title, with as many panels in a row as the width has room for."""
    columns = max(1, int(form.width / _PANEL))
    rows = []
    for row in specification["vconcat"]:
        panels = row["hconcat"]
        rows += [{**row, "hconcat": panels[at : at + columns]} for at in range(0, len(panels), columns)]
    bare = {key: _static(value) for key, value in specification.items() if key not in ("title", "params")}
    return bare | {"vconcat": [_static(row) for row in rows], "background": "white"}


def _with_paper_letters(bare: dict[str, Any], form: Form) -> dict[str, Any]:
    """Return a figure whose letters have 8 pt at its width."""
    size = _FONT_SIZE
    for _ in range(2):  # the size of letters is part of the width that the scale follows from
        width, _ = _size_in_dots(_draw_svg(_with_letters(bare, size, form.font)))
        size = _FONT_SIZE * width / (form.width * _POINTS)
    return _with_letters(bare, size, form.font)


def width_of(text: str) -> float:
    """Return the inches that a text names: column, page or a number.

    Raises:
        ValueError: if it names none.

    Example:
        >>> width_of("column"), width_of("5")
        (3.25, 5.0)
    """
    try:
        return WIDTHS[text] if text in WIDTHS else float(text)
    except ValueError:
        raise ValueError(f"--width must be column, page or a number of inches, got {text}") from None


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


def _sized_svg(specification: dict[str, Any], width: float, *, unit: str = "") -> str:
    """Return an image of some width; its own dots stay in the viewBox."""
    text = _draw_svg(specification)
    scale = width / _size_in_dots(text)[0]
    head, end, rest = text.partition(">")
    sized = re.sub(
        r'\b(width|height)="([\d.]+)"', lambda found: f'{found[1]}="{float(found[2]) * scale:.4f}{unit}"', head
    )
    return f"{sized}{end}{rest}"


def _draw_svg(specification: dict[str, Any]) -> str:
    return CHARTS.ask("svg", visible(specification)).decode()


def _height_in_inches(specification: dict[str, Any], form: Form) -> float:
    width, height = _size_in_dots(_draw_svg(specification))
    return form.width * height / width


def _size_in_dots(svg: str) -> tuple[float, float]:
    """Return width and height."""
    found = re.search(r'<svg[^>]* width="([\d.]+)" height="([\d.]+)"', svg)
    if found is None:
        raise ValueError("the chart library has drawn no image")
    return float(found[1]), float(found[2])


IMAGES: dict[str, Callable[[dict[str, Any], float], bytes]] = {  # of a specification at a width in inches
    "pdf": lambda drawn, width: CHARTS.ask("pdf", _sized_svg(drawn, width * _POINTS)),  # with its fonts in it
    "svg": lambda drawn, width: _sized_svg(drawn, width, unit="in").encode(),
    "png": lambda drawn, width: CHARTS.ask("print", _sized_svg(drawn, width * _POINTS)),
}
