"""What the README shows is run: each command on few seeds, samples and epochs, each script as it stands."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from PIL import Image
from run_program import run_program

from noisereg.config.command_line import check_command_line
from noisereg.config.composing import conf_dir

ROOT = Path(__file__).parents[1]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)


def lines() -> list[str]:
    """The lines of all bash blocks, without what a comment says, those that end in a backslash joined to the next."""
    joined = "\n".join(blocks("bash")).replace("\\\n", " ")
    return [line for line in (re.sub(r"(^|\s)#.*", "", line).strip() for line in joined.splitlines()) if line]


def commands() -> list[str]:
    parts = (part.strip() for line in lines() for part in line.split("&&"))
    return list(dict.fromkeys(part for part in parts if part.startswith("python train.py")))


def test_the_first_two_lines_run_the_program_and_its_tests():
    assert lines()[:2] == ["pip install -e . && python train.py", "pip install -e '.[test]' && pytest"]


@pytest.mark.slow
@pytest.mark.parametrize("command", [command for command in commands() if "glob(" in command])
def test_a_command_for_hours_passes_the_checks(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check_command_line(shlex.split(command)[2:])


def marked(command: str) -> Any:
    """The command, marked where another test of the default suite does much the same: some take half a minute."""
    is_slow = re.search("fig4_bias|-m model=|smoothing", command)
    return pytest.param(command, marks=[pytest.mark.slow] if is_slow else [])


@pytest.mark.parametrize("command", [marked(command) for command in commands() if "glob(" not in command])
def test_a_command_does_what_it_says(command, images, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = shlex.split(command)[2:]
    check_command_line(words)
    few = [re.sub(r"^seeds=\d+$", "seeds=2", word) for word in words]
    done = run_program(*few, *cut_short(words, images), cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    statuses = [json.loads(path.read_text())["status"] for path in tmp_path.rglob("result.json")]
    only_shows = {"--help", "--cfg", "--info"} & set(words)
    assert set(statuses) == (set() if only_shows else {"finished"})


@pytest.mark.parametrize("script", blocks("python"))
def test_a_script_runs(script, tmp_path):
    (tmp_path / "script.py").write_text(script)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "script.py"], cwd=tmp_path, env=environment, check=True, timeout=300)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A folder of images of ten classes, in the place of data that would have to be downloaded."""
    root = tmp_path_factory.mktemp("images")
    pixels = np.random.default_rng(0).integers(0, 256, (2, 10, 32, 32, 3), dtype=np.uint8)
    for split, classes in zip(("train", "test"), pixels, strict=True):
        for label, image in enumerate(classes):
            folder = root / split / str(label)
            folder.mkdir(parents=True)
            Image.fromarray(image).save(folder / "0.png")
    return root


def cut_short(words: list[str], images: Path) -> list[str]:
    """Make the overrides that leave a command one epoch of few samples, and images that are there."""
    groups = [word.split(",")[0] for word in words if (conf_dir() / word.partition("=")[0]).is_dir()]
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        dataset = compose("train", overrides=groups).dataset
    overrides = ["trainer.max_epochs=1", "trainer.accelerator=cpu"]
    overrides += [f"dataset.{key}=8" for key in ("train_size", "test_size") if key in dataset]
    if "root" in dataset:
        target = "noisereg.datasets.ImageFolder"
        overrides += [f"dataset._target_={target}", f"dataset.root={images}", "++dataset.image_size=32"]
    return overrides
