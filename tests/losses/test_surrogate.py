import math

import pytest
import torch

from noisereg.losses import Hinge, Logistic

SURROGATES = [Logistic(), Hinge(0.0), Hinge(0.5), Hinge(2.0)]


@pytest.mark.parametrize("surrogate", SURROGATES, ids=lambda s: f"{type(s).__name__}{getattr(s, 'beta', '')}")
def test_phi_is_a_surrogate_of_the_0_1_loss(surrogate):
    """D6: increasing, convex, with a positive right derivative at 0."""
    xi = torch.linspace(-5, 5, 1001, dtype=torch.float64)
    differences = surrogate.phi(xi).diff()
    assert (differences >= -1e-15).all()
    assert (differences.diff() >= -1e-12).all()
    assert surrogate.phi(torch.tensor([1e-6], dtype=torch.float64)) > surrogate.phi(torch.zeros(1, dtype=torch.float64))


@pytest.mark.parametrize(("surrogate", "slope"), [(Logistic(), 0.5), (Hinge(0.0), 1.0), (Hinge(1.0), 1.0)])
def test_derivative_of_phi_at_zero(surrogate, slope):
    xi = torch.zeros(1, requires_grad=True)
    assert torch.autograd.grad(surrogate.phi(xi).sum(), xi)[0].item() == slope


def test_one_output_gives_phi_of_minus_y_times_n():
    outputs = torch.tensor([[0.3], [-2.0]])
    expected = torch.log1p(torch.exp(torch.tensor([[0.3, -0.3], [-2.0, 2.0]])))  # y = -1, then y = +1
    torch.testing.assert_close(Logistic().per_class(outputs), expected)


@pytest.mark.parametrize("surrogate", SURROGATES, ids=lambda s: f"{type(s).__name__}{getattr(s, 'beta', '')}")
def test_the_loss_of_a_label_has_the_bits_of_its_entry_among_all_classes(surrogate):
    outputs = torch.tensor([*torch.linspace(-200, 200, 101).tolist(), torch.inf, -torch.inf, torch.nan])[:, None]
    for label in (0, 1):
        labels = torch.full((len(outputs),), label)
        expected = surrogate.per_class(outputs)[:, label]
        torch.testing.assert_close(surrogate.per_sample(outputs, labels), expected, rtol=0, atol=0, equal_nan=True)


def test_a_loss_that_is_near_zero_has_its_digits():
    logits = torch.full((1, 10), -20.0).index_fill(1, torch.tensor([3]), 15.0)
    expected = math.log1p(math.exp(-15)) + 9 * math.log1p(math.exp(-20))
    assert Logistic().per_sample(logits, torch.tensor([3])).item() == pytest.approx(expected, rel=1e-6)


class Weighted(Logistic):
    """Errors on class 1 count five times."""

    def per_class(self, logits):
        weights = torch.ones(max(2, logits.shape[1])).index_fill(0, torch.tensor([1]), 5.0)
        return super().per_class(logits) * weights


@pytest.mark.parametrize("outputs", [1, 2, 3])
def test_the_loss_of_a_label_is_that_of_a_derived_class(outputs):
    losses = Weighted().per_sample(torch.zeros(2, outputs), torch.tensor([0, 1]))
    torch.testing.assert_close(losses, outputs * math.log(2) * torch.tensor([1.0, 5.0]))


@pytest.mark.parametrize("label", [-1, 2])
@pytest.mark.parametrize("loss", [Logistic(), Hinge()])
def test_a_label_of_no_class_is_no_label_of_the_first_one(loss, label):
    with pytest.raises(RuntimeError, match="out of bounds"):
        loss.per_sample(torch.zeros(2, 1), torch.tensor([0, label]))
