import pytest
import torch
from torch import nn

from noisereg.metrics import eval_mode


def test_batch_norm_and_dropout_are_those_of_evaluation_within_and_each_has_its_own_mode_after():
    net = nn.Sequential(nn.BatchNorm1d(2), nn.Dropout(0.5), nn.BatchNorm1d(2).eval())
    inputs = torch.tensor([[1.0, 2.0], [3.0, 6.0]])
    with eval_mode(net):
        outputs = net(inputs)
    # fresh statistics are mean 0 and variance 1, and eps is added to the variance, by each of the two
    torch.testing.assert_close(outputs, inputs / (1 + 1e-5))
    assert torch.equal(net[0].running_mean, torch.zeros(2))
    assert [part.training for part in net.modules()] == [True, True, True, False]


def test_the_modes_come_back_after_an_error():
    net = nn.Sequential(nn.Dropout())
    with pytest.raises(KeyError), eval_mode(net):
        raise KeyError
    assert net.training and net[0].training
