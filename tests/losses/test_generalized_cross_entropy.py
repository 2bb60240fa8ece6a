import pytest
import torch

from noisereg.losses import CrossEntropy, GeneralizedCrossEntropy


def _logits() -> torch.Tensor:
    return torch.randn(16, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_q_one_is_one_minus_the_probability_of_the_label():
    expected = 1 - torch.softmax(_logits(), dim=1)
    torch.testing.assert_close(GeneralizedCrossEntropy(1.0).per_class(_logits()), expected)


def test_small_q_tends_to_cross_entropy():
    torch.testing.assert_close(
        GeneralizedCrossEntropy(1e-9).per_class(_logits()), CrossEntropy().per_class(_logits()), rtol=1e-7, atol=0
    )


@pytest.mark.parametrize("q", [0.0, -0.5, 1.1, float("nan")])
def test_q_out_of_range_is_refused(q):
    with pytest.raises(ValueError, match=r"q must be in \(0, 1\]"):
        GeneralizedCrossEntropy(q)
