import pytest
import torch

from noisereg.metrics import ActivationSparsity, pool


def test_pooled_layers_equal_one_layer_with_all_their_units():
    generator = torch.Generator().manual_seed(0)
    activations, labels = torch.randn(14, 12, generator=generator), torch.randint(0, 3, (14,), generator=generator)
    activations[:, [1, 7]] = 0  # dead units on both sides
    left, right, both = (ActivationSparsity(num_classes=3) for _ in range(3))
    for metric, units in {left: slice(5), right: slice(5, 12), both: slice(12)}.items():
        metric.update(activations[:, units], labels)
    pooled, expected = pool([left, right]), both.compute()
    assert pooled.keys() == expected.keys()
    for key, value in pooled.items():
        torch.testing.assert_close(value, expected[key], rtol=1e-6, atol=1e-7)


def test_pooled_entropy_is_the_mean_over_live_units_and_nan_without_any():
    # By hand: the left layer has two dead units and one of 1 bit, the right one three of 0 bits, the last none alive.
    labels = torch.tensor([0, 1])
    layers = [torch.tensor([[0, 0, 1.0]] * 2), torch.tensor([[1.0, 1, 1], [0, 0, 0]]), torch.zeros(2, 5)]
    left, right, dead = (ActivationSparsity(num_classes=2) for _ in layers)
    for metric, activations in zip((left, right, dead), layers, strict=True):
        metric.update(activations, labels)
    assert pool([left, right, dead])["label_entropy"].item() == pytest.approx(1 / 4)
    assert left.label_entropy.isnan().tolist() == [True, True, False]
    assert pool([dead, dead])["label_entropy"].isnan()
