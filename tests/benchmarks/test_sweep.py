import json

import pytest

from benchmarks import sweep


@pytest.mark.slow
def test_a_run_and_a_job_are_timed_beside_their_trainings(capsys):
    sweep.main(["--rounds", "1", "--jobs", "2"])
    head, plain, job = capsys.readouterr().out.splitlines()
    assert head.startswith("seconds beside the training, 1 rounds")
    for line, row in ((plain, "a plain run"), (job, "each of 2 jobs of a sweep")):
        assert line.startswith(row) and float(line.removeprefix(row).split()[0]) > 0


def test_the_seconds_of_all_records_are_taken_away(monkeypatch):
    """A program that takes half a second leaves two runs of 0.1 and 0.2 seconds."""

    def program(command, *, cwd, **_):
        for name, seconds in (("0", 0.1), ("1", 0.2)):
            folder = sweep.Path(cwd) / name
            folder.mkdir()
            (folder / "result.json").write_text(json.dumps({"seconds": seconds}))

    clock = iter([10.0, 10.5])
    monkeypatch.setattr(sweep.subprocess, "run", program)
    monkeypatch.setattr(sweep.time, "perf_counter", lambda: next(clock))
    assert sweep.seconds_beside_training("-m") == pytest.approx(0.5 - 0.3)
