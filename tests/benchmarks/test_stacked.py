import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import stacked

ROOT = Path(__file__).parents[2]
QUICK = ["--rounds", "1", "--share", "0.002", "--threads", "1", "--shapes"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """What the program prints and writes in a very short run of all its rows but the compiled ones."""
    path = tmp_path_factory.mktemp("stacked") / "numbers.json"
    command = [sys.executable, ROOT / "benchmarks" / "stacked.py", *QUICK, "--json", path]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "80"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads(path.read_text())


@pytest.mark.slow
def test_the_program_prints_every_row_and_the_machine(run):
    text, _ = run
    starts = [line.split("  ")[0] for line in text.splitlines()]
    rows = ["plain loop", "20: eager", "100: eager"]
    rows += [f"{name}: {row}" for name, (_, counts) in stacked.SHAPES.items() for row in ("plain", *counts)]
    assert [start for start in starts if start in rows] == rows
    assert "torch" in text and "1 rounds of 0.2 % of the usual size, 1 threads" in text


@pytest.mark.slow
def test_each_row_is_compared_with_the_plain_loop_of_the_same_network(run):
    _, record = run
    peers = {row["row"]: row["peer"] for row in record["rows"] if "peer" in row}
    assert peers["20: eager"] == "plain loop" and peers["ResNet-20, 128: 2"] == "ResNet-20, 128: plain"


def test_compiled_rows_are_compared_with_jax_where_it_is_installed():
    how = {"compile": True, "shapes": False, "share": 0.001}
    rows = stacked.rows_of([2], jax=False, **how)
    assert list(rows) == ["plain loop", "2: eager", "2: compiled"]
    assert (rows["2: compiled"].peer, rows["2: compiled"].goal) == ("plain loop", None)


def test_jax_takes_the_same_steps():
    jax = pytest.importorskip("jax")
    assert jax and stacked.jax_row(stacked.SMALL, 2, steps=2)() > 0


def test_the_rows_train_the_network_that_they_name():
    network = stacked.SMALL.build(0)
    assert [tuple(weight.shape) for weight in network.parameters()] == [(240, 60), (240,), (2, 240), (2,)]
    for shape, _ in stacked.SHAPES.values():
        inputs, labels = stacked.draw(shape, (2,))
        assert shape.build(0)(inputs).shape == (2, 10) and labels.dtype == torch.int64


def test_the_legend_fits_a_narrow_terminal():
    assert max(map(len, stacked.LEGEND.splitlines())) <= 80


@pytest.mark.parametrize("options", [["--rounds", "0"], ["--share", "0"], ["--replicas", "0"], ["--threads", "0"]])
def test_a_number_out_of_range_is_refused(options, capsys):
    with pytest.raises(SystemExit):
        stacked.main(options)
    assert f"{options[0]}: it must be" in capsys.readouterr().err
