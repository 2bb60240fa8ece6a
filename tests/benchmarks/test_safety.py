import io
import json

import pytest
from lightning.pytorch.profilers import SimpleProfiler
from rich.console import Console

from benchmarks import safety
from benchmarks.safety import Cost


@pytest.mark.slow
def test_a_training_is_timed_with_and_without_its_guards(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    safety.main(["--rounds", "1", "--images", "128", "--epochs", "2", "--threads", "1", "--json", "numbers.json"])
    rows = json.loads((tmp_path / "numbers.json").read_text())["rows"]
    assert list(rows) == ["ResNet-20", "40 replicas"]
    for (costs,) in rows.values():
        assert costs["without"]["hooks"] == 0 < costs["with"]["hooks"] < costs["with"]["fit"] < costs["with"]["wall"]
        assert costs["with"]["once"] > costs["without"]["once"]
    assert capsys.readouterr().out.count("<= 2%") == 2
    assert [path.name for path in tmp_path.iterdir()] == ["numbers.json"]


def test_the_guards_of_the_training_itself_are_left_out_by_name():
    profiler = SimpleProfiler()
    names = [
        "[Callback]FiniteLoss.on_before_backward",
        "[Callback]RunCheckpoint{}.on_train_end",
        "[Callback]ObserverLogger.x",
    ]
    profiler.recorded_durations.update({name: [1.0] for name in names})
    assert [safety._is_guard(name) for name in profiler.recorded_durations] == [True, True, False]


def test_shares_are_of_one_round_and_of_the_whole_training():
    slow = {"without": Cost(4.0, 8.0, 4.0), "with": Cost(5.0, 8.4, 4.5, hooks=0.1, once=0.5)}
    found = safety.shares([slow], times=10)
    assert found["clock"] == [pytest.approx(0.25)] and found["cpu"] == [pytest.approx(0.05)]
    assert found["inside"] == [pytest.approx(0.6 / 5.0)]
    assert found["whole"] == [pytest.approx((10 * 0.1 + 0.5) / (10 * 4.5 + 0.5))]


def test_the_goal_is_for_the_median_of_the_whole_training():
    def found(*hooks):
        return [{"without": Cost(1.0, 1.0, 1.0), "with": Cost(1.1, 1.0, 1.0, hooks=part)} for part in hooks]

    console = Console(width=80, file=io.StringIO())
    rows = {"quick": found(0.01, 0.5, 0.01), "slow": found(0.03, 0.0, 0.03)}
    console.print(safety.table(rows, times={"quick": 1.0, "slow": 1.0}))
    text = console.file.getvalue()
    assert [line.split()[-1] for line in text.splitlines() if "<= 2%" in line] == ["met", "missed"]
    assert "1.00%" in text and "50.00%" in text


def test_the_legend_fits_a_narrow_terminal():
    assert max(map(len, safety.LEGEND.splitlines())) <= 80


def test_a_number_out_of_range_is_refused(capsys):
    with pytest.raises(SystemExit):
        safety.main(["--rounds", "0"])
    assert "--rounds: it must be at least 1, got 0" in capsys.readouterr().err
