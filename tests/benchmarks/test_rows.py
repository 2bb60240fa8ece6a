import io

import pytest
from rich.console import Console

from benchmarks import counting, gradient_norm, measuring, rows, sweep, workers


def test_a_goal_is_met_by_the_median_over_the_rounds_of_the_ratio_within_a_round():
    timed = {"slow": rows.Row(float), "quick": rows.Row(float, "slow", 3.0), "same": rows.Row(float, "slow", 3.0)}
    seconds = {"slow": [4.0, 8.0, 1.0], "quick": [1.0, 2.0, 1.0], "same": [2.0, 2.0, 1.0]}
    timed["ceiling"] = rows.Row(float, "slow", 0.5, is_ceiling=True)
    _, quick, same, ceiling = rows.results(timed, seconds | {"ceiling": seconds["same"]})
    assert (quick["ratio"], quick["met"]) == ([4.0, 4.0, 1.0], True)
    assert (same["ratio"], same["met"]) == ([2.0, 4.0, 1.0], False)
    assert (ceiling["ratio"], ceiling["met"], ceiling["sign"]) == ([0.5, 0.25, 1.0], True, "<=")


def test_the_first_round_is_dropped_and_the_rows_take_turns():
    calls = []

    def row(name):
        return rows.Row(lambda: calls.append(name) or float(len(calls)))

    assert rows.measure({"a": row("a"), "b": row("b")}, rounds=2) == {"a": [3.0, 5.0], "b": [4.0, 6.0]}
    assert calls == ["a", "b"] * 3


@pytest.mark.parametrize("width", [80, 40])
def test_the_table_of_a_slow_machine_is_never_cut(width):
    row = {"row": "20 replicas: figure 1", "seconds": [9e-3, 8e-3, 9.9e-3], "ratio": [1234.0, 1111.0, 1345.0]}
    console = Console(width=width, file=io.StringIO())
    console.print(rows.table([row | {"goal": 600.0, "sign": ">=", "met": False}]), crop=False)
    text = console.file.getvalue()
    assert "9,000" in text and "(8,000-9,900)" in text and "(1,111-1,345)" in text and ">= 600 missed" in text


@pytest.mark.parametrize(
    ("program", "options", "message"),
    [
        (counting, ["--rounds", "0"], "--rounds: it must be at least 1, got 0"),
        (counting, ["resnet20"], "models are vit_tiny, cnn, gpt_tiny, got resnet20"),
        (gradient_norm, ["--share", "nan"], "--share: it must be in (0, 1], got nan"),
        (gradient_norm, ["fig2"], "experiments are fig1_hypercube, fig5_mnist, got fig2"),
        (measuring, ["--networks", "3"], "--networks must be even, got 3"),
        (sweep, ["--jobs", "0"], "--jobs: it must be at least 1, got 0"),
        (workers, ["--cores", "0"], "--cores: it must be at least 1, got 0"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_any_work(program, options, message, capsys):
    with pytest.raises(SystemExit):
        program.main(options)
    assert message in capsys.readouterr().err
