import pytest
import torch

from noisereg.losses import Hinge, Logistic
from noisereg.theory import one_step
from noisereg.theory.one_step import hidden_square_bound, neuron_square, verify_one_step


def test_the_square_of_a_neuron_is_that_of_the_vector_after_the_step():
    v, x = torch.tensor([1.0, -2.0, 0.5]), torch.tensor([3.0, 1.0, -1.0])  # V.x = 0.5
    assert neuron_square(v, x, y=-1, lr=0.25) == pytest.approx(float((v - 0.25 * x).square().sum()))


def test_the_bound_of_the_hidden_layer_is_met_where_all_neurons_fire():
    w, v, x = torch.tensor([[1.0, 2.0], [3.0, -1.0]]), torch.tensor([2.0, -0.5]), torch.tensor([1.0, 0.5])
    after = w - 0.1 * torch.outer(v, x)  # W x = (2, 2.5): N = 2.75, y = -1
    assert hidden_square_bound(w, v, x=x, y=-1, lr=0.1) == pytest.approx(float(after.square().sum()), rel=1e-6)


def test_the_bound_is_above_where_a_neuron_is_silent():
    w, v, x = torch.tensor([[1.0, 2.0], [-3.0, -1.0]]), torch.tensor([2.0, -0.5]), torch.tensor([1.0, 0.5])
    after = w - 0.1 * torch.outer(v * torch.tensor([1.0, 0.0]), x)
    gap = 0.1**2 * 0.5**2 * 1.25  # h^2 v_2^2 ||x||^2
    bound = hidden_square_bound(w, v, x=x, y=-1, lr=0.1)
    assert bound - float(after.square().sum()) == pytest.approx(gap, rel=1e-3)


def test_the_identities_and_the_bound_hold_on_steps_of_torch():
    checks = verify_one_step(seeds=20)
    assert [(check.id, check.holds, check.n) for check in checks] == [
        ("T1a", True, 20),
        ("T1b-output", True, 20),
        ("T1b-hidden", True, 20),
        ("T1b-rows", True, 20),
    ]


def test_single_rows_grow_in_about_half_of_the_cases():
    # a row that moves shrinks if its output weight has the sign of N, so somewhat more than half do
    (rows,) = (check for check in verify_one_step(seeds=50) if check.id == "T1b-rows")
    assert 0.3 < rows.measured < 0.5


def test_the_identities_are_those_of_the_hinge_loss_alone():
    assert [check.holds for check in verify_one_step(seeds=5, loss=Logistic())][:2] == [False, False]


def test_a_step_of_the_wrong_sign_fails(monkeypatch):
    monkeypatch.setattr(one_step.torch.optim.SGD, "step", climb)
    assert [check.holds for check in verify_one_step(seeds=5, loss=Hinge())][:3] == [False, False, False]


@torch.no_grad()
def climb(optimizer):
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.add_(parameter.grad, alpha=group["lr"])
