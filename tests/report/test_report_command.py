"""Tests of `python -m noisereg.report`."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image
from report.report_material import write_material

import noisereg
from noisereg.report.__main__ import main


def test_the_command_writes_page_table_and_figures(tmp_path, capsys):
    folder = write_material(tmp_path)
    assert main([str(folder)]) == 0
    said = capsys.readouterr().out
    assert "report.html" in said
    assert "Figure 1" in said
    assert "failed: " in said
    assert (folder / "report.html").stat().st_size < 5e6
    assert pd.read_csv(folder / "claims.csv")["claim"].tolist() == ["F1a", "F1b", "F1c", "T2"]
    assert set(pd.read_csv(folder / "results.csv")["p"]) == {0.0, 0.1, 0.2}
    assert sorted(path.name for path in (folder / "figures").iterdir()) == ["F1.png", "sweep.png"]
    with Image.open(folder / "figures" / "F1.png") as image:
        assert image.width > 1000


def test_the_report_goes_where_it_is_asked_to(tmp_path, capsys):
    folder = write_material(tmp_path / "runs")
    assert main([str(folder / "experiment"), str(folder / "failed"), "--out", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "report.html").exists()
    assert not (folder / "experiment" / "report.html").exists()


@pytest.mark.parametrize(("made", "message"), [(False, "is no folder"), (True, "no run in")])
def test_bad_input_ends_in_one_line_and_exit_code_2(tmp_path, capsys, made, message):
    folder = tmp_path / "runs"
    if made:
        folder.mkdir()
    assert main([str(folder)]) == 2
    complaint = capsys.readouterr().err
    assert complaint.startswith("error: ")
    assert message in complaint
    assert complaint.count("\n") == 1


def test_it_is_a_module_that_can_be_run():
    script = [sys.executable, "-m", "noisereg.report", "--help"]
    done = subprocess.run(script, cwd=Path(noisereg.__file__).parents[1], capture_output=True, text=True, check=True)
    assert "--out" in done.stdout
