import math

import pytest
import scipy.stats
import torch

from noisereg.theory.agreement import (
    build_curve_of_means,
    build_not_applicable,
    check_bound,
    check_mean,
    t_interval,
)

ROW = {"id": "T0", "says": "It is one.", "place": "nowhere"}


def test_the_interval_is_that_of_student():
    values = [0.3, 1.7, 2.2, 0.9]
    mean, low, high = t_interval(torch.tensor(values))
    expected = scipy.stats.t.interval(0.95, 3, loc=1.275, scale=scipy.stats.sem(values))
    assert [float(mean), float(low), float(high)] == pytest.approx([1.275, *expected])


def test_intervals_are_taken_over_the_first_axis():
    values = torch.tensor([[1.0, 10.0], [3.0, 10.0]])
    mean, low, high = t_interval(values, level=0.5)
    assert mean.tolist() == [2, 10]
    assert (low[0], high[0]) == pytest.approx((1, 3))  # the quartile of one degree of freedom is 1
    assert low[1] == high[1] == 10


@pytest.mark.parametrize(
    ("values", "tolerance", "holds"),
    [
        ([1.04, 1.05, 1.06], 0.1, (True, False)),  # 1.05 ± 4.3027 * 0.01 / √3 = 1.0252 ... 1.0748
        ([1.04, 1.05, 1.06], 0.0749, (True, False)),
        ([1.04, 1.05, 1.06], 0.0747, (False, True)),
        ([1.04, 1.05, 1.06], 0.0253, (False, True)),
        ([1.04, 1.05, 1.06], 0.0251, (False, False)),
        ([0.5, 1.05, 1.6], 0.06, (False, True)),  # the mean is near, and might be anything
        ([0.5, 1.05, 1.6], 0.01, (False, True)),
    ],
)
def test_a_mean_agrees_if_its_whole_interval_lies_within_the_tolerance(values, tolerance, holds):
    check = check_mean(values, 1.0, tolerance=tolerance, **ROW)
    assert (check.holds, check.undecided) == holds
    assert check_mean(values, 1.0, margin=tolerance, **ROW) == check
    assert check.measured == pytest.approx(1.05)
    assert check.low < check.measured < check.high
    assert (check.relation, check.n) == ("=", 3)


def test_a_prediction_of_zero_needs_a_margin():
    values = [-0.01, 0.0, 0.01]
    assert check_mean(values, 0.0, margin=0.03, **ROW).holds
    assert check_mean(values, 0.0, tolerance=0.5, **ROW).undecided
    assert check_mean([0.0, 0.0, 0.0], 0.0, **ROW).holds


def test_nan_agrees_with_nothing():
    assert not check_mean([1.0, math.nan], 1.0, tolerance=1.0, **ROW).holds


@pytest.mark.parametrize(
    ("relation", "at_less", "at_equal", "at_more"),
    [
        ("<", True, False, False),
        ("<=", True, True, False),
        ("=", False, True, False),
        (">=", False, True, True),
        (">", False, False, True),
    ],
)
def test_a_relation_is_taken_literally(relation, at_less, at_equal, at_more):
    found = [check_bound(measured, relation, 1.0, n=1, **ROW).holds for measured in (0.5, 1.0, 1.5, math.nan)]
    assert found == [at_less, at_equal, at_more, False]


@pytest.mark.parametrize(
    ("measured", "holds"), [(0.9, True), (1.1, True), (0.89, False), (1.11, False), (math.nan, False)]
)
def test_two_numbers_are_equal_to_within_a_margin(measured, holds):
    assert check_bound(measured, "=", 1.0, margin=0.1 + 1e-12, n=1, **ROW).holds is holds
    assert not check_bound(measured, "<", 0.0, margin=10.0, n=1, **ROW).holds  # a margin moves no bound


def test_a_claim_that_does_not_apply_holds_not_and_says_why():
    check = build_not_applicable(["it has biases", "it has GELU"], predicted=1.0, n=3, **ROW)
    assert (check.applicable, check.holds, check.undecided) == (False, False, False)
    assert check.note == "it has biases; it has GELU"
    assert math.isnan(check.measured)
    assert build_not_applicable([], predicted=1.0, measured=0.5, n=3, **ROW).measured == 0.5


def test_a_curve_of_means_has_their_intervals():
    values = torch.tensor([[0.3, 5.0], [1.7, 5.0], [2.2, 5.0], [0.9, 5.0]])
    curve = build_curve_of_means("p", "error", x=[0.0, 0.2], values=values, predicted=[1.0, 5.0])
    low, high = scipy.stats.t.interval(0.95, 3, loc=1.275, scale=scipy.stats.sem(values[:, 0]))
    assert list(curve.measured) == pytest.approx([1.275, 5.0])
    assert (list(curve.low), list(curve.high)) == (pytest.approx([low, 5.0]), pytest.approx([high, 5.0]))
    assert (curve.x_title, curve.y_title, list(curve.x), list(curve.predicted)) == (
        "p",
        "error",
        [0.0, 0.2],
        [1.0, 5.0],
    )
