import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from wandb_server import wandb_server

from noisereg.dashboard import SECTIONS
from noisereg.dashboard.__main__ import main

ROOT = Path(__file__).parents[2]


def run(*arguments, cwd, **environment):
    """`python -m noisereg.dashboard` in a process of its own, without a key."""
    known = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    return subprocess.run(
        [sys.executable, "-m", "noisereg.dashboard", *arguments],
        env={**known, "NETRC": str(cwd / "no_keys"), "PYTHONPATH": str(ROOT), **environment},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_by_default_it_shows_every_panel_and_loads_no_library_of_wandb(capsys, monkeypatch):
    for library in ("wandb", "wandb_workspaces", "torch"):
        monkeypatch.setitem(sys.modules, library, None)
    assert main(["--project", "mine"]) == 0
    text = capsys.readouterr().out
    for section in SECTIONS:
        assert section.title in text
        assert all(name in text for panel in section.panels for name in panel.y)
    assert "mine" in text


def test_save_puts_the_workspace_on_wandb_and_prints_its_url(tmp_path):
    with wandb_server() as server:
        done = run("--save", "--project", "mine", "--group", "rates", cwd=tmp_path, **server.environment)
    assert done.returncode == 0, done.stderr
    (view,) = server.views
    assert (view["entityName"], view["projectName"], view["displayName"]) == ("me", "mine", "noisereg: rates")
    sections = json.loads(view["spec"])["section"]["panelBankConfig"]["sections"]
    assert [section["name"] for section in sections] == [section.title for section in SECTIONS]
    assert done.stdout.startswith(f"{server.environment['WANDB_BASE_URL']}/me/mine?nw=")


def test_save_without_a_key_ends_in_one_line(tmp_path):
    done = run("--save", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == "error: --save needs a key of W&B, and there is none: run wandb login\n"


def test_save_says_what_wandb_objects_to(tmp_path):
    done = run("--save", cwd=tmp_path, WANDB_API_KEY="short")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: --save: W&B does not take the workspace: ")


def test_without_the_extra_it_says_how_to_get_it(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
    assert main(["--save", "--entity", "me"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and line.endswith("pip install 'noisereg[dashboard]'")


def test_an_unknown_option_ends_in_exit_code_2(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["--save-it"])
    assert "unrecognized arguments" in capsys.readouterr().err
