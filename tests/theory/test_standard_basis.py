import math
from functools import partial

import pytest
import torch
from theory.ascent import failed

from noisereg.engine import Blocked, Fused, Stack
from noisereg.losses import Hinge
from noisereg.models import TwoLayer
from noisereg.theory import standard_basis
from noisereg.theory.standard_basis import (
    basis_outputs,
    silent_share,
    train_on_basis,
    verify_dead_output,
    verify_learning_rates,
    visit_basis,
)

REPLICAS, D, K, STEPS, LR = 2, 6, 8, 300, 0.03


def networks():
    settings = {"hidden": 2 * K, "init": "unit", "bias": "none", "trained": "hidden", "output_signs": True}
    return [TwoLayer((D,), 1, **settings, seed=seed).double() for seed in range(REPLICAS)]


def draws():
    generator = torch.Generator().manual_seed(0)
    order = torch.randint(D, (REPLICAS, STEPS), generator=generator)
    return order, torch.rand(REPLICAS, STEPS, generator=generator) < 0.5


def columns(stack):
    """Return (R, d, 2k) as the columns of all replicas."""
    return stack.hidden.detach().flatten(0, 1).clone()


def test_outputs_are_those_of_the_network():
    models = networks()
    expected = torch.cat([model(torch.eye(D).double())[:, 0].detach() for model in models])
    assert torch.allclose(basis_outputs(columns(Stack.of(models))), expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("engine", [Fused, Blocked])
def test_columns_apart_are_the_network_trained_as_a_whole(engine):
    stack, (order, plus) = Stack.of(networks()), draws()
    weights, start = columns(stack), columns(stack)
    targets = torch.stack([~plus, plus], dim=2).double()
    inputs, rates = stack.prepare(torch.eye(D)), torch.full((REPLICAS,), LR).double()
    engine(Hinge())(stack, inputs, index=order, targets=targets, rates=rates)
    train_on_basis(weights, order, plus, lr=float(rates[0]))
    assert not torch.equal(weights, start)
    if engine is Fused:  # it adds step by step, the other block by block
        assert torch.equal(weights, columns(stack))
    assert torch.allclose(weights, columns(stack), rtol=0, atol=1e-12)


def test_a_run_tells_what_happened():
    weights = torch.tensor([[0.5, -1.0], [-1.0, 0.3]]).double()
    order, plus = torch.tensor([[0, 1, 0, 0]]), torch.tensor([[False, False, True, False]])
    run = train_on_basis(weights, order, plus, lr=0.25)
    # e_0: .5 is wrong, .25 is right, .25 is wrong, and then it is dead; e_1: -.3 is right for the label -1
    assert run.outputs.T.tolist() == [[0.5, 0.25, 0.25, 0.0], pytest.approx([-0.3] * 4)]
    assert run.steps.T.tolist() == [[0, 2, 3], [1, -1, -1]]
    assert run.updates.tolist() == [2, 0]
    assert run.revived == 0


@pytest.mark.parametrize("plus", [False, True])
def test_an_output_of_zero_is_an_error_for_both_labels(plus):
    weights = torch.tensor([[0.5, 0.5]]).double()
    assert visit_basis(weights, torch.tensor([plus]), lr=0.25).tolist() == [True]
    assert weights.tolist() == [[0.75, 0.25] if plus else [0.25, 0.75]]


def test_a_dead_column_does_not_move():
    weights = torch.tensor([[-0.5, 0.0]]).double()
    assert visit_basis(weights, torch.tensor([True]), lr=0.25).tolist() == [False]
    assert weights.tolist() == [[-0.5, 0.0]]


@pytest.mark.parametrize("lr", [0.05, 0.3, 0.8])
def test_the_silent_share_tends_to_half_of_one_plus_h(lr):
    assert silent_share(10**9, lr) == pytest.approx((1 + lr) / 2, abs=1e-4)


@pytest.mark.parametrize("k", [100, 1000, 10_000])
def test_the_silent_share_at_small_rates_is_the_o_1_of_theorem_4(k):
    lr = 0.01 / k
    expected = 0.5 + math.sqrt(5 / (12 * math.pi)) / (4 * math.sqrt(k)) + lr / 8
    assert silent_share(k, lr) == pytest.approx(expected, abs=1e-6)


def test_all_are_silent_from_a_rate_of_one_on():
    assert silent_share(1000, 1.0) == silent_share(1000, 7.0) == 1.0
    assert silent_share(1000, 0.999) == pytest.approx(1.0, abs=1e-3)


def test_a_rate_of_zero_is_refused():
    with pytest.raises(ValueError, match="lr must be a finite number above 0, got 0"):
        silent_share(10, 0)


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


def test_theorem_3_is_measured():
    checks = dead_output()
    assert failed(checks) == set()
    assert [check.id for check in checks] == ["T3-updates", "T3-time", "T3-sets", "T3-end", "T3-zero"]
    curve = checks[1].curve
    assert curve.predicted[0] == pytest.approx(2.0)  # 2 k h with h = 1/k
    assert curve.measured[0] > 2 > curve.measured[-1]


def test_theorem_4_is_measured_and_what_lies_between():
    checks = {check.id: check for check in learning_rates()}
    assert failed(checks.values()) == set()
    assert checks["T4.1-alive"].measured == 0
    assert checks["T4.1-visits"].measured == 3
    assert 0.5 < checks["T4.2-share"].measured < 0.53
    assert all(checks[f"T4.E{item}"].holds for item in range(1, 6))
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
    monkeypatch.setattr(standard_basis, "basis_outputs", lambda weights: basis_outputs(weights) + 3.0)
    assert failed(dead_output()) >= {"T3-updates", "T3-end"}


def test_a_wrong_closed_form_is_found(monkeypatch):
    monkeypatch.setattr(standard_basis, "silent_share", lambda k, lr: silent_share(k, lr) + 0.05)
    assert failed(learning_rates()) == {"T4.2-share", "T4.3"}
