import math

import pytest
from scipy.integrate import quad
from theory.ascent import Ascent, failed

from noisereg.losses import Hinge
from noisereg.theory import drift as module
from noisereg.theory.drift import DRIFT_C, DRIFT_C1, DRIFT_C2, neuron_drift, verify_drift

ALL = {"T2c-formula", "T2c-bound", "T2c-decrease"}


@pytest.mark.parametrize("mu", [-1.3, 0.0, 0.4, 5.0])
@pytest.mark.parametrize("s", [0.1, 1.0, 3.0])
def test_the_drift_is_minus_half_the_mean_size_of_the_output(mu, s):
    def size(z):
        return abs(z) * math.exp(-((z - mu) ** 2) / (2 * s * s)) / math.sqrt(2 * math.pi) / s

    mean = quad(size, mu - 12 * s, mu + 12 * s, points=[0, mu])[0]
    assert neuron_drift(mu, s) == pytest.approx(-mean / 2, rel=1e-6)


def test_the_constants_are_those_of_the_proof():
    assert (round(DRIFT_C1, 3), round(DRIFT_C2, 3)) == (0.121, 0.171)
    assert DRIFT_C == DRIFT_C1


def test_the_drift_is_below_the_bound_at_every_ratio():
    angles = [math.pi / 2 * i / 1000 for i in range(1000)]
    assert max(neuron_drift(math.sin(angle), math.cos(angle)) for angle in angles) < -DRIFT_C


def test_a_norm_of_zero_is_refused():
    with pytest.raises(ValueError, match="s must be a finite number above 0, got 0"):
        neuron_drift(1.0, 0.0)


def test_a_rate_is_refused_where_the_theorem_says_nothing():
    with pytest.raises(ValueError, match=r"d \* lr must be below C = 0.121 .*, got 0.500; take a smaller lr"):
        verify_drift(d=5, lr=0.1)


def test_measured_drifts_agree():
    checks = verify_drift(samples=20_000)
    assert failed(checks) == set()
    assert {check.id for check in checks} == ALL
    curve = checks[0].curve
    assert len(curve.x) == len(curve.measured) == len(curve.low) == 9
    assert curve.x[0] == 0 and curve.x[-1] < 1


def test_going_up_the_gradient_is_found(monkeypatch):
    monkeypatch.setattr(module, "Blocked", Ascent)
    assert failed(verify_drift(samples=2000)) == ALL


def test_a_margin_is_found(monkeypatch):
    monkeypatch.setattr(module, "Hinge", lambda: Hinge(1.0))
    assert "T2c-formula" in failed(verify_drift(samples=2000))


def test_a_wrong_constant_is_found(monkeypatch):
    monkeypatch.setattr(module, "DRIFT_C", 0.45)  # E|z|/2 is 0.4 to 0.5 of the norm
    assert failed(verify_drift(samples=2000, lr=1e-3)) == {"T2c-bound"}


def test_a_formula_that_is_off_by_a_tenth_is_found(monkeypatch):
    monkeypatch.setattr(module, "neuron_drift", lambda mu, s: 1.1 * neuron_drift(mu, s))
    assert failed(verify_drift(samples=20_000)) == {"T2c-formula"}
