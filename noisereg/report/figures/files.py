"""A figure as files: two images, and a page that shows numbers beneath the mouse and loads nothing."""

from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
from altair.utils.html import INLINE_HTML_TEMPLATE
from jinja2.utils import htmlsafe_json_dumps

from noisereg.files.atomic import write_atomically
from noisereg.files.cache import cached
from noisereg.report.figures.chart_parts import Figure
from noisereg.report.figures.chart_process import CHARTS
from noisereg.terminal import plain_text

_SNIPPET = "window.vegaEmbed = vegaEmbed;"


def save(chart: Figure | alt.TopLevelMixin, path: Path) -> None:
    """Write a figure as images, and as a page of its own.

    Each file appears whole or not at all. The page loads nothing from the network.

    Args:
        chart: the figure.
        path: of the files without their suffix; `.png` (two dots a pixel), `.svg` and `.html` are added.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save(alt.Chart().mark_point(), Path(folder) / "point")
        ...     sorted(file.name for file in Path(folder).iterdir())
        ['point.html', 'point.png', 'point.svg']
    """
    specification = specification_of(chart)
    files = images_of(specification)
    files["html"] = INLINE_HTML_TEMPLATE.render(
        spec=htmlsafe_json_dumps(specification),
        embed_options=htmlsafe_json_dumps({"mode": "vega-lite", "actions": {"export": True, "editor": False}}),
        output_div="figure",
        vegalite_version=alt.VEGALITE_VERSION,
        vegaembed_script=vega_script(),
    ).encode()
    for kind, content in files.items():
        write_atomically(path.with_name(f"{path.name}.{kind}"), content)


def specification_of(chart: Figure | alt.TopLevelMixin) -> dict[str, Any]:
    """Return the specification of a figure in which no text holds what a page or the chart library would obey.

    Raises:
        ValueError: if the chart is none.
    """
    return {str(key): _plain(value) for key, value in chart.to_dict().items()}


def images_of(specification: Mapping[str, Any]) -> dict[str, bytes]:
    """Return a figure as images, by their suffix: png, of two dots a pixel, and svg.

    Raises:
        DrawingError: if the chart library cannot draw it, or aborts over it.
    """
    svg = CHARTS.ask("svg", visible(dict(specification)))
    return {"png": CHARTS.ask("png", svg.decode()), "svg": svg}


@cache
def vega_script() -> str:
    """Return Vega, Vega-Lite and Vega-Embed as one script, which takes seconds to build and is kept on disk.

    Raises:
        DrawingError: if the chart library cannot build it.

    Example:
        >>> "vegaEmbed" in vega_script()
        True
    """
    made_of = (version("vl-convert-python"), _SNIPPET)
    kept = cached("vega", made_of, lambda: {"utf8": np.frombuffer(CHARTS.ask("script", _SNIPPET), "u1")})
    return kept["utf8"].tobytes().decode()


def _plain(part: Any) -> Any:
    if isinstance(part, str):
        return plain_text(part)
    if isinstance(part, Mapping):
        return {plain_text(str(key)): _plain(value) for key, value in part.items()}
    return [_plain(item) for item in part] if isinstance(part, list) else part


def visible(part: Any) -> Any:
    """Leave out marks that are only there for the mouse: thousands of them make an image four times slower."""
    if isinstance(part, dict):
        return {key: visible(value) for key, value in part.items()}
    if isinstance(part, list):
        return [visible(item) for item in part if not _is_for_the_mouse(item)]
    return part


def _is_for_the_mouse(part: Any) -> bool:
    mark = part.get("mark") if isinstance(part, dict) else None
    return isinstance(mark, dict) and mark.get("opacity") == 0
