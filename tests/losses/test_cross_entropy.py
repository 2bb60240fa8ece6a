import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from noisereg.losses import CrossEntropy
from noisereg.noise import Corruption, Resample


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 1.0])
def test_smoothing_equals_the_label_smoothing_of_torch(p):
    """D9."""
    logits = torch.randn(16, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    labels = torch.arange(16) % 10
    target = Corruption(Resample(p=p, expected=True), num_classes=10, seed=0)(labels, draw=0, index=torch.arange(16))
    torch.testing.assert_close(
        CrossEntropy()(logits, target), cross_entropy(logits, labels, label_smoothing=p), rtol=0, atol=1e-12
    )


def test_one_output_is_binary_cross_entropy():
    logits = torch.tensor([[0.3], [-2.0], [4.0]], dtype=torch.float64)
    labels = torch.tensor([0, 1, 1])
    expected = binary_cross_entropy_with_logits(logits.squeeze(1), labels.double())
    torch.testing.assert_close(CrossEntropy()(logits, labels), expected)
