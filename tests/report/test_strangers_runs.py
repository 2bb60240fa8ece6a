"""A report of runs of strangers: nothing of theirs is obeyed, and none keeps the others from being shown."""

import os
import re
from contextlib import redirect_stdout
from io import StringIO

import pytest
from runs.run_folders import CONFIG, write_run

from noisereg.report.__main__ import main

OBEYED = "\x1b[31m\x1b]0;owned\x07 \u202eterces\u2066 \x00\x9b2J \ud83d"
CURVES = "step,epoch,p,seed,test/error\n0,0,0.2,{0},0.5\n9,1,0.2,{0},0.4\n"


def row(seed, **more):
    return {"p": 0.2, "seed": seed, "test/error": 0.4, **more}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for seed in range(2):
        write_run(folder / f"good{seed}", config={"seed": seed}, replicas=[row(seed)], curves=CURVES.format(seed))
    write_run(folder / "empty", config={"seed": 2}, replicas=[row(2)])
    (folder / "empty" / "metrics.csv").write_text("")
    write_run(folder / "pipe", config={"seed": 3}, replicas=[row(3)])
    os.mkfifo(folder / "pipe" / "metrics.csv")
    (folder / "record").mkdir()
    os.mkfifo(folder / "record" / "result.json")
    write_run(folder / "words", config={"seed": 4}, replicas=[row(4) | {"p": OBEYED}])
    write_run(
        folder / f"obeyed{OBEYED[:-1].replace(chr(0), '')}",
        config={"model": CONFIG["model"] | {"hidden": OBEYED}},
        replicas=[row(seed, arm=OBEYED + str(seed)) for seed in range(2)],
        curves=CURVES.format(0),
        experiment={
            "id": OBEYED,
            "title": OBEYED,
            "place": OBEYED,
            "note": OBEYED,
            "claims": [{"id": OBEYED, "says": OBEYED, "metric": "test/error", "below": 1}],
            "figure": [{"title": OBEYED[:-1], "kind": "end", "x": "arm", "metrics": {"test/error": OBEYED[:-1]}}],
        },
        environment={"device": OBEYED, "commit": OBEYED},
        command=OBEYED,
    )
    write_run(folder / "failed", status="failed", reason=OBEYED)
    return folder


@pytest.fixture(scope="module")
def said(folder):
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("COLUMNS", "200")
        heard = StringIO()
        with redirect_stdout(heard):
            assert main([str(folder)]) == 0
    return heard.getvalue()


def test_every_run_that_can_be_read_is_shown_and_the_others_are_lines(folder, said):
    lines = said.splitlines()
    assert any(line.split() == ["0.2", "4", "40.00±0.00"] for line in lines)  # good, and those without their curves
    for name, fault in (("empty", "No columns to parse"), ("pipe", "it is no regular file")):
        (line,) = (line for line in lines if f"/{name}/metrics.csv" in line)
        assert fault in line
        assert f"/{name}/metrics.csv" in (folder / "report.html").read_text()
    assert any(line.startswith("unreadable: ") and "/record" in line for line in lines)
    assert any(line.startswith("unreadable: ") and "/words" in line and "no number" in line for line in lines)
    assert len(list((folder / "figures").glob("*.png"))) == 2


def test_what_a_terminal_or_a_page_would_obey_is_nowhere(folder, said):
    obeyed = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
    page = (folder / "report.html").read_text()
    page = page[
        : page.rindex("<script>", 0, page.index("vegaEmbed"))
    ]  # the libraries' own code has some in its strings
    for text in (said, page, (folder / "results.csv").read_text(), (folder / "claims.csv").read_text()):
        assert obeyed.findall(text) == []
        assert r"\u202e" in text
