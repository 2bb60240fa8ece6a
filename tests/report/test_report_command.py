"""Tests of `python -m noisereg.report`."""

import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image
from report.report_material import write_material
from runs.run_folders import write_run

import noisereg
from noisereg.report import __main__ as report_command
from noisereg.report.__main__ import main
from noisereg.report.figures.chart_process import DrawingError
from noisereg.report.page.html import DrawnFigure


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


def test_only_the_first_groups_without_claims_are_drawn_and_the_others_say_so(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(report_command, "_MOST_FIGURES", 1)
    for number in range(3):
        rows = [{"p": p, "seed": 0, "test/error": 0.25} for p in (0.0, 0.2)]
        write_run(tmp_path / str(number), config={"new": number}, replicas=rows)
    assert main([str(tmp_path)]) == 0
    assert [path.name for path in (tmp_path / "figures").iterdir()] == ["sweep.png"]
    assert (tmp_path / "report.html").read_text().count("No figure: these are drawn of the first") == 2
    assert capsys.readouterr().out.count("25.00") == 2 * 3


def test_no_number_is_cut_where_a_table_is_wider_than_the_terminal(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    names = ("test/error", "train/error", "test/active_neurons", "noise/measured_rate")
    write_run(tmp_path, replicas=[{"p": 0.1, "seed": seed, **dict.fromkeys(names, 0.1 + seed)} for seed in (0, 1)])
    assert main([str(tmp_path)]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "±" in line and "mean" not in line]
    assert line.split() == ["0.1", "2", *["60.00±635.31"] * 2, "0.6±6.4", "60.00±635.31"]


def test_a_figure_that_the_chart_library_dies_of_is_a_line(tmp_path, capsys, monkeypatch):
    def die(self):
        raise DrawingError("the chart library ended its process (signal 6)")

    monkeypatch.setattr(DrawnFigure, "image", die)
    write_run(tmp_path, replicas=[{"p": p, "seed": 0, "test/error": 0.25} for p in (0.0, 0.2)])
    assert main([str(tmp_path)]) == 0
    line = f"no {tmp_path / 'figures' / 'sweep.png'}: the chart library ended its process (signal 6)"
    assert line in capsys.readouterr().out
    assert line in (tmp_path / "report.html").read_text()


def test_the_title_speaks_of_claims_where_there_are_some_alone(tmp_path):
    rows = [{"p": 0.0, "seed": seed, "test/error": 0.25} for seed in range(3)]
    write_run(tmp_path / "own", replicas=rows)
    claims = {"experiment": {"id": "F1", "claims": [{"id": "F1a", "metric": "test/error", "below": 0.5}]}}
    write_run(tmp_path / "paper", replicas=rows, **claims)
    for names, title in ((("own",), "Label noise: the results of runs"), (("own", "paper"), "the paper's claims")):
        assert main([*(str(tmp_path / name) for name in names), "--out", str(tmp_path / "out")]) == 0
        assert title in (tmp_path / "out" / "report.html").read_text().replace("&#39;", "'")


@pytest.mark.slow
@pytest.mark.parametrize("groups", [1, 4])
def test_the_time_of_a_report_is_linear_in_the_number_of_runs(tmp_path, capsys, groups):
    """4 times the runs take 4 times the time, and not 16 times."""
    curves = "step,epoch,p,seed,test/error\n" + "".join(f"{10 * n},{n},0.2,0,0.{n}\n" for n in range(9))
    took = []
    for number in (100, 400):
        folder = tmp_path / str(number)
        for place in range(number):
            row = {"p": 0.2, "seed": place, **{f"norm/layer{layer}": float(layer) for layer in range(40)}}
            new = place % (number // 100 * groups if groups > 1 else 1)
            write_run(folder / str(place), config={"seed": place, "new": new}, replicas=[row], curves=curves)
        main([str(folder)])  # once before it is timed: the libraries are loaded
        began = time.process_time()
        main([str(folder)])
        took.append(time.process_time() - began)
    assert took[1] < 7 * took[0]
