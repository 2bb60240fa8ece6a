import pytest
import torch
from torch import nn

from noisereg.losses import Hinge, Logistic
from noisereg.models import MLP
from noisereg.theory import gradient_flow
from noisereg.theory.gradient_flow import check_flow, integrate, verify_gradient_flow

INPUTS = torch.randn(12, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
PURE_NOISE = torch.full((12, 2), 0.5, dtype=torch.float64)
SHORT = {"duration": 0.5, "steps": 100}


def network(**settings):
    return MLP((4,), 1, hidden=[8, 6], init="he", seed=1, **({"bias": "none", "append_one": True} | settings)).double()


def by_id(checks):
    return {check.id: check for check in checks}


def test_two_linear_layers_follow_the_solution_of_their_equation():
    # N = v w x with x = 1 and y = -1: w' = -v, v' = -w, so w + v falls as exp(-t) and w - v grows as exp(t)
    net = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)).double()
    net[0].weight.data.fill_(2.0)
    net[1].weight.data.fill_(1.0)
    x, minus = torch.ones(1, 1, dtype=torch.float64), torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    flow = integrate(net, x, minus, loss=Hinge(), duration=0.4, steps=250)  # N stays positive
    t = torch.tensor(0.4, dtype=torch.float64)
    w, v = (3 * (-t).exp() + t.exp()) / 2, (3 * (-t).exp() - t.exp()) / 2
    torch.testing.assert_close(flow.squares[-1], torch.stack([w, v]).square(), rtol=1e-5, atol=0)
    torch.testing.assert_close(flow.losses[-1], w * v, rtol=1e-5, atol=0)
    assert flow.balances[-1].tolist() == pytest.approx([1 - 4], rel=1e-5)
    assert float(flow.predicted_decrease()[-1]) == pytest.approx(float(4 - w**2), rel=1e-5)
    assert float(flow.time[-1]) == pytest.approx(0.4)


def test_half_the_step_leaves_a_quarter_of_the_error():
    def error(steps):
        checks = by_id(check_flow(network(), INPUTS, PURE_NOISE, loss=Logistic(), duration=0.5, steps=steps))
        return checks["Du"].measured

    ratios = [error(steps) / error(2 * steps) for steps in (25, 50)]
    assert all(3 < ratio < 5 for ratio in ratios)


@pytest.mark.parametrize("p", [0.2, 1.0])
def test_every_layer_falls_at_twice_the_loss(p):
    checks = by_id(verify_gradient_flow(p=p, steps=200, duration=1.0))
    assert list(checks) == ["C1-rate", "C1-monotone", "C1-together", "Du"]
    assert all(check.holds and check.applicable for check in checks.values())
    assert checks["C1-rate"].measured == pytest.approx(1, abs=1e-3)
    curve = checks["C1-rate"].curve
    assert curve.measured == pytest.approx(curve.predicted, rel=1e-2, abs=1e-12)
    assert curve.measured[-1] > 0.1


def test_the_logistic_loss_keeps_the_balance_but_not_the_rate():
    checks = by_id(check_flow(network(), INPUTS, PURE_NOISE, loss=Logistic(), **SHORT))
    assert not checks["C1-rate"].holds
    assert checks["C1-together"].holds
    assert checks["Du"].holds


def test_a_flow_uphill_fails(monkeypatch):
    move = gradient_flow._move_parameters
    monkeypatch.setattr(gradient_flow, "_move_parameters", lambda *args: move(*args[:3], -args[3]))
    checks = by_id(check_flow(network(), INPUTS, PURE_NOISE, loss=Hinge(), **SHORT))
    assert checks["C1-rate"].measured < 0
    assert not checks["C1-rate"].holds
    assert not checks["C1-monotone"].holds


def test_a_flow_that_leaves_out_a_layer_fails(monkeypatch):
    move = gradient_flow._move_parameters

    def frozen(parameters, start, slopes, h):
        move(parameters, start, [slopes[0], 0 * slopes[1], slopes[2]], h)

    monkeypatch.setattr(gradient_flow, "_move_parameters", frozen)
    checks = by_id(check_flow(network(), INPUTS, PURE_NOISE, loss=Hinge(), **SHORT))
    assert not any(checks[id].holds for id in ("C1-rate", "C1-together", "Du"))


def test_the_numbers_fail_for_gelu_if_nobody_looks_at_the_network(monkeypatch):
    monkeypatch.setattr(gradient_flow, "obstacles", lambda *_: [])
    net = network()
    net.relu1, net.relu2 = nn.GELU(), nn.GELU()
    checks = by_id(check_flow(net, INPUTS, PURE_NOISE, loss=Hinge(), **SHORT))
    assert not any(checks[id].holds for id in ("C1-rate", "C1-together", "Du"))


def test_a_network_with_biases_is_not_judged():
    (check,) = check_flow(network(bias="same", append_one=False), INPUTS, PURE_NOISE, loss=Hinge(), **SHORT)
    assert not check.applicable
    assert not check.holds
    assert "layer linear1 has a bias" in check.note


def test_a_flow_without_errors_is_not_judged():
    net = network()
    right = torch.nn.functional.one_hot((net(INPUTS)[:, 0] > 0).long(), 2).double()
    (check,) = check_flow(net, INPUTS, right, loss=Hinge(), **SHORT)
    assert not check.applicable
    assert check.note == "no sample is misclassified, and nothing moves"


def test_a_convolution_is_refused():
    net = nn.Sequential(nn.Conv1d(1, 1, 2, bias=False), nn.Flatten(), nn.Linear(3, 1, bias=False)).double()
    with pytest.raises(ValueError, match="fully connected networks, got a convolution"):
        integrate(net, INPUTS[:, None], PURE_NOISE, loss=Hinge(), **SHORT)
