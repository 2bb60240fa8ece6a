import math

import pytest
import scipy.stats
import torch

from noisereg.datasets import Gaussian


def test_inputs_are_standard_normal_and_uncorrelated():
    inputs = Gaussian(d=5, train_size=50_000).epoch_samples(2).inputs.double()
    for column in inputs.T:
        assert scipy.stats.kstest(column.numpy(), "norm").pvalue > 1e-4
    assert torch.corrcoef(inputs.T).triu(1).abs().max() < 5 / math.sqrt(50_000)


def test_evaluation_is_on_epoch_zero_and_on_a_fixed_sample_apart_from_it():
    data = Gaussian(d=3, train_size=20, test_size=10)
    data.setup()
    assert torch.equal(data.splits["train"].inputs, data.epoch_samples(0).inputs)
    test = data.splits["test"]
    assert test.inputs.shape == (10, 3)
    assert not (test.inputs == data.epoch_samples(0).inputs[:10]).any()
    again = Gaussian(d=3, test_size=10)
    again.setup()
    assert torch.equal(again.splits["test"].inputs, test.inputs)


def test_test_size_must_be_positive():
    with pytest.raises(ValueError, match=r"^test_size must be a whole number, at least 1, got 0"):
        Gaussian(test_size=0)
