"""What the documents show is run: files in a copy of the project, scripts as they stand, commands checked."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from noisereg import parsers
from noisereg.cli import COMMANDS
from noisereg.config.command_line import check_command_line
from noisereg.config.composing import conf_dir

ROOT = Path(__file__).parents[1]
DOCS = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "sweeps" / "README.md"]
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))
EXTEND = ROOT / "docs" / "extend.md"
SEVERAL = """
import shlex
import sys
from pathlib import Path

from run_program import run_program

TINY = ["trainer.max_epochs=1", "dataset.train_size=20", "dataset.test_size=20", "logger=none"]
if __name__ == "__main__":
    for number, line in enumerate(sys.argv[1:]):
        done = run_program(*shlex.split(line), *TINY, f"hydra.run.dir=runs/{number}", cwd=Path.cwd())
        assert done.returncode == 0, line + done.stdout + done.stderr
        print(done.stdout)
"""


def blocks(path, language):
    """The blocks of one language, each with the file name in the line above it, or none."""
    found = re.findall(rf"^(?:`(\S+)`\n\n)?```{language}\n(.*?)^```", path.read_text(), re.DOTALL | re.MULTILINE)
    return [(name, text) for name, text in found]


def commands(path):
    """The commands of the bash blocks, lines that end in a backslash joined to the next."""
    lines = "\n".join(text for _, text in blocks(path, "bash")).replace("\\\n", " ").splitlines()
    bare = (re.sub(r"(^|\s)#.*", "", line).strip() for line in lines)
    return [line for line in bare if line]


def run(*words, cwd, project=None):
    done = subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(project or cwd)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def extended(tmp_path_factory):
    """A copy of the project with the files of docs/extend.md in it, and their names."""
    copy = tmp_path_factory.mktemp("project")
    for folder in ("noisereg", "conf"):
        shutil.copytree(ROOT / folder, copy / folder)  # with what Python has compiled
    for name in ("train.py", "pyproject.toml", "tests/typechecker.py"):
        (copy / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, copy / name)
    files = {name: text for language in ("python", "yaml") for name, text in blocks(EXTEND, language) if name}
    for name, text in files.items():
        assert not (copy / name).exists()
        (copy / name).parent.mkdir(exist_ok=True, parents=True)
        (copy / name).write_text(text)
    return copy, list(files)


def test_every_added_part_has_a_module_a_file_in_conf_and_a_test(extended):
    _, names = extended
    rooms = {"noise": "noise", "losses": "loss", "models": "model", "datasets": "dataset"}
    for room, group in rooms.items():
        (module,) = (name for name in names if name.startswith(f"noisereg/{room}/"))
        stem = Path(module).stem
        assert {f"conf/{group}/{stem}.yaml", f"tests/{room}/test_{stem}.py"} <= set(names)
    assert len(names) == 3 * len(rooms)


@pytest.mark.slow
def test_the_added_parts_pass_their_own_tests_examples_and_lint(extended):
    copy, names = extended
    python = [name for name in names if name.endswith(".py")]
    output = run("-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "0", *python, cwd=copy)
    assert "9 passed" in output
    run("-m", "ruff", "check", "--no-cache", *python, cwd=copy)
    run("-m", "ruff", "format", "--check", "--no-cache", *python, cwd=copy)


def test_the_commands_with_an_added_part_train(extended, tmp_path):
    copy, _ = extended
    given = [line.split(maxsplit=2)[2] for line in commands(EXTEND) if line.startswith("python train.py")]
    (tmp_path / "several.py").write_text(SEVERAL)
    found = f"{copy}{os.pathsep}{ROOT / 'tests'}"
    assert run(tmp_path / "several.py", *given, cwd=copy, project=found).count("all numbers in") == len(given) == 4


@pytest.mark.parametrize(
    "script", [text for path in DOCS for name, text in blocks(path, "python") if not name], ids=lambda text: text[:0]
)
def test_a_script_runs(script, tmp_path):
    (tmp_path / "script.py").write_text(script)
    assert run("script.py", cwd=tmp_path, project=ROOT)


@pytest.mark.parametrize(
    "path",
    [  # the experiments of the results are run, each in its short form, by tests of their own
        pytest.param(path, marks=[pytest.mark.slow] if path.name == "results.md" else [], id=path.name)
        for path in DOCS
        if path != EXTEND
    ],
)
def test_every_command_passes_the_checks(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("noisereg.config.machine._is_installed", lambda name: True)  # extras that tests do without
    for line in commands(path):
        if "glob(" in line or "+sweeps=" in line or line in commands(ROOT / "README.md"):
            continue  # hundreds of jobs, or run by a test of its own
        words = [word for word in shlex.split(line) if not re.match(r"[A-Z_]+=", word)]  # without its variables
        starts = (["python", "train.py"], ["noisereg", "train"], ["noisereg-train"])
        begun = next((start for start in starts if words[: len(start)] == start), None)
        if begun is None:
            assert words[0] in ("python", "wandb", "noisereg"), line
            continue
        arguments = words[len(begun) :]
        if not any(argument.startswith(("resume=", "--config-dir")) for argument in arguments):  # of files not there
            check_command_line(arguments)


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_every_link_leads_somewhere(path):
    text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)
    headings = {
        re.sub(r"[^\w -]", "", line.lower()).replace(" ", "-") for line in re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    }
    for link in re.findall(r"\]\(([^)]+)\)", text):
        if link.startswith("#"):
            assert link[1:] in headings, link
        elif not link.startswith("https://"):
            assert (path.parent / link.partition("#")[0]).exists(), link


def sections():
    """The reference, by heading."""
    text = (ROOT / "docs" / "reference.md").read_text()
    parts = re.split(r"^## (.*)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize("name", ["security.md", "reliability.md", "clusters.md"])
def test_every_test_that_holds_a_promise_exists(name):
    text = (ROOT / "docs" / name).read_text()
    known = set(re.findall(r"^def (test_\w+)", "\n".join(path.read_text() for path in TESTS), re.MULTILINE))
    assert set(re.findall(r"`(test_\w+)`", text)) <= known
    assert [path for path in re.findall(r"`(tests/[\w/.]+)`", text) if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("group", sorted({str(p.parent.relative_to(conf_dir())) for p in conf_dir().rglob("*/*.yaml")}))
def test_the_reference_names_every_option_and_every_key_of_a_group(group):
    text = sections()[group]
    for path in (conf_dir() / group).glob("*.yaml"):
        assert f"`{path.stem}`" in text, path
        if group not in ("experiment", "recipe", "sweeps"):
            content = OmegaConf.to_container(OmegaConf.load(path))
            keys = content.get(group, content) if "@package _global_" in path.read_text() else content
            for key in keys:
                assert key in ("defaults", "_target_", "_partial_") or f"`{key}`" in text, f"{path}: {key}"


@pytest.mark.parametrize("command", COMMANDS)
def test_the_reference_names_every_command_and_its_options(command):
    rows = [line for line in sections()["Commands"].splitlines() if re.search(rf"^\|.*`{command}[` ].*?\|", line)]
    assert rows
    make_parser = getattr(parsers, f"{command}_parser", None)  # the options of train are Hydra's
    options = make_parser().format_help() if make_parser else "--cfg --config-dir --multirun"
    for option in {*re.findall(r"--[a-z-]+", options)} - {"--help", "--multirun"}:
        assert re.search(rf"`{option}\b", "".join(rows)), option
