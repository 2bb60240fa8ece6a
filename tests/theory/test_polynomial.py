from itertools import product

import numpy as np
import pytest
import torch

from noisereg.losses import Hinge, Logistic
from noisereg.models import TwoLayer
from noisereg.noise import Flip, NoNoise, Resample
from noisereg.theory.polynomial import (
    ActivityPolynomial,
    Task,
    activity_polynomial,
    check_polynomial,
    expected_activity,
    list_courses,
    verify_polynomial,
)

INPUTS = torch.tensor([[1.0, -0.5], [0.3, 0.8]], dtype=torch.float64)
LABELS = torch.tensor([1, 0])


def task(steps=3, *, loss=None, lr=1.0):
    model = TwoLayer((2,), 1, hidden=5, seed=3)
    return Task(model=model, inputs=INPUTS, labels=LABELS, loss=loss or Logistic(), lr=lr, steps=steps)


def activity_by_autograd(course, loss, lr):
    """Train along (sample, flipped) pairs with torch's SGD, and count as definition 1 says."""
    model = TwoLayer((2,), 1, hidden=5, seed=3).double()
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    for sample, flipped in course:
        optimizer.zero_grad()
        label = LABELS[sample : sample + 1] ^ flipped
        loss(model(INPUTS[sample : sample + 1]), label).backward()
        optimizer.step()
    with torch.no_grad():
        return float((model.hidden(INPUTS) > 0).sum(dim=1).double().mean())


@pytest.mark.parametrize("loss", [Logistic(), Hinge()], ids=["logistic", "hinge"])
def test_it_is_the_mean_over_all_courses_of_appendix_a(loss):
    every = list(product(product(range(2), range(2)), repeat=3))
    values = [activity_by_autograd(course, loss, lr=1.0) for course in every]
    flips = [sum(flipped for _, flipped in course) for course in every]
    polynomial = activity_polynomial(task(loss=loss))
    for p in (0.0, 0.1, 0.5, 1.0):
        weights = [p**f * (1 - p) ** (3 - f) / 2**3 for f in flips]
        expected = float(np.dot(weights, values))
        assert polynomial(p) == pytest.approx(expected, rel=1e-12)
        assert expected_activity(task(loss=loss), [Flip(p=p)]) == pytest.approx([expected], rel=1e-12)
    assert len(set(values)) > 3


def test_coefficients_are_those_of_the_powers_of_p():
    polynomial = ActivityPolynomial(means=(3.0, 1.0, 4.0, 1.5))
    for p in (0.0, 0.3, 1.0):
        assert np.polynomial.Polynomial(polynomial.coefficients())(p) == pytest.approx(polynomial(p))
    # by hand: 3 (1-p)^2 + 2 p (1-p) 1 + 4 p^2 = 3 - 4 p + 5 p^2
    assert ActivityPolynomial(means=(3.0, 1.0, 4.0)).coefficients() == [3, -4, 5]


def test_the_degree_is_the_number_of_steps_and_not_less():
    coefficients = activity_polynomial(task(4)).coefficients()
    assert len(coefficients) == 5
    assert abs(coefficients[-1]) > 1e-6


def test_resampling_is_flipping_half_as_often():
    polynomial = activity_polynomial(task(4))
    strengths = (0.0, 0.2, 0.7, 1.0)
    resampled = expected_activity(task(4), [Resample(p=p) for p in strengths])
    assert resampled == pytest.approx([polynomial(p / 2) for p in strengths], rel=1e-12)


def test_without_noise_it_is_its_value_at_zero():
    assert expected_activity(task(), [NoNoise()]) == pytest.approx([activity_polynomial(task())(0.0)])


def test_courses_are_all_different():
    index, flips = list_courses(3, 2)
    assert len({tuple(course) for course in torch.cat([index, flips], dim=1).tolist()}) == 6**2
    assert torch.bincount(index.flatten()).tolist() == [24, 24, 24]
    assert torch.bincount(flips.flatten()).tolist() == [36, 36]


def test_the_verifier_agrees_with_drawn_runs():
    checks = verify_polynomial(steps=4, replicas=1000)
    assert [check.id for check in checks] == ["D13-degree", "D13-rules", "D13-flip", "D13-resample"]
    assert all(check.holds for check in checks)
    curve = checks[2].curve
    assert curve.x == pytest.approx(np.linspace(0, 1, 9))
    inside = zip(curve.low, curve.predicted, curve.high, strict=True)
    assert all(low <= predicted <= high for low, predicted, high in inside)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda right: lambda p: right(p**2),
        lambda right: lambda p: right(1 - p),
        lambda right: ActivityPolynomial(means=(*right.means[:-1], right.means[-1] + 0.5)),
    ],
    ids=["exponent", "inverted", "one mean"],
)
def test_a_wrong_polynomial_fails(wrong):
    checks = {
        check.id: check for check in check_polynomial(task(4), wrong(activity_polynomial(task(4))), replicas=1000)
    }
    assert checks["D13-degree"].holds
    assert not checks["D13-rules"].holds
    assert not checks["D13-flip"].holds


def test_a_degree_that_is_too_low_fails():
    short = task(4)
    strengths = np.linspace(0, 1, 9)
    values = expected_activity(short, [Flip(p=float(p)) for p in strengths])
    through = np.polynomial.Polynomial.fit(strengths[:4], values[:4], deg=3)
    assert np.abs(through(strengths) - values).max() > 1e-6


def test_too_many_courses_are_refused():
    with pytest.raises(ValueError, match=r"\(2n\)\^T must be at most 1,048,576, got 4,194,304; take fewer samples"):
        task(11)
