import math
from functools import partial

import pytest
import torch
from theory.ascent import FusedAscent, failed

from noisereg.engine import Fused
from noisereg.losses import Hinge, Logistic
from noisereg.models import Neuron
from noisereg.theory import neuron_check as module
from noisereg.theory.neuron import NeuronBound, neuron_equilibrium
from noisereg.theory.neuron_check import neuron_norms, verify_neuron
from noisereg.theory.pure_noise import gaussian_noise

small = partial(verify_neuron, d=4, lr=0.02, replicas=16, dims=(2, 8), rates=(0.02, 0.08))


@pytest.mark.parametrize("loss", [Hinge(), Logistic()])
def test_norms_are_those_of_sgd_step_by_step(loss):
    count, d, lr, steps = 2, 3, 0.05, 64
    norms = neuron_norms(d, torch.full((count,), lr), norm=2.0, loss=loss, steps=steps, seed=4)
    for replica in range(count):
        weights = Neuron((32,), 1, seed=4 + replica).output.weight.detach()[0, :d].double()
        weights = 2 * weights / weights.norm()
        for chunk in range(2):
            inputs, targets = gaussian_noise(4, chunk, count=count * 32, d=d)
            for x, target in zip(inputs.chunk(count)[replica], targets.chunk(count)[replica], strict=True):
                y = 2 * target[1] - 1
                margin = y * weights @ x
                slope = (margin <= 0).double() if isinstance(loss, Hinge) else torch.sigmoid(-margin)
                weights = weights + lr * slope * y * x
            assert float(norms[chunk + 1, replica]) == pytest.approx(float(weights.norm()), rel=1e-4)
    assert norms[0].tolist() == pytest.approx([2.0, 2.0])


@pytest.fixture(scope="module")
def checks():
    return {check.id: check for check in small(replicas=32)}


def test_what_theorem_2_says_is_measured(checks):
    assert failed(checks.values()) == set()
    assert len(checks) == 9
    slope = checks["T2-slope"]
    gaps = [abs(a - b) for a, b in zip(slope.curve.measured, slope.curve.predicted, strict=True)]
    assert max(gaps) < 0.05 * slope.curve.measured[0]
    assert "the slope is -0.00" in slope.note
    assert checks["T2-exponent-h-hinge"].curve.x == [0.02, 0.08]
    assert checks["T2-exponent-d-logistic"].curve.x == [2.0, 8.0]


def test_a_radius_beyond_the_start_is_not_applicable(checks):
    time = checks["T2-time-hinge"]
    assert not time.applicable and not time.holds
    assert math.isnan(time.measured)
    assert "exceeds the norm at the start" in time.note


def test_going_up_the_gradient_is_found(monkeypatch):
    monkeypatch.setattr(module, "Fused", FusedAscent)
    found = failed(small())
    assert found >= {"T2-slope", "T2-equilibrium-hinge", "T2-equilibrium-logistic", "T2-time-logistic"}


def test_a_rate_that_is_not_the_one_asked_for_is_found(monkeypatch):
    class Root(Fused):
        def __call__(self, stack, inputs, *, index, targets, rates):
            super().__call__(stack, inputs, index=index, targets=targets, rates=0.2 * rates.sqrt())

    monkeypatch.setattr(module, "Fused", Root)
    found = failed(small())
    assert found >= {"T2-slope", "T2-exponent-h-hinge", "T2-exponent-h-logistic"}
    assert "T2-exponent-d-hinge" not in found


def test_equilibria_that_are_off_by_a_quarter_are_found(monkeypatch):
    monkeypatch.setattr(module, "neuron_equilibrium", lambda *a, **k: 1.25 * neuron_equilibrium(*a, **k))
    assert failed(small()) == {"T2-equilibrium-hinge", "T2-equilibrium-logistic"}


def test_a_time_that_is_too_short_is_found(monkeypatch):
    monkeypatch.setattr(module, "neuron_bound", lambda *a, norm, loss: NeuronBound(30, 0.8 * norm))
    assert failed(small(d=16)) >= {"T2-time-hinge", "T2-time-logistic"}
