import pytest
import torch

from noisereg.losses import Hinge


def test_hinge_is_torch_relu_of_the_margin_away_from_the_kink():
    outputs = torch.tensor([[0.3], [-2.0], [1.7]])
    labels = torch.tensor([1, 1, 0])
    assert Hinge(0.5).per_sample(outputs, labels).tolist() == pytest.approx([0.2, 2.5, 2.2])


@pytest.mark.parametrize(("kink", "slope"), [("right", -1.0), ("left", 0.0)])
def test_an_output_of_zero_is_updated_with_the_derivative_that_was_asked_for(kink, slope):
    output = torch.zeros(1, 1, requires_grad=True)
    Hinge(0.0, kink=kink)(output, torch.tensor([1])).backward()
    assert output.grad.item() == slope


@pytest.mark.parametrize("kink", ["right", "left"])
@pytest.mark.parametrize("outputs", [1, 3])
def test_a_network_that_gives_nan_has_no_loss_of_zero(outputs, kink):
    logits, loss = torch.full((2, outputs), torch.nan), Hinge(1.0, kink=kink)
    assert loss.per_sample(logits, torch.tensor([0, 1])).isnan().all()
    assert loss.slope(logits, torch.eye(max(outputs, 2))[:2]).isnan().all()


@pytest.mark.parametrize("beta", [-0.1, float("nan"), float("inf")])
def test_beta_out_of_range_is_refused(beta):
    with pytest.raises(ValueError, match="beta must be finite and at least 0"):
        Hinge(beta)


def test_unknown_kink_is_refused():
    with pytest.raises(ValueError, match="kink must be 'right' or 'left', got 'middle'"):
        Hinge(kink="middle")
