import math

import pytest
import torch

from noisereg.models import TwoLayer
from noisereg.theory.bias_drift import bias_steps, verify_bias_drift


def test_the_step_is_the_mean_over_both_labels():
    model = TwoLayer((2,), 1, hidden=3, seed=0).double()
    x = torch.tensor([[0.5, -1.5]], dtype=torch.float64)
    changes = []
    for y in (-1.0, 1.0):
        model.zero_grad()
        torch.nn.functional.softplus(-y * model(x)).sum().backward()
        changes.append(-model.hidden.bias.grad)
    assert torch.allclose(bias_steps(model, x), (changes[0] + changes[1]) / 2)


def test_a_single_neuron_falls_whatever_its_sign():
    model = TwoLayer((1,), 1, hidden=1, seed=0).double()
    for sign in (-1.0, 1.0):
        torch.nn.init.ones_(model.hidden.weight)
        torch.nn.init.constant_(model.output.weight, 3 * sign)
        assert float(bias_steps(model, torch.tensor([[2.0], [-2.0]]).double())) == pytest.approx(
            -1.5 * math.tanh(3) / 2
        )


def test_biases_fall_on_average_and_not_each():
    mean, each = verify_bias_drift(networks=5, samples=1000)
    assert mean.holds and mean.measured < -0.01
    assert not each.holds and 0.5 < each.measured < 0.7
