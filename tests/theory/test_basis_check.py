from functools import partial

import pytest
import torch
from theory.ascent import failed

from noisereg.theory import basis_check, standard_basis
from noisereg.theory.basis_check import verify_dead_output, verify_learning_rates
from noisereg.theory.standard_basis import basis_outputs, silent_share, visit_basis

dead_output = partial(verify_dead_output, ks=(20, 50), d=8)
learning_rates = partial(verify_learning_rates, k=100, d=10, replicas=5, rates=(0.01, 0.1, 0.3, 0.6))


def up(weights, plus, *, lr):
    return visit_basis(weights, plus, lr=-lr)


def leaky(weights, plus, *, lr):
    """Move silent neurons too, a tenth as far: LeakyReLU is no ReLU."""
    silent, moved = weights <= 0, visit_basis(weights, plus, lr=lr)
    signs = torch.ones_like(weights)
    signs[:, weights.shape[1] // 2 :] = -1
    weights += silent * 0.1 * lr * torch.where(plus, 1.0, -1.0)[:, None] * signs
    return moved


def far(weights, plus, *, lr):
    return visit_basis(weights, plus, lr=50 * lr)


def near(weights, plus, *, lr):
    return visit_basis(weights, plus, lr=0.9 * lr)


def plant(monkeypatch, fault):
    monkeypatch.setattr(standard_basis, "visit_basis", fault)
    monkeypatch.setattr(basis_check, "visit_basis", fault)


def test_theorem_3_is_measured():
    checks = dead_output()
    assert failed(checks) == set()
    assert [check.id for check in checks] == ["T3-updates", "T3-time", "T3-sets", "T3-end"]
    curve = checks[1].curve
    assert curve.predicted[0] == pytest.approx(2.0)  # 2 k h with h = 1/k
    assert curve.measured[0] > 2 > curve.measured[-1]


def test_theorem_4_is_measured_and_what_lies_between():
    checks = {check.id: check for check in learning_rates()}
    assert failed(checks.values()) == set()
    assert checks["T4.1-alive"].measured == 0
    assert checks["T4.1-visits"].measured == 3
    assert 0.5 < checks["T4.2-share"].measured < 0.53
    assert checks["T4.3"].curve.measured == sorted(checks["T4.3"].curve.measured)


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        (up, {"T3-updates", "T3-time", "T3-end"}),
        (leaky, {"T3-sets"}),
        (far, {"T3-updates"}),
    ],
)
def test_faults_of_the_update_are_found_by_theorem_3(monkeypatch, fault, found):
    plant(monkeypatch, fault)
    assert failed(dead_output()) >= found


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        (up, {"T4.1-alive", "T4.2-period", "T4.3"}),
        (leaky, {"T4.1-visits"}),
        (far, {"T4.2-share", "T4.3"}),
        (near, {"T4.1-visits", "T4.3"}),
    ],
)
def test_faults_of_the_update_are_found_by_theorem_4(monkeypatch, fault, found):
    plant(monkeypatch, fault)
    assert failed(learning_rates()) >= found


def test_a_constant_in_the_output_is_found(monkeypatch):
    """What a bias would do."""
    monkeypatch.setattr(basis_check, "basis_outputs", lambda weights: basis_outputs(weights) + 3.0)
    assert failed(dead_output()) >= {"T3-updates", "T3-end"}


def test_a_wrong_closed_form_is_found(monkeypatch):
    monkeypatch.setattr(basis_check, "silent_share", lambda k, lr: silent_share(k, lr) + 0.05)
    assert failed(learning_rates()) == {"T4.2-share", "T4.3"}
