import torch
from torch.nn.functional import mse_loss, one_hot

from noisereg.losses import SquaredError


def test_several_outputs_are_compared_with_the_one_hot_label():
    logits = torch.randn(16, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    labels = torch.arange(16) % 5
    expected = mse_loss(logits, one_hot(labels, 5).double(), reduction="none").sum(dim=1)
    torch.testing.assert_close(SquaredError().per_sample(logits, labels), expected)


def test_an_error_that_is_near_zero_has_its_digits():
    logits = one_hot(torch.arange(10), 10) + torch.full((10, 10), 2.0**-20)
    assert SquaredError().per_sample(logits, torch.arange(10)).tolist() == [10 * 2.0**-40] * 10


def test_one_output_is_compared_with_minus_and_plus_one():
    assert SquaredError().per_class(torch.tensor([[0.5]])).tolist() == [[2.25, 0.25]]
