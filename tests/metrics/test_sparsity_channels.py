"""Channels of convolutions, as wholes."""

import pickle

import pytest
import torch
from torch import nn

from noisereg.metrics import ActivationSparsity


def _images():
    """Two samples of three channels of 1 x 2 positions: one fires at half of them, one never, one once."""
    return torch.tensor([[[[1.0, 0]], [[0, 0]], [[0, 0]]], [[[0, 2.0]], [[0, 0]], [[0, 3.0]]]])


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_channels_counted_by_hand_are_the_same_in_any_layout(layout):
    sparsity = ActivationSparsity()
    sparsity.update(_images().contiguous(memory_format=layout))
    assert sparsity.fires.tolist() == [[1, 1, 0, 0, 0, 1]]
    assert sparsity.unit_shape.tolist() == [3, 1, 2]
    assert sparsity.channel_firing_rate.tolist() == [0.5, 0, 0.25]
    assert sparsity.dead_channels.tolist() == [False, True, False]


def test_channels_are_those_of_a_convolution_in_torch():
    torch.manual_seed(0)
    with torch.no_grad():
        outputs = nn.Conv2d(3, 8, 3)(torch.randn(5, 3, 6, 7)).sub(0.8).relu()
    outputs[:, 2] = 0
    sparsity = ActivationSparsity()
    for part in outputs.split(2):
        sparsity.update(part)
    torch.testing.assert_close(sparsity.channel_firing_rate, (outputs > 0).float().mean(dim=(0, 2, 3)))
    assert sparsity.dead_channels.tolist() == (outputs.amax(dim=(0, 2, 3)) == 0).tolist()


def test_the_shape_of_the_units_is_kept_by_merging_and_forgotten_by_reset():
    sparsity, merged = ActivationSparsity(), ActivationSparsity()
    sparsity.update(_images())
    merged.merge_state(sparsity)
    assert merged.dead_channels.tolist() == [False, True, False]
    assert pickle.loads(pickle.dumps(merged)).channel_firing_rate.tolist() == [0.5, 0, 0.25]
    assert sparsity.gathered().unit_shape.tolist() == [3, 1, 2]
    merged.reset()
    merged.update(torch.ones(1, 6))
    assert merged.unit_shape.tolist() == [6]


@pytest.mark.parametrize("shape", [(6,), (2, 3), (1, 2, 3, 1)])
@pytest.mark.parametrize("name", ["channel_firing_rate", "dead_channels"])
def test_units_without_channels_are_said_to_have_none(shape, name):
    sparsity = ActivationSparsity()
    sparsity.update(torch.ones(2, *shape))
    assert not sparsity.has_channels
    with pytest.raises(ValueError, match=r"need activations \(batch, C, H, W\), got units \(" + str(shape[0])):
        getattr(sparsity, name)
