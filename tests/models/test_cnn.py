import pytest
import torch
from torch import nn

from noisereg.engine.stackable import why_not
from noisereg.models import CNN


@pytest.mark.parametrize("batch_norm", [False, True])
def test_the_layers_are_those_that_the_arguments_say(batch_norm):
    model = CNN((3, 9, 8), 4, channels=[5, 6, 7], hidden=11, act="gelu", batch_norm=batch_norm)
    assert [child.out_channels for child in model.children() if isinstance(child, nn.Conv2d)] == [5, 6, 7]
    assert sum(isinstance(child, nn.GELU) for child in model.children()) == 4
    assert sum(isinstance(child, nn.BatchNorm2d) for child in model.children()) == 3 * batch_norm
    assert model.linear.in_features == 7 and model(torch.zeros(2, 3, 9, 8)).shape == (2, 4)
    assert why_not(model, torch.randn(4, 3, 9, 8)) is None


def test_weights_are_a_function_of_the_seed():
    first, again, other = (CNN((1, 8, 8), 3, seed=seed).conv1.weight for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((60,), {}, r"input_shape must be \(channels, height, width\), got \(60,\)"),
        ((1, 3, 3), {}, "channels must halve images of 3 x 3, got 2"),
        ((1, 8, 8), {"channels": []}, "channels must be a whole number, at least 1, got 0"),
    ],
)
def test_arguments_out_of_range_are_errors(shape, options, message):
    with pytest.raises(ValueError, match=message):
        CNN(shape, 3, **options)
