"""Every job of every sweep passes the checks of the command line, as the W&B agent would write it."""

import re
from itertools import product
from pathlib import Path

import pytest
import yaml
from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

from noisereg.command_line import check_command_line
from noisereg.config import ConfigError

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "sweeps").glob("*.yaml"))


def jobs(path):
    """The words behind `train.py` of every job of a grid."""
    sweep = yaml.safe_load(path.read_text())
    values = [part.get("values", [part.get("value")]) for part in sweep["parameters"].values()]
    for chosen in product(*values):
        given = {name: {"value": value} for name, value in zip(sweep["parameters"], chosen, strict=True)}
        words = create_sweep_command_args({"args": given})
        command = create_sweep_command(list(sweep["command"]))
        assert command[:3] == ["${env}", "${interpreter}", "${program}"]
        yield [word for part in command[3:] for word in words[re.fullmatch(r"\$\{(\w+)\}", part)[1]]]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_job_of_a_sweep_passes_the_checks(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for words in jobs(path):
        check_command_line(words)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_sweep_runs_our_program_over_a_grid(path):
    sweep = yaml.safe_load(path.read_text())
    assert sweep["method"] == "grid"
    assert (ROOT / sweep["program"]).is_file()


def test_the_sweep_over_p_has_a_job_for_each_p():
    found = [word for words in jobs(FILES[0]) for word in words if word.startswith(("noise.p=", "seed"))]
    steps = ("0", "0.05", "0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7", "0.8", "0.9")
    assert found == [f"noise.p={p}" for p in steps]


def test_a_job_with_a_wrong_value_is_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = FILES[0].read_text().replace("values: [0, 0.05", "values: [1.9, 0.05")
    (tmp_path / "wrong.yaml").write_text(text)
    first = next(jobs(tmp_path / "wrong.yaml"))
    with pytest.raises(
        ConfigError, match=r"noise.p must be a number in \[0, 1\], or a list of different ones, got 1.9"
    ):
        check_command_line(first)


def test_the_table_of_sweeps_names_each_of_them():
    table = (ROOT / "sweeps" / "README.md").read_text()
    assert all(f"[{path.name}]({path.name})" in table for path in FILES)
