import pytest
import torch

from noisereg.losses import Hinge
from noisereg.metrics import predictions


def test_predictions_are_the_sign_of_one_output_or_the_greatest_of_several():
    assert predictions(torch.tensor([[-1.0], [0.5]])).tolist() == [0, 1]
    assert predictions(torch.tensor([[1.0, 3.0, 2.0], [5.0, 0.0, 0.0]])).tolist() == [1, 0]


@pytest.mark.parametrize("output", [0.0, -0.0, torch.nan])
def test_an_output_without_a_sign_is_a_mistake_for_either_label_as_to_the_hinge_loss(output):
    logits, labels = torch.full((2, 1), output, requires_grad=True), torch.tensor([0, 1])
    assert (predictions(logits) != labels).all()
    if output == 0:
        (slope,) = torch.autograd.grad(Hinge().per_sample(logits, labels).sum(), logits)
        assert slope.tolist() == [[1.0], [-1.0]]


def test_outputs_of_which_one_is_nan_are_no_class():
    logits = torch.tensor([[torch.nan] * 3, [0.0, torch.nan, 9.0], [0.0, torch.inf, 9.0], [2.0, 2.0, -torch.inf]])
    assert predictions(logits).tolist() == [-1, -1, 1, 0]


def test_an_empty_batch_has_no_predictions():
    assert predictions(torch.zeros(0, 1)).shape == predictions(torch.zeros(0, 3)).shape == (0,)
