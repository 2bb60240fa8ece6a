import math

import pytest

from noisereg.report.claims.correction import changed_by_holm
from noisereg.report.claims.verdicts import Judgement, judge


def judgement(name, p_value, kind="direction"):
    row = {"says": "", "place": "", "paper": None, "theory": None, "mean": 1.0, "low": 0.9, "high": 1.1, "n": 5}
    return Judgement(id=name, p_value=p_value, kind=kind, verdict="reproduced", why="", **row)


@pytest.mark.parametrize(
    ("p_values", "changed", "decided"),
    [
        ({"A": 0.04}, [], 1),
        ({"A": 0.04, "B": 0.001}, [], 2),
        ({"A": 0.04, "B": 0.03}, ["A", "B"], 2),
        ({"A": 0.04, "B": 0.001, "C": 0.5}, ["A"], 2),  # 0.04 against 0.05 / 2
        ({"A": 0.5, "B": 0.6}, [], 0),  # undecided before
        ({"A": 0.04, "B": math.nan, "C": math.nan}, [], 1),  # numbers are no tests of a direction
    ],
)
def test_what_was_decided_and_would_not_be(p_values, changed, decided):
    judgements = [judgement(name, value) for name, value in p_values.items()]
    assert changed_by_holm(judgements) == (changed, decided)


def test_checks_of_the_code_are_not_of_the_family():
    others = [judgement(f"I{number}", 0.5, "identity") for number in range(10)]
    assert changed_by_holm([judgement("A", 0.04), *others]) == ([], 1)


def test_the_p_values_are_those_of_the_verdicts():
    values = {"a": [1.0, 1.1, 1.2], "b": [1.0, 1.6, 2.6]}  # means 1.1 ± 0.25 and 1.73 ± 2.01
    replicas = [{"seed": seed, "x": values["a"][seed], "y": values["b"][seed]} for seed in range(3)]
    claims = [{"id": name, "metric": name, "above": bound} for name, bound in (("x", 0.8), ("y", 0.0))]
    judgements = judge(claims, replicas=replicas)
    assert [one.verdict for one in judgements] == ["reproduced", "undecided"]
    assert changed_by_holm(judgements) == (["x"], 1)  # t = 0.3 / (0.1 / √3) = 5.2, p = 0.035 against 0.025
