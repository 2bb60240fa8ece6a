import pytest
import torch

from noisereg.losses import Hinge, Logistic
from noisereg.theory.perceptron import check_perceptron, draw_separable, train_perceptron, verify_perceptron

SMALL = {"n": 30, "d": 6, "margin": 0.3, "lr": 0.1}


def test_separable_points_keep_their_distance_from_the_diagonal_plane():
    inputs, labels = draw_separable(50, 4, margin=0.25, seed=3)
    side = inputs.sum(dim=1) / 2  # the plane's unit normal is (1, 1, 1, 1) / 2
    assert (side.abs() >= 0.25 - 1e-12).all()
    assert torch.equal(side > 0, labels == 1)


def test_a_perceptron_makes_the_mistakes_that_a_hand_count_finds():
    inputs = torch.tensor([[1.0, 0.0], [-1.0, 0.5]], dtype=torch.float64)
    # from zero: (1, 0) is on the plane and counts as wrong, V = (1, 0); (-1, 0.5) with label 0 is right
    assert train_perceptron(inputs, torch.tensor([1, 0]), loss=Hinge(), lr=1.0).number == 1


@pytest.mark.parametrize("lr", [0.01, 1.0])
def test_the_number_of_mistakes_does_not_depend_on_the_learning_rate(lr):
    inputs, labels = draw_separable(40, 5, margin=0.2, seed=1)
    mistakes = train_perceptron(inputs, labels, loss=Hinge(), lr=lr)
    assert mistakes.number == train_perceptron(inputs, labels, loss=Hinge(), lr=0.3).number
    assert 0 < mistakes.number <= mistakes.bound


def test_the_slides_rules_hold_for_the_hinge_loss():
    checks = verify_perceptron(seeds=5, **SMALL)
    assert [check.id for check in checks] == ["S1", "S2", "S9"]
    assert all(check.holds for check in checks)


@pytest.mark.parametrize("loss", [Logistic(), Hinge(beta=1.0)])
def test_the_slides_rules_fail_for_another_loss(loss):
    one, two, _ = check_perceptron(loss, range(5), **SMALL)
    assert not one.holds
    assert not two.holds


def test_the_bound_fails_for_a_step_in_the_wrong_direction():
    class Backwards(Hinge):
        def slope(self, logits, target):
            return -super().slope(logits, target)

    *_, bound = check_perceptron(Backwards(), range(5), **SMALL)
    assert not bound.holds
