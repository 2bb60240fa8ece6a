import torch
from torch.nn.functional import binary_cross_entropy_with_logits as bce
from torch.nn.functional import one_hot

from noisereg.losses import Logistic


def test_ten_outputs_give_the_sum_of_ten_binary_cross_entropies():
    """Equation (3), D12."""
    logits = 5 * torch.randn(32, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    labels = torch.arange(32) % 10
    expected = bce(logits, one_hot(labels, 10).double(), reduction="none").sum(dim=1)
    torch.testing.assert_close(Logistic().per_sample(logits, labels), expected, rtol=1e-12, atol=1e-12)


def test_large_margins_lose_no_digits():
    # log(1 + exp(x)) = x + exp(-x) - ... : exp(-25) = 1.388794386496402e-11
    value = Logistic().phi(torch.tensor([-25.0], dtype=torch.float64))
    assert abs(value.item() / 1.388794386486758e-11 - 1) < 1e-10
