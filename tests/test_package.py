"""What pip installs: the wheel, its command, and the libraries that it asks for."""

import ast
import json
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

import noisereg

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
TOOLS = {"build", "hatchling", "mypy", "pip", "pytest-xdist", "ruff", "noisereg"}  # run by tests, or extras of ours
COMES_WITH = {"pydantic-core": "pydantic"}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder of the sdist, and of the wheel that is built from it."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT)
    return folder


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory):
    """The bin of an environment that has the wheel, and the libraries of this one but not its noisereg."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    (wheel,) = built.glob("*.whl")
    run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel)
    (packages,) = folder.glob("lib/python*/site-packages")
    # A folder that a .pth file names is searched; its own .pth files, such as an editable noisereg's, are not read.
    (packages / "libraries.pth").write_text(sysconfig.get_path("purelib"))
    return folder / "bin"


def test_the_wheel_holds_the_package_and_the_configuration_and_nothing_else(built):
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        found = {name for name in archive.namelist() if ".dist-info/" not in name}
    sources = {str(path.relative_to(ROOT)) for path in (ROOT / "noisereg").rglob("*.py")}
    sources |= {str(path.relative_to(ROOT)) for path in (ROOT / "noisereg/report/page/template").iterdir()}
    options = {f"noisereg/{path.relative_to(ROOT)}" for path in (ROOT / "conf").rglob("*.yaml")}
    sweeps = {f"noisereg/conf/{path.relative_to(ROOT)}" for path in (ROOT / "sweeps").rglob("*.*")}
    assert "noisereg/conf/train.yaml" in options
    assert found == sources | options | sweeps | {"noisereg/py.typed"}


def test_the_wheel_says_its_version_and_licence(built):
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        info = f"noisereg-{noisereg.__version__}.dist-info"
        metadata = archive.read(f"{info}/METADATA").decode()
        assert archive.read(f"{info}/licenses/LICENSE").decode() == (ROOT / "LICENSE").read_text()
    assert f"\nVersion: {noisereg.__version__}\n" in metadata
    assert "\nLicense-Expression: MIT\n" in metadata


def test_the_sdist_holds_the_tests_and_what_they_read(built):
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        found = {name.partition("/")[2] for name in archive.getnames()}
    folders = [ROOT / name for name in ("noisereg", "conf", "sweeps", "benchmarks", "docs", "tests")]
    files = [path for folder in folders for kind in ("py", "yaml", "md") for path in folder.rglob(f"*.{kind}")]
    needed = {str(path.relative_to(ROOT)) for path in [*files, ROOT / "train.py", *ROOT.glob("*.md")]}
    assert needed - found == set()


def test_the_installed_command_trains_from_any_folder(installed, tmp_path):
    tiny = ["trainer.max_epochs=1", "dataset.train_size=8", "dataset.test_size=50", "logger=csv"]
    run(installed / "noisereg", "train", *tiny, "hydra.run.dir=here", cwd=tmp_path)
    result = json.loads((tmp_path / "here" / "result.json").read_text())
    assert result["status"] == "finished"
    assert result["steps"] == 8
    assert result["environment"]["packages"]["noisereg"] == noisereg.__version__


def test_the_installed_command_knows_the_sweeps(installed, tmp_path):
    shown = run(installed / "noisereg-train", "--help", cwd=tmp_path)
    (line,) = (line for line in shown.splitlines() if line.startswith("sweeps: "))
    assert line == "sweeps: " + ", ".join(sorted(path.stem for path in (ROOT / "sweeps").glob("*.yaml")))


def test_the_installed_command_reads_nothing_of_the_checkout(installed, tmp_path):
    script = "import noisereg.config.composing as config; print(config.__file__, config.conf_dir())"
    module, conf = run(installed / "python", "-c", script, cwd=tmp_path).split()
    (package,) = installed.parent.glob("lib/python*/site-packages/noisereg")
    assert Path(module) == package / "config" / "composing.py"
    assert Path(conf) == package / "conf"


@pytest.mark.parametrize("name", noisereg.__all__)
def test_a_public_name_can_be_imported(name):
    assert getattr(noisereg, name).__name__ == name


def test_an_unknown_name_of_the_package_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'noisereg' has no attribute 'Clasifier'"):
        noisereg.Clasifier  # noqa: B018


def test_the_package_asks_for_the_libraries_it_imports_and_no_others():
    extras = PROJECT["optional-dependencies"]
    loggers = names([*extras["mlflow"], *extras["trackio"]])  # imported where they are asked for, and maybe not there
    assert libraries_of(ROOT / "noisereg") - loggers == names([*PROJECT["dependencies"], *extras["dashboard"]])


def test_the_test_extra_asks_for_what_the_tests_use_and_no_more():
    extras = PROJECT["optional-dependencies"]
    others = names([*PROJECT["dependencies"], *extras["docs"]])  # a test of the site is skipped without its extra
    assert libraries_of(ROOT / "tests") - others | TOOLS == names(extras["test"])


def names(requirements: list[str]) -> set[str]:
    return {re.match(r"[\w-]+", requirement)[0] for requirement in requirements}


def libraries_of(folder: Path) -> set[str]:
    """Name the distributions whose modules are imported in a folder."""
    distributions = packages_distributions()
    imported = {name.partition(".")[0] for file in folder.rglob("*.py") for name in imports(file)}
    foreign = {name for name in imported - sys.stdlib_module_names - {"noisereg"} if name in distributions}
    found = {distributions[name][0].lower() for name in foreign}
    return {COMES_WITH.get(name.replace("_", "-"), name.replace("_", "-")) for name in found}


def imports(file: Path) -> list[str]:
    nodes = list(ast.walk(ast.parse(file.read_text())))
    plain = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    return plain + [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module]


def clean() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def run(*command: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, env=clean(), capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
