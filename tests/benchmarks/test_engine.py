import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import engine

ROOT = Path(__file__).parents[2]
QUICK = ["--rounds", "1", "--share", "0.002", "--train-size", "300"]
WORKS = {name: ["sparing", "figure 1", "alone"] for name in ("1 replica", "20 replicas")}
WORKS |= {name: ["sparing", "alone"] for name in ("220 replicas", "2 threads")}
WORKS |= {work: ["alone"] for work in ("momentum", "batch 16")}
WORKS |= {f"blocked, {replicas}": ["alone"] for replicas in (1, 20, 220)}
WORKS |= {"MNIST, 1": ["one epoch", "alone"], "MNIST, 3": ["alone"]}
FEW = ["1 replica", "220 replicas", "2 threads"]


@pytest.fixture(scope="module", params=[FEW, pytest.param(list(WORKS), marks=pytest.mark.slow)], ids=["few", "all"])
def run(request, tmp_path_factory):
    """What the program prints and writes in a very short run, and the works that it is asked for."""
    path = tmp_path_factory.mktemp("engine") / "numbers.json"
    rows = [] if len(request.param) == len(WORKS) else ["--rows", *request.param]
    command = [sys.executable, ROOT / "benchmarks" / "engine.py", *QUICK, *rows, "--json", path]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "80"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads(path.read_text()), request.param


def test_the_program_prints_every_row_and_the_machine(run):
    text, _, works = run
    starts = [line.split("  ")[0] for line in text.splitlines()]
    all_rows = {f"{work}: {part}": work for work, parts in WORKS.items() for part in parts}
    assert [start for start in starts if start in all_rows] == [row for row in all_rows if all_rows[row] in works]
    loops = {"hypercube": "1 replica", "MNIST": "MNIST, 1", "momentum": "momentum", "batch 16": "batch 16"}
    found = {name for name in loops if {f"{name}, plain loop", f"{name}: plain loop"} & set(starts)}
    assert found == {name for name in loops if loops[name] in works}
    assert "torch" in text and "numba" in text and "first call: hypercube" in text


def test_the_ratios_it_writes_are_the_quotients_of_its_own_numbers(run):
    _, record, _ = run
    seconds = {row["row"]: row["seconds"] for row in record["rows"]}
    compared = [row for row in record["rows"] if "ratio" in row]
    peers = {name for name in seconds if name.endswith(("plain loop", ": JAX"))}
    assert {row["row"] for row in compared} == seconds.keys() - peers
    for row in compared:
        assert row["ratio"] == [pytest.approx(seconds[row["peer"]][0] / row["seconds"][0])]


def test_two_threads_are_compared_with_one_and_all_else_with_the_plain_loop(run):
    _, record, works = run
    peers = {row["row"]: row["peer"] for row in record["rows"] if "peer" in row}
    assert peers["2 threads: alone"] == "220 replicas: alone"
    assert peers["1 replica: sparing"] == "hypercube, plain loop"
    if works != FEW:
        assert peers["MNIST, 3: alone"] == "MNIST, plain loop"
        assert peers["momentum: alone"] == "momentum: plain loop"
        assert peers["batch 16: alone"] == "batch 16: plain loop"
        assert peers["blocked, 20: alone"] == "hypercube, plain loop"


def test_the_legend_fits_a_narrow_terminal():
    assert max(map(len, engine.LEGEND.splitlines())) <= 80


@pytest.mark.parametrize("options", [["--rounds", "0"], ["--share", "0"], ["--share", "1.5"]])
def test_a_number_out_of_range_is_refused(options, capsys):
    with pytest.raises(SystemExit):
        engine.main(options)
    assert f"{options[0]}: it must be" in capsys.readouterr().err


def test_an_unknown_row_is_refused(capsys):
    with pytest.raises(SystemExit):
        engine.main(["--rows", "30 replicas"])
    assert "invalid choice: '30 replicas'" in capsys.readouterr().err
