import numpy as np
import pytest
import torch

from noisereg.engine.sgd import Sgd


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_the_coefficients_are_those_of_as_many_steps_of_torch(decay, nesterov):
    sgd = Sgd(momentum=0.9, weight_decay=decay, nesterov=nesterov)
    weight = torch.nn.Parameter(torch.tensor(2.0, dtype=torch.float64))
    optimizer = torch.optim.SGD([weight], lr=0.1, **sgd._asdict())
    _, *rows = sgd.coefficients(np.array([0.1]))[0]
    gradients = [0.7, -0.4, 0.2, -0.9]
    for made, (a, _, c, _, _, _) in enumerate(rows, start=1):
        weight.grad = torch.tensor(gradients[made - 1], dtype=torch.float64)
        optimizer.step()
        left = [rows[made - step] for step in range(1, made + 1)]
        found = (
            2 + a * 2 + sum(row[4] * gradient for row, gradient in zip(left, gradients, strict=False)),
            c * 2 + sum(row[5] * gradient for row, gradient in zip(left, gradients, strict=False)),
        )
        assert found == pytest.approx((weight.item(), momentum_of(optimizer)))
    assert made == 4


@pytest.mark.parametrize("nesterov", [False, True])
def test_momenta_go_on_as_in_torch_without_a_gradient(nesterov):
    sgd = Sgd(momentum=0.9, weight_decay=0.3, nesterov=nesterov)
    weight = torch.nn.Parameter(torch.tensor(2.0, dtype=torch.float64))
    optimizer = torch.optim.SGD([weight], lr=0.1, **sgd._asdict())
    for gradient in (0.7, 0.0, 0.0, 0.0):
        weight.grad = torch.tensor(gradient, dtype=torch.float64)
        optimizer.step()
        if gradient:
            before = weight.item(), momentum_of(optimizer)
    a, b, c, d = sgd.coefficients(np.array([0.1]))[0, 3, :4]
    found = before[0] + a * before[0] + b * before[1], c * before[0] + d * before[1]
    assert found == pytest.approx((weight.item(), momentum_of(optimizer)))


def momentum_of(optimizer):
    (state,) = optimizer.state.values()
    return state["momentum_buffer"].item()


def test_no_step_is_the_identity():
    zeros = Sgd(momentum=0.9, weight_decay=0.3).coefficients(np.array([0.1, 0.2]))[:, 0]
    assert zeros.tolist() == [[0, 0, 0, 1, 0, 0]] * 2


def test_a_decay_below_the_precision_of_single_weights_is_kept():
    a = Sgd(weight_decay=1e-6).coefficients(np.array([1e-3])).astype(np.float32)[0, 1, 0]
    assert a == np.float32(-1e-9)
