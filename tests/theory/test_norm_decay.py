import json

import pytest
import torch
from torch import nn

from noisereg.losses import Hinge, Logistic
from noisereg.models import MLP, Neuron, TwoLayer
from noisereg.theory import norm_decay
from noisereg.theory.homogeneity import layers
from noisereg.theory.norm_decay import (
    build_chain,
    build_shared_net,
    check_thresholds,
    norm_changes,
    norm_threshold,
    verify_threshold,
)

IMAGES = torch.randn(6, 1, 6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


class Upside(Hinge):
    """A loss that falls where it should rise: a step makes the mistake worse."""

    def phi(self, xi):
        return -super().phi(xi)


def by_id(checks):
    return {check.id: check for check in checks}


def test_every_step_below_the_threshold_shrinks_and_every_one_above_it_grows():
    checks = by_id(verify_threshold(seeds=2, samples=3))
    # a seed has chains of 1 + 2 + 3 + 4 layers with two activations, and 3 layers with shared weights
    steps = 2 * 3 * 2 * (2 * 10 + 3)  # seeds, samples, losses
    assert [checks[id].n for id in ("T1-below", "T1-above")] == [5 * steps, 3 * steps]
    for id in ("T1-below", "T1-above", "T1-euler"):
        assert checks[id].holds
        assert checks[id].applicable
    assert checks["T1-below"].note == f"{5 * steps:,} of {5 * steps:,} steps"
    assert checks["T1-below"].measured == checks["T1-above"].measured == 1


def test_the_curve_is_a_parabola_whatever_the_network():
    curve = by_id(check_thresholds([build_chain(3), build_shared_net()], IMAGES, factors=[0.5, 1.0, 2.0]))[
        "T1-below"
    ].curve
    assert curve.measured == pytest.approx([-0.25, 0, 2], abs=1e-9)
    assert curve.predicted == [-0.25, 0, 2]


def test_what_the_theorem_does_not_cover_is_measured_but_not_judged():
    checks = by_id(verify_threshold(seeds=3, samples=3, depths=(2, 3)))
    biases, residual = checks["T1-biases"], checks["T1-resnet"]
    assert not biases.applicable
    assert not residual.applicable
    assert not biases.holds
    assert not residual.holds
    assert 0.9 < biases.measured < 1
    assert residual.measured > 0.9
    assert "BatchNorm2d is not known to be homogeneous; layer fc has a bias; <W, dN/dW> is not N" in residual.note


def test_rows_are_plain_values():
    for check in verify_threshold(seeds=1, samples=2, depths=[2]):
        assert json.loads(json.dumps(check.as_row()))["id"] == check.id


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (build_chain(2, bias="same"), "layer linear1 has a bias"),
        (nn.Sequential(nn.Flatten(), nn.Linear(36, 4, bias=False), nn.GELU(), nn.Linear(4, 1, bias=False)), "GELU"),
    ],
)
def test_a_network_of_another_kind_makes_the_theorem_not_applicable(model, reason):
    (check,) = check_thresholds([build_shared_net(), model.double()], IMAGES)
    assert not check.applicable
    assert not check.holds
    assert reason in check.note


def test_the_numbers_fail_for_gelu_even_if_nobody_reads_the_modules(monkeypatch):
    monkeypatch.setattr(norm_decay, "obstacles", lambda *_: [])
    net = build_chain(3).double()
    net.relu1, net.relu2 = nn.GELU(), nn.GELU()
    assert not any(check.holds for check in check_thresholds([net], IMAGES))


def test_a_threshold_that_is_too_high_fails_below_and_one_too_low_above(monkeypatch):
    right = norm_decay.norm_threshold
    for factor, expected in [(1.1, (False, True)), (0.9, (True, False))]:
        scaled = lambda *args, factor=factor, **kw: {k: factor * h for k, h in right(*args, **kw).items()}  # noqa: E731
        monkeypatch.setattr(norm_decay, "norm_threshold", scaled)
        checks = by_id(check_thresholds([build_chain(2)], IMAGES))
        assert (checks["T1-below"].holds, checks["T1-above"].holds) == expected


def test_a_gradient_of_the_wrong_sign_fails(monkeypatch):
    monkeypatch.setattr(norm_decay, "_LOSSES", (Upside(),))
    checks = by_id(check_thresholds([build_chain(2)], IMAGES))
    assert checks["T1-below"].measured == 0
    assert not checks["T1-below"].holds


X = torch.tensor([[1.0, -2.0, 0.5]], dtype=torch.float64)
LOSSES = [Hinge(), Hinge(beta=1.0), Logistic()]


def wrong_label(model):
    return (model(X)[:, 0] < 0).long()


def test_threshold_of_a_neuron_is_that_of_its_identity():
    # ||V + h y x||^2 = ||V||^2 + 2 h y V.x + h^2 ||x||^2 is ||V||^2 again at h = -2 y V.x / ||x||^2
    model = Neuron((3,), 1).double()
    v = model.output.weight.detach()[0]
    expected = 2 * (v @ X[0]).abs() / X.square().sum()
    assert norm_threshold(model, X, label=wrong_label(model), loss=Hinge())["output"] == pytest.approx(float(expected))


def test_the_logistic_loss_divides_it_by_its_derivative():
    model = Neuron((3,), 1).double()
    output = model(X).detach().abs()
    hinge, logistic = (norm_threshold(model, X, label=wrong_label(model), loss=loss)["output"] for loss in LOSSES[::2])
    assert logistic == pytest.approx(hinge * float(1 + (-output).exp()), rel=1e-6)


@pytest.mark.parametrize("loss", LOSSES, ids=["hinge", "margin", "logistic"])
def test_it_is_where_the_step_of_autograd_leaves_the_norm_as_it_is(loss):
    model = MLP((3,), 1, hidden=[6, 5, 4], init="he", bias="none", append_one=True, seed=3).double()
    label = wrong_label(model)
    limits = norm_threshold(model, X, label=label, loss=loss)
    loss(model(X), label).backward()
    for name, weight in layers(model).items():
        expected = 2 * (weight.detach() * weight.grad).sum() / weight.grad.square().sum()
        assert limits[name] == pytest.approx(float(expected), rel=1e-9)
        step = weight.detach() - limits[name] * weight.grad
        assert float(step.norm()) == pytest.approx(float(weight.detach().norm()), rel=1e-9)


def test_changes_are_those_of_a_step_of_sgd():
    model = TwoLayer((3,), 1, hidden=6, bias="none", seed=1).double()
    label = wrong_label(model)
    changes = norm_changes(model, X, loss=Logistic(), factors=[0.5])
    limit = norm_threshold(model, X, label=label, loss=Logistic())["hidden"]
    before = float(model.hidden.weight.detach().square().sum())
    Logistic()(model(X), label).backward()
    step = 2 * limit * model.hidden.weight.grad  # twice the step, whose square is four times as large
    torch.optim.SGD(model.parameters(), lr=0.5 * limit).step()
    after = float(model.hidden.weight.detach().square().sum())
    assert float(changes[0, 0]) == pytest.approx(4 * (after - before) / float(step.square().sum()), rel=1e-9)


def test_a_bias_moves_the_point_where_the_norm_stays():
    model = TwoLayer((3,), 1, hidden=6, bias="same", seed=1).double()
    at_threshold = norm_changes(model, X, loss=Hinge(), factors=[1.0])
    assert at_threshold.abs().max() > 0.01


def test_a_sample_that_is_classified_right_has_no_threshold():
    model = Neuron((3,), 1).double()
    label = 1 - wrong_label(model)
    with pytest.raises(ValueError, match=r"must be misclassified, got N\(x\) = .* and label"):
        norm_threshold(model, X, label=label, loss=Hinge())


def test_an_output_of_zero_is_not_misclassified():
    model = Neuron((3,), 1).double()
    with pytest.raises(ValueError, match=r"must be misclassified, got N\(x\) = 0 and label 1"):
        norm_threshold(model, 0 * X, label=torch.tensor([1]), loss=Hinge())
