import io
import os

import pytest
from rich.console import Console
from runs.run_folders import write_run

from noisereg.report.groups import run_group
from noisereg.report.groups.reading import find_groups, read_groups
from noisereg.runs.reading import find_runs

ROWS = [{"p": 0.2, "seed": 0, "test/error": 0.5}]
DEEP: list = []
for _ in range(400):
    DEEP = [DEEP]


def read(folder):
    groups, others = read_groups(find_runs([folder]))
    shown = {run.folder.name for group in groups for run in group.runs}
    return shown, {run.folder.name: run.reason for run in others}


@pytest.mark.parametrize(
    "record",
    [
        {"replicas": [{"p": "low", "seed": 0, "test/error": 0.5}]},
        {"replicas": [{"p": 0.2, "seed": 0, "test/error": "low"}]},
        {"replicas": [{"p": 0.2, "seed": [], "test/error": True}]},
        {"replicas": 7},
        {"experiment": {"id": {"a": 1}, "title": ["a"], "claims": [7, {"id": "F1", "of": 3}]}, "replicas": ROWS},
        {"checks": [{"id": [], "n": "many"}, None], "replicas": ROWS},
        {"environment": {"commit": {}}, "seconds": "long", "replicas": ROWS},
    ],
    ids=["a text as p", "a text as error", "a list as seed", "no rows", "no claims", "no checks", "no environment"],
)
def test_what_is_wrong_with_one_run_keeps_no_other_from_being_shown(tmp_path, record):
    write_run(tmp_path / "good", replicas=ROWS)
    write_run(tmp_path / "odd", config={"seed": 1}, **record)
    shown, others = read(tmp_path)
    assert "good" in shown
    assert "odd" in shown or others["odd"]


def test_a_replica_whose_numbers_are_none_names_the_value(tmp_path):
    write_run(tmp_path, replicas=[{"p": 0.2, "seed": 0, "test/error": "low"}])
    assert [*read(tmp_path)[1].values()] == ["result.json has a replica with test/error = 'low', which is no number"]


def test_a_run_that_fails_beside_others_alone_is_left_out(tmp_path, monkeypatch):
    """Such as one of a fault that nobody thought of."""

    def missing(rows, keys):
        if 13 in set(rows["seed"]):
            raise RuntimeError("boom")
        return []

    monkeypatch.setattr(run_group, "_missing", missing)
    for seed in (12, 13):
        write_run(tmp_path / str(seed), config={"seed": seed}, replicas=[ROWS[0] | {"seed": seed}])
    assert read(tmp_path) == ({"12"}, {"13": "RuntimeError: boom"})


def test_a_pipe_in_place_of_a_record_is_a_run_that_cannot_be_read(tmp_path):
    write_run(tmp_path / "good", replicas=ROWS)
    (tmp_path / "pipe").mkdir()
    os.mkfifo(tmp_path / "pipe" / "result.json")
    shown, others = read(tmp_path)
    assert shown == {"good"}
    assert others == {"pipe": "result.json cannot be read: [Errno 22] it is no regular file"}


@pytest.mark.parametrize(
    ("make", "fault"),
    [
        (lambda path: path.write_text(""), "No columns to parse from file"),
        (os.mkfifo, "it is no regular file"),
        (lambda path: path.mkdir(), "it is no regular file"),
        (lambda path: path.write_text("step,epoch,x\n0,0,low\n"), "its column x has more than numbers"),
        (lambda path: path.write_text("x\n0\n"), "it has no column step"),
        (lambda path: path.write_bytes(b"\xff\x00step"), "codec can't decode"),
    ],
    ids=["empty", "pipe", "folder", "words", "other columns", "binary"],
)
def test_curves_that_cannot_be_read_are_named_and_the_others_kept(tmp_path, make, fault):
    write_run(tmp_path / "0", replicas=ROWS, curves="step,epoch,p,seed,x\n0,0,0.2,0,7\n")
    write_run(tmp_path / "1", config={"seed": 1}, replicas=[{"p": 0.2, "seed": 1}])
    make(tmp_path / "1" / "metrics.csv")
    (group,), others = read_groups(find_runs([tmp_path]))
    assert others == []
    assert group.curves["x"].tolist() == [7]
    (line,) = group.curve_faults
    assert line.startswith(f"no curves of a run: {tmp_path / '1' / 'metrics.csv'} cannot be read (")
    assert fault in line


def test_a_record_that_is_nested_too_deeply_is_a_line(tmp_path):
    write_run(tmp_path / "good", replicas=ROWS)
    write_run(tmp_path / "deep", config={"new": DEEP})
    shown, others = read(tmp_path)
    assert "good" in shown
    assert "deep" in shown or others["deep"]


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_bar_on_a_terminal_shows_how_many_records_are_read(tmp_path, is_terminal):
    write_run(tmp_path, replicas=ROWS)
    printed = io.StringIO()
    groups, others = find_groups([tmp_path], Console(file=printed, force_terminal=is_terminal, width=80))
    assert (len(groups), others) == (1, [])
    assert ("reading" in printed.getvalue()) == ("grouping 1 runs" in printed.getvalue()) == is_terminal
