import io

import pytest
from rich.console import Console
from runs.run_folders import write_run

from noisereg.engine.measurement import Measurement
from noisereg.errors import ConfigError
from noisereg.training import findings
from noisereg.training.findings import DrawingBeginner, draw_experiment, read_experiment, run_checks

QUIET = Console(file=io.StringIO())
PERCEPTRON = {"_target_": "noisereg.theory.verify_perceptron", "seeds": 1, "n": 10, "d": 3}


def test_numbers_stand_in_place_of_what_computes_them():
    slope = {"_target_": "noisereg.theory.neuron_slope", "lr": 1.0, "loss": {"_target_": "noisereg.losses.Hinge"}}
    claim = {"id": "F2", "metric": "norm/output", "predicted": slope, "below": {"at": "start"}}
    panel = {"title": "norm", "metrics": {"norm/output": "norm"}, "lines": [{"label": "slope", "value": slope}]}
    experiment = {"id": "F2", "claims": [claim], "figure": [panel], "note": None}
    known = read_experiment({"experiment": experiment})
    expected = -((2 * 3.141592653589793) ** -0.5)  # theorem 2: the mean of the negative half of a normal law
    assert known["claims"][0]["predicted"] == pytest.approx(expected)
    assert known["figure"][0]["lines"][0]["value"] == pytest.approx(expected)
    assert known["claims"][0]["below"] == {"at": "start"}
    assert "note" not in known


def run_check(section, *, seed=0):
    return run_checks({"seed": seed, "experiment": {"checks": {"own": section}}}, QUIET)


def test_checks_come_as_plain_rows():
    rows = run_check(PERCEPTRON)
    assert [(row["id"], row["holds"]) for row in rows] == [("S1", True), ("S2", True), ("S9", True)]


def test_a_check_draws_by_the_seed_of_the_run_unless_it_names_its_own():
    first, second = run_check(PERCEPTRON), run_check(PERCEPTRON, seed=100)
    assert first[2]["measured"] != second[2]["measured"]
    assert run_check({**PERCEPTRON, "seed": 100}) == second == run_check({**PERCEPTRON, "seed": 100}, seed=7)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        (
            {"_target_": "noisereg.losses.Hinge"},
            r"experiment.checks.own: noisereg.losses.Hinge gives no list of checks",
        ),
        ({**PERCEPTRON, "sead": 1}, r"experiment.checks.own.sead=1: verify_perceptron has no such argument"),
    ],
)
def test_what_is_no_check_is_told_by_its_key(section, message):
    with pytest.raises(ConfigError, match=message):
        run_check(section)


@pytest.mark.parametrize(
    ("experiment", "message"),
    [
        ({"claims": [{"id": "F1", "metric": "test/error", "papr": 0.2}]}, "experiment.claims: claim 'F1': .*papr"),
        (
            {"claims": [{"id": "F1", "metric": "test/error", "paper": 0.2}], "primary": "F2"},
            "experiment.primary must be the id of one of its claims, F1, got 'F2'",
        ),
        ({"figure": [{"title": "norms", "colour": "red"}]}, "experiment.figure: .*colour"),
        ({"title": {"_target_": "noisereg.theory.nothing"}}, "experiment.title: .*noisereg.theory.nothing"),
    ],
)
def test_a_fault_in_a_claim_or_panel_is_told_before_the_run(experiment, message):
    with pytest.raises(ConfigError, match=message):
        read_experiment({"experiment": experiment})


def test_drawing_begins_once_beside_the_last_fifth_of_a_training(monkeypatch):
    begun = []
    monkeypatch.setattr(findings, "begin_drawing", lambda: begun.append(epoch))
    beginner = DrawingBeginner(10)
    for epoch in (0, 5, 9, 10):
        beginner.observe(Measurement(epoch, epoch, [0], {}))
    assert begun == [9]


def test_a_figure_that_a_run_does_not_allow_is_a_line_and_its_verdicts_are_printed(tmp_path):
    """As of an experiment with logger=none, which keeps no curves."""
    figure = [{"title": "error", "metrics": {"test/error": "test"}}]
    claims = [{"id": "F1", "says": "It falls.", "metric": "test/error", "below": 0.5}]
    rows = [{"p": 0.2, "seed": seed, "test/error": 0.2} for seed in range(3)]
    write_run(tmp_path, replicas=rows, experiment={"id": "F1", "figure": figure, "claims": claims})
    console = Console(file=io.StringIO(), width=200)
    draw_experiment(tmp_path, console)
    printed = console.file.getvalue()
    assert "experiment: panel 'error' needs metrics.csv, which no run wrote (logger=csv writes it)" in printed
    assert "F1 It falls." in printed and "reproduced" in printed
