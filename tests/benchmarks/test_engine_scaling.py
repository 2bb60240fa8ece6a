import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks import engine_scaling

ROOT = Path(__file__).parents[2]


def point(replicas, *, hidden=240, seconds=1e-6, megabytes=500.0):
    """What is measured at a point."""
    sizes = {"replicas": replicas, "seeds": 20, "hidden": hidden}
    return {**sizes, "seconds": seconds, "megabytes_before": 400.0, "megabytes": megabytes}


def printed(found):
    """The lines of the table on a narrow terminal, cell by cell."""
    console = Console(width=80, file=io.StringIO())
    console.print(engine_scaling.table(found))
    return [line.split() for line in console.file.getvalue().splitlines()[2:]]


@pytest.mark.slow
def test_the_program_trains_each_point_in_a_process_of_its_own(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    path = tmp_path / "numbers.json"
    engine_scaling.main(["--points", "2", "--epochs", "1", "--json", str(path)])
    found = json.loads(path.read_text())["points"]
    assert [(row["replicas"], row["seeds"], row["hidden"]) for row in found] == [(1, 1, 240), (10, 10, 240)]
    assert all(0 < row["megabytes_before"] <= row["megabytes"] and row["seconds"] > 0 for row in found)
    cells = [line.split()[:3] for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert ["1", "1", "240"] in cells and ["10", "10", "240"] in cells


def test_the_time_of_more_replicas_is_set_beside_that_of_20():
    lines = printed(
        [point(1, seconds=5e-6), point(20, seconds=2e-6), point(500, seconds=2.1e-6), point(2_000, seconds=3e-6)]
    )
    assert lines[0][3:5] == ["5.00", "400"]
    assert lines[1][3:6] == ["2.00", "1.00", "400"]
    assert lines[2][3:8] == ["2.10", "1.05", "<=", "1.1", "met"]
    assert lines[3][3:8] == ["3.00", "1.50", "<=", "1.1", "missed"]


def test_the_memory_of_the_largest_training_has_a_goal():
    lines = printed([point(20), point(2_000, megabytes=1_399.0), point(2_000, megabytes=1_600.0)])
    assert lines[0][-2:] == ["400", "500"]
    assert lines[1][-5:] == ["400", "1,399", "<=", "1000", "met"]
    assert lines[2][-5:] == ["400", "1,600", "<=", "1000", "missed"]


def test_another_width_is_not_set_beside_that_of_the_paper():
    (_, wide) = printed([point(100), point(20, hidden=4_096, seconds=123e-6)])
    assert wide == ["20", "20", "4,096", "123.00", "400", "500"]


@pytest.mark.parametrize("option", ["--points", "--epochs"])
def test_a_number_below_one_is_refused(option, capsys):
    with pytest.raises(SystemExit):
        engine_scaling.main([option, "0"])
    assert "must be at least 1" in capsys.readouterr().err
