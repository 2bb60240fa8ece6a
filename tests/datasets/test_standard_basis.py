import scipy.stats
import torch

from noisereg.datasets import StandardBasis


def test_inputs_are_basis_vectors_each_equally_often():
    inputs = StandardBasis(d=30, train_size=30_000).epoch_samples(1).inputs
    assert torch.equal(inputs.sum(dim=1), torch.ones(30_000))
    assert torch.equal(inputs.max(dim=1).values, torch.ones(30_000))
    assert scipy.stats.chisquare(inputs.sum(dim=0).numpy()).pvalue > 1e-4


def test_both_evaluated_splits_are_the_basis_itself():
    data = StandardBasis(d=30)
    data.setup()
    for split in data.splits.values():
        assert torch.equal(split.inputs, torch.eye(30))
        assert split.labels.shape == (30,)
