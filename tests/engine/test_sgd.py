import numpy as np
import pytest
import torch

from noisereg.engine.sgd import Sgd


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_the_coefficients_are_those_of_two_steps_of_torch(decay, nesterov):
    sgd = Sgd(momentum=0.9, weight_decay=decay, nesterov=nesterov)
    weight = torch.nn.Parameter(torch.tensor(2.0, dtype=torch.float64))
    optimizer = torch.optim.SGD([weight], lr=0.1, **sgd._asdict())
    first, second = 0.7, -0.4
    weight.grad = torch.tensor(first, dtype=torch.float64)
    optimizer.step()
    _, one, two = sgd.coefficients(np.array([0.1]))[0]
    a, _, c, _, e, f, g, h = one
    assert (2 + a * 2 + e * first, c * 2 + f * first) == pytest.approx((weight.item(), momentum_of(optimizer)))
    assert (g, h) == (0, 0)
    weight.grad = torch.tensor(second, dtype=torch.float64)
    optimizer.step()
    a, _, c, _, e, f, g, h = two
    found = 2 + a * 2 + e * first + g * second, c * 2 + f * first + h * second
    assert found == pytest.approx((weight.item(), momentum_of(optimizer)))


def momentum_of(optimizer):
    (state,) = optimizer.state.values()
    return state["momentum_buffer"].item()


def test_no_step_is_the_identity():
    zeros = Sgd(momentum=0.9, weight_decay=0.3).coefficients(np.array([0.1, 0.2]))[:, 0]
    assert zeros.tolist() == [[0, 0, 0, 1, 0, 0, 0, 0]] * 2


def test_a_decay_below_the_precision_of_single_weights_is_kept():
    a = Sgd(weight_decay=1e-6).coefficients(np.array([1e-3])).astype(np.float32)[0, 1, 0]
    assert a == np.float32(-1e-9)
