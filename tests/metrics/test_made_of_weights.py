import torch
from torch import nn

from noisereg.metrics.made_of_weights import MadeOfWeights


def test_weights_buffers_and_what_is_made_of_them_are_told_from_what_inputs_made():
    norm, inputs = nn.BatchNorm1d(3), torch.ones(2, 3)
    made = MadeOfWeights(norm)
    assert made.holds([norm.weight, norm.running_mean, 2.0])
    assert not made.holds([]) and not made.holds([2.0]) and not made.holds([norm.weight, inputs])
    first, second = (norm.weight * 2).chunk(2)
    assert made.note([norm.weight, 2], (first, second))
    assert made.holds([first, second]) and not made.holds([first.clone()])
    made.clear()
    assert not made.holds([first])


def test_what_is_written_to_is_no_longer_made_of_weights():
    norm, inputs = nn.BatchNorm1d(3), torch.randn(2, 3)
    made = MadeOfWeights(norm)
    norm.running_mean.copy_(inputs[0])
    assert not made.holds([norm.running_mean])
    twice = norm.weight.detach() * 2
    assert made.note([norm.weight, 2], twice)
    assert not made.note([twice, 0, inputs], None)  # twice[0] = inputs
    assert not made.holds([twice])
