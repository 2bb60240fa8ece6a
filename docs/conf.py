"""The documentation site: the pages of docs/, and an API reference made of the docstrings.

    pip install -e '.[docs]'
    sphinx-build -W --keep-going docs site        # then open site/index.html

Sphinx makes it, with MyST for the pages and Furo for the looks: the pages stay the Markdown that a repository shows,
every link between them is checked, and the search needs no server.
"""

import re
from typing import Any

import noisereg

project, release = "noisereg", noisereg.__version__
author = project_copyright = "noisereg contributors"
extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode", "myst_nb"]

html_theme = "furo"
html_title = f"noisereg {release}"
html_copy_source = False
smartquotes = False  # the quotes of code are to be copied

myst_heading_anchors = 4  # links to #headings, as repositories make them
myst_enable_extensions = ["dollarmath"]
nb_execution_mode = "off"  # a test runs the notebook, which stands here with what it printed

autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
default_role = "code"  # a docstring's `name` is code
napoleon_custom_sections = [("Source", "notes_style")]
napoleon_use_ivar = True  # the attributes of a docstring are fields of the class, and not objects a second time
napoleon_attr_annotations = False  # shapes such as "n *shape" would be read as markup

_SIGN = re.compile(r"[*|]|_(?=\W|$)")
_OUTER_LINK = re.compile(r"\[([^\]]+)\]\(\.\./[^)]+\)")
_FILE_LINK = re.compile(r"\[(\w+)\.md\](?=\(\w+\.md[^)]*\))")


def setup(app: Any) -> None:
    """Call pages as the contents do, keep no link that leads out of docs/, and take docstrings as they are written."""
    app.connect("source-read", _adapt_links)
    app.connect("autodoc-process-docstring", _keep_signs, priority=1)  # before napoleon
    app.connect("object-description-transform", _hide_object)


def _adapt_links(app: Any, page: str, source: list[str]) -> None:
    """Write [Guide] for links called [guide.md], and leave only the words of those that lead out of docs/."""
    inner = _OUTER_LINK.sub(r"\1", source[0])
    source[0] = _FILE_LINK.sub(lambda link: f"[{link[1].capitalize()}]", inner)


def _hide_object(app: Any, domain: str, kind: str, content: Any) -> None:
    """Remove the line on the base of a class that has none but `object`."""
    for paragraph in [part for part in content.children if part.astext() == "Bases: object"]:
        content.remove(paragraph)


def _keep_signs(*given: Any) -> None:
    """Escape what is markup in reStructuredText and a sign in our docstrings: |x| is an absolute value there."""
    lines, in_example = given[-1], False
    for number, line in enumerate(lines):
        in_example = line.lstrip().startswith(">>>") or (in_example and bool(line.strip()))
        if not in_example:
            parts = line.split("`")
            parts[::2] = [_SIGN.sub(r"\\\g<0>", part) for part in parts[::2]]  # the others are code
            lines[number] = "`".join(parts)
