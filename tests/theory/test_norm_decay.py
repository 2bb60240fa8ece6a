import json

import pytest
import torch
from torch import nn

from noisereg.losses import Hinge
from noisereg.theory import norm_decay, threshold
from noisereg.theory.norm_decay import chain, shared_net, threshold_checks, verify_threshold

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
    curve = by_id(threshold_checks([chain(3), shared_net()], IMAGES, factors=[0.5, 1.0, 2.0]))["T1-below"].curve
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
        (chain(2, bias="same"), "layer linear1 has a bias"),
        (nn.Sequential(nn.Flatten(), nn.Linear(36, 4, bias=False), nn.GELU(), nn.Linear(4, 1, bias=False)), "GELU"),
    ],
)
def test_a_network_of_another_kind_makes_the_theorem_not_applicable(model, reason):
    (check,) = threshold_checks([shared_net(), model.double()], IMAGES)
    assert not check.applicable
    assert not check.holds
    assert reason in check.note


def test_the_numbers_fail_for_gelu_even_if_nobody_reads_the_modules(monkeypatch):
    monkeypatch.setattr(norm_decay, "obstacles", lambda *_: [])
    net = chain(3).double()
    net.relu1, net.relu2 = nn.GELU(), nn.GELU()
    assert not any(check.holds for check in threshold_checks([net], IMAGES))


def test_a_threshold_that_is_too_high_fails_below_and_one_too_low_above(monkeypatch):
    right = threshold.norm_threshold
    for factor, expected in [(1.1, (False, True)), (0.9, (True, False))]:
        scaled = lambda *args, factor=factor, **kw: {k: factor * h for k, h in right(*args, **kw).items()}  # noqa: E731
        monkeypatch.setattr(threshold, "norm_threshold", scaled)
        checks = by_id(threshold_checks([chain(2)], IMAGES))
        assert (checks["T1-below"].holds, checks["T1-above"].holds) == expected


def test_a_gradient_of_the_wrong_sign_fails(monkeypatch):
    monkeypatch.setattr(norm_decay, "_LOSSES", (Upside(),))
    checks = by_id(threshold_checks([chain(2)], IMAGES))
    assert checks["T1-below"].measured == 0
    assert not checks["T1-below"].holds
