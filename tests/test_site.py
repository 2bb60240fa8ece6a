"""The documentation site, the tutorial and the notebook, each as a reader would use it."""

import json
import os
import re
import shlex
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

import noisereg

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PACKAGES = sorted(path.stem for path in (DOCS / "api").glob("*.md") if path.stem != "index")
needs_docs = pytest.mark.skipif(not find_spec("furo"), reason="needs Sphinx: pip install 'noisereg[docs]'")


def test_each_package_with_public_names_has_a_page_of_the_api():
    public = {path.parent.name for path in (ROOT / "noisereg").glob("*/__init__.py") if "__all__" in path.read_text()}
    assert set(PACKAGES) == public


def test_each_page_stands_in_the_contents_of_the_site():
    listed = set(re.findall(r"^(?:.* <)?([\w/]+)>?$", (DOCS / "index.md").read_text(), re.MULTILINE))
    assert {path.stem for path in DOCS.glob("*.[mi][dp]*")} - {"index"} <= listed


@pytest.mark.slow
@needs_docs
def test_the_site_is_built_without_a_warning_and_has_every_public_name(tmp_path):
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", str(DOCS), str(tmp_path / "site")]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    pages = {package: f"api/{package}.html" for package in PACKAGES}
    api = "".join((tmp_path / "site" / page).read_text() for page in [*pages.values(), "api/index.html"])
    for package, page in pages.items():
        text = (tmp_path / "site" / page).read_text()
        missing = [name for name in import_module(f"noisereg.{package}").__all__ if f">{name}<" not in text]
        assert missing == [], package
    assert [name for name in noisereg.__all__ if f">{name}<" not in api] == []
    assert (tmp_path / "site" / "searchindex.js").exists()


def test_the_notebook_stands_there_with_what_it_printed():
    cells = [cell for cell in json.loads((DOCS / "tutorial.ipynb").read_text())["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    silent = [cell["execution_count"] for cell in cells if not cell["outputs"]]
    assert silent == [4]  # the training
    kinds = {kind for cell in cells for output in cell["outputs"] for kind in output.get("data", {})}
    assert "image/svg+xml" in kinds


@pytest.mark.slow
@needs_docs
def test_the_notebook_runs_from_top_to_bottom(tmp_path):
    import nbformat  # noqa: PLC0415
    from nbclient import NotebookClient  # noqa: PLC0415

    notebook = nbformat.read(DOCS / "tutorial.ipynb", as_version=4)
    os.environ["PYTHONPATH"] = str(ROOT)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    printed = str([cell.get("outputs") for cell in notebook.cells])
    assert "active neurons" in printed and "'stderr'" not in printed


@pytest.mark.slow
def test_the_tutorial_runs_as_it_stands(tmp_path):
    text = (DOCS / "start.md").read_text()
    named = re.findall(r"^`([\w/.]+)`\n\n```(?:python|yaml)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    for name, content in named:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    commands = "".join(re.findall(r"^```bash\n(.*?)^```", text, re.DOTALL | re.MULTILINE))
    lines = commands.replace("\\\n", " ").splitlines()
    assert (len(named), len(lines)) == (4, 11)
    for line in lines:
        give(line, tmp_path)
    runs = {path.parent.name for path in tmp_path.glob("runs/*/result.json")}
    assert runs == {"first", "strength", "shapes", "careless"}
    assert len(list(tmp_path.glob("runs/width/*/result.json"))) == 3
    assert list(tmp_path.glob("paper/sweep/*.pdf")) and list(tmp_path.glob("paper/*.tex"))


def give(line, folder):
    """Return one command in a folder, by this Python and the noisereg of this checkout."""
    words = shlex.split(line)
    while re.match(r"[A-Z_]+=", words[0]):
        words.pop(0)  # PYTHONPATH=., which the environment has
    python = [sys.executable] if words[0] == "python" else [sys.executable, "-m", "noisereg.cli"]
    command = [*python, *words[1:]]
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, line + done.stdout + done.stderr


def environment(*folders):
    """The variables of this process, with the checkout and more folders where Python looks for modules."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, [*folders, ROOT]))}
