import math

import scipy.stats
import torch

from noisereg.theory.pure_noise import gaussian_noise


def test_inputs_are_standard_normal():
    inputs, _ = gaussian_noise(1, 2, count=20_000, d=5)
    assert scipy.stats.kstest(inputs.flatten().numpy(), "norm").pvalue > 1e-4


def test_labels_are_fair_and_know_nothing_of_the_inputs():
    inputs, targets = gaussian_noise(1, 2, count=20_000, d=5)
    assert torch.equal(targets.sum(dim=1), torch.ones(20_000).double())
    assert set(targets.unique().tolist()) == {0.0, 1.0}
    assert abs(targets[:, 1].mean() - 0.5) < 5 / (2 * math.sqrt(20_000))
    signed = inputs * (2 * targets[:, 1:] - 1)
    assert signed.mean(dim=0).abs().max() < 5 / math.sqrt(20_000)


def test_chunks_and_seeds_have_samples_of_their_own():
    drawn = [gaussian_noise(*name, count=3, d=2)[0] for name in ((0, 0), (0, 1), (1, 0), (0, 0))]
    assert torch.equal(drawn[0], drawn[3])
    assert not torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])
