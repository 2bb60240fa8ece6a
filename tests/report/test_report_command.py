"""Tests of `python -m noisereg.report`."""

import resource
import subprocess
import sys
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image
from report.report_material import write_material
from run_program import ROOT
from runs.run_folders import write_run

import noisereg
from noisereg.report import __main__ as report_command
from noisereg.report.__main__ import main
from noisereg.report.figures.chart_process import DrawingError
from noisereg.report.groups import comparison
from noisereg.report.groups.run_group import RunGroup
from noisereg.report.page import comparison_table, html
from noisereg.runs.reading import Run
from noisereg.statistics import paired_differences

MEASURED = """
import sys
from pathlib import Path
from noisereg.report.__main__ import main

assert main(sys.argv[1:]) == 0
lines = Path("/proc/self/status").read_text().splitlines()  # ru_maxrss is that of the parent, if it was larger
print(next(line.split()[1] for line in lines if line.startswith("VmHWM:")), file=sys.stderr)
"""


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
    assert sorted(path.name for path in (folder / "figures").iterdir()) == [
        *("F1.png", "F1.svg", "sweep.png", "sweep.svg")
    ]
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
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == ["sweep.png", "sweep.svg"]
    assert (tmp_path / "report.html").read_text().count("No figure: these are drawn of the first") == 2
    assert capsys.readouterr().out.count("25.00") == 2 * 3


def test_no_number_is_cut_where_a_table_is_wider_than_the_terminal(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    names = ("test/error", "train/error", "test/active_neurons", "noise/measured_rate")
    write_run(tmp_path, replicas=[{"p": 0.1, "seed": seed, **dict.fromkeys(names, 0.1 + seed)} for seed in (0, 1)])
    assert main([str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    at = next(at for at, line in enumerate(lines) if "60.00" in line)
    assert lines[at].split() == ["0.1", "2", "60.00", "60.00", "0.6", "60.00"]
    assert lines[at + 1].split() == [*["[0,", "100]"] * 2, "[0,", "7.0]", *["[0,", "100]"]]


def test_a_figure_that_the_chart_library_dies_of_is_a_line(tmp_path, capsys, monkeypatch):
    def die(specification):
        raise DrawingError("the chart library ended its process (signal 6)")

    monkeypatch.setattr(report_command, "images_of", die)
    write_run(tmp_path, replicas=[{"p": p, "seed": 0, "test/error": 0.25} for p in (0.0, 0.2)])
    assert main([str(tmp_path)]) == 0
    line = f"no {tmp_path / 'figures' / 'sweep'}.png and .svg: the chart library ended its process (signal 6)"
    assert line in capsys.readouterr().out
    assert line in (tmp_path / "report.html").read_text()


def test_replicas_that_two_runs_hold_are_a_line(tmp_path, capsys):
    for name in ("a", "b"):
        write_run(tmp_path / name, replicas=[{"p": 0.2, "seed": 0, "test/error": 0.2, "ended_by": "Mine"}])
    assert main([str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "TwoLayer on Hypercube under Resample: replicas that two runs hold: 1; the later folder's count\n" in printed
    assert printed.count("1 of 1 replicas ended early, by Mine") == 1


def test_the_title_speaks_of_claims_where_there_are_some_alone(tmp_path):
    rows = [{"p": 0.0, "seed": seed, "test/error": 0.25} for seed in range(3)]
    write_run(tmp_path / "own", replicas=rows)
    claims = {"experiment": {"id": "F1", "claims": [{"id": "F1a", "metric": "test/error", "below": 0.5}]}}
    write_run(tmp_path / "paper", replicas=rows, **claims)
    for names, title in ((("own",), "Label noise: the results of runs"), (("own", "paper"), "the paper's claims")):
        assert main([*(str(tmp_path / name) for name in names), "--out", str(tmp_path / "out")]) == 0
        assert title in (tmp_path / "out" / "report.html").read_text().replace("&#39;", "'")


def test_the_page_has_a_section_for_the_first_groups_and_says_where_the_others_are(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(html, "_MOST_SECTIONS", 2)
    for number in range(5):
        write_run(tmp_path / str(number), config={"new": number}, replicas=[{"p": 0.2, "seed": 0, "test/error": 0.25}])
    assert main([str(tmp_path)]) == 0
    page = (tmp_path / "report.html").read_text()
    assert page.count("<section id=") == 2 + 1  # and the groups side by side
    assert "<li>3 more groups of runs: results.csv has their numbers" in page
    assert "5 experiments and sweeps, 5 finished runs" in page
    assert set(pd.read_csv(tmp_path / "results.csv")["title"].str.count("new = ")) == {1}


ROW = {"p": 0.2, "seed": 0, "test/error": 0.25}


def write_many(folder, number, *, groups, layers=2, evaluations=2):
    """Write so many runs in so many groups."""
    curves = "step,epoch,p,seed,test/error\n" + "".join(f"{10 * n},{n},0.2,0,0.{n}\n" for n in range(evaluations))
    for place in range(number):
        row = {"p": 0.2, "seed": place // groups, "test/error": place / number}
        row |= {f"norm/layer{layer}": float(layer) for layer in range(layers)}
        config = {"seed": place // groups, "new": place % groups}
        write_run(folder / str(place), config=config, replicas=[row], curves=curves)
    return folder


def count_calls(call):
    """Return how many functions of the package are called."""
    package, number = str(Path(noisereg.__file__).parent), 0

    def count(frame, event, argument):
        nonlocal number
        number += event == "call" and frame.f_code.co_filename.startswith(package)

    sys.setprofile(count)
    try:
        call()
    finally:
        sys.setprofile(None)
    return number


def test_the_work_of_a_report_is_linear_in_the_number_of_runs(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(report_command, "compose_settings", dict)
    monkeypatch.setattr(report_command, "images_of", lambda specification: {})  # one figure of each report
    work = {}
    for number in (2, 10, 20, 40):  # the first loads what is loaded once
        folder = write_many(tmp_path / str(number), number, groups=1)
        work[number] = count_calls(lambda folder=folder: main([str(folder)]))
    assert work[40] - work[20] < 3 * (work[20] - work[10])  # 2 where it is linear, 4 where it is a square


def test_the_work_of_a_table_of_groups_side_by_side_is_linear_in_their_number(monkeypatch):
    monkeypatch.setattr(comparison_table, "_MOST_LINES", 1000)
    monkeypatch.setattr(comparison, "paired_differences", partial(paired_differences, most=0))  # of all pairs else
    work = {}
    for number in (10, 20, 40):
        records = [{"config": {"new": f"{number}-{new}"}, "replicas": [ROW]} for new in range(number)]
        groups = [RunGroup("", "", [Run(Path(), "finished", record=record)]) for record in records]
        compared = comparison.Comparison(groups)
        work[number] = count_calls(lambda compared=compared: comparison_table.comparison_table(compared))
    assert work[40] - work[20] < 3 * (work[20] - work[10])  # 2 where it is linear, 4 where it is a square


@pytest.mark.slow
@pytest.mark.parametrize("groups", [1, 100, 3000])  # of the last each run is one of its own
def test_the_report_of_thousands_of_runs_takes_less_than_a_minute_and_a_gigabyte(tmp_path, groups):
    """3 times the runs take 3 times the time and at most 3 times the memory, as a process of its own measures them."""
    took = {}
    for number in (1000, 3000):
        folder = write_many(tmp_path / str(number), number, groups=groups, layers=40, evaluations=9)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [sys.executable, "-c", MEASURED, str(folder)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        took[number] = seconds, int(done.stderr.split()[-1]) / 1024
    assert took[1000][0] < 60 and took[3000][1] < 1024, took
    assert took[3000][0] < 4 * took[1000][0] and took[3000][1] < 3 * took[1000][1], took
