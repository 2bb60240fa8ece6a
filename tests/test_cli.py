import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import noisereg
from noisereg.cli import main
from noisereg.training.doctor import examine

CODE = "import sys; from noisereg.cli import main; code = main(); print(*sorted(sys.modules)); sys.exit(code)"


def call(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["noisereg", *arguments])
    return main()


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",)])
def test_help_names_every_command(arguments, monkeypatch, capsys):
    assert call(monkeypatch, *arguments) == 0
    named = re.findall(r"^  (\w+) ", capsys.readouterr().out, re.MULTILINE)
    assert named == ["train", "report", "export", "plot", "labels", "prune", "dashboard", "doctor"]


def test_help_loads_no_library():
    done = subprocess.run([sys.executable, "-c", CODE, "--help"], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "noisereg.cli" in loaded
    assert not loaded & {"torch", "lightning", "hydra", "omegaconf", "numpy", "rich", "pandas", "wandb"}


def test_a_command_that_does_not_exist_is_refused(monkeypatch, capsys):
    assert call(monkeypatch, "trian") == 2
    assert "noisereg trian: there is no such command (known: train, report" in capsys.readouterr().err


def test_the_version_is_that_of_the_package(monkeypatch, capsys):
    assert call(monkeypatch, "--version") == 0
    assert capsys.readouterr().out == f"noisereg {noisereg.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "code", "printed"),
    [
        (["train", "noise.p=2", "logger=csv"], 2, "noise.p must be"),
        (["report", "nowhere"], 2, "nowhere is no folder"),
        (["dashboard"], 0, "the workspace of noisereg on W&B"),
    ],
)
def test_a_command_gets_the_arguments_after_it(arguments, code, printed, tmp_path):
    environment = os.environ | {"PYTHONPATH": str(Path(noisereg.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-m", "noisereg.cli", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=environment,
    )
    assert done.returncode == code
    assert printed in done.stdout + done.stderr
    assert not list(tmp_path.iterdir())


def test_further_processes_of_a_training_are_started_by_its_script(tmp_path, monkeypatch):
    scripts = [tmp_path / "bin" / name for name in ("noisereg", "noisereg-train")]
    scripts[0].parent.mkdir()
    for script in scripts:
        script.touch()
    link = tmp_path / "noisereg"  # as pipx makes them
    link.symlink_to(scripts[0])
    started = []
    monkeypatch.setattr("noisereg.__main__.main", lambda: started.append(list(sys.argv)))
    monkeypatch.setattr(sys, "argv", [str(link), "train", "trainer=ddp"])
    assert main() == 0
    assert started == [[str(scripts[1]), "trainer=ddp"]]  # Lightning starts each process with these


def test_the_doctor_names_what_a_run_would_find(tmp_path, monkeypatch):
    (tmp_path / "MNIST" / "raw").mkdir(parents=True)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef" * 2)
    found = dict(examine(tmp_path))
    assert found["noisereg"] == noisereg.__version__
    assert "torch " in found["packages"]
    assert found["W&B"] == "disabled"
    assert found["data"] == f"MNIST: {tmp_path / 'MNIST/raw'}"
    assert "0123456789abcdef" not in str(found)
    assert dict(examine(tmp_path / "none"))["data"].startswith("none in")
