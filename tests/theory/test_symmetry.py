import math

import pytest
import torch
from theory.ascent import failed

from noisereg.losses import Hinge
from noisereg.models import TwoLayer
from noisereg.theory import symmetry as module
from noisereg.theory.pure_noise import gaussian_noise
from noisereg.theory.symmetry import check_half_active, verify_half_active


def test_five_standard_errors_are_allowed():
    bound = 5 / 20  # of 100 samples, each of which has a standard deviation of at most 1/2
    assert check_half_active([0.5, 0.5 + bound], num_samples=100).holds
    assert not check_half_active([0.5, 0.5 - bound - 1e-6], num_samples=100).holds


def test_nan_is_not_half():
    assert not check_half_active([math.nan, 0.5], num_samples=1).holds


def test_nothing_measured_is_refused():
    with pytest.raises(ValueError, match="must be at least one each, got 0 and 3"):
        check_half_active([], num_samples=3)
    with pytest.raises(ValueError, match="got 1 and 0"):
        check_half_active([0.5], num_samples=0)


@pytest.mark.parametrize("loss", [None, Hinge()])
def test_half_of_the_neurons_stay_active_without_bias(loss):
    assert failed(verify_half_active(steps=500, loss=loss)) == set()


def test_a_bias_is_found(monkeypatch):
    monkeypatch.setattr(module, "TwoLayer", lambda *a, **k: TwoLayer(*a, **k | {"bias": "zero"}))
    assert failed(verify_half_active(d=5, lr=0.2, steps=2000)) == {"X8-pairs", "X8-half"}


def test_inputs_that_are_not_symmetric_are_found(monkeypatch):
    def positive(*args, **kwargs):
        inputs, targets = gaussian_noise(*args, **kwargs)
        return inputs.abs(), targets

    monkeypatch.setattr(module, "gaussian_noise", positive)
    checks = verify_half_active(d=5, hidden=8, lr=0.2, steps=500)
    assert failed(checks) == {"X8-half"}  # a neuron still fires at one of x and -x
    assert isinstance(checks[0].measured, float) and torch.tensor(checks[0].measured) == 0
