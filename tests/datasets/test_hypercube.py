import math

import pytest
import scipy.stats
import torch

from noisereg.datasets import Hypercube


def load(**settings):
    data = Hypercube(**settings)
    data.setup()
    return data.splits["train"], data.splits["test"]


def test_points_lie_on_the_surface_of_their_label():
    for split in load(d=60, eps=0.3):
        norms = split.inputs.abs().amax(dim=1)
        assert torch.equal(norms, torch.tensor([0.7, 1.0])[split.labels])


def test_default_sizes_are_those_of_the_paper():
    train, test = load()
    assert train.inputs.shape == (240, 60)
    assert test.inputs.shape == (10_000, 60)
    assert train.inputs.dtype == torch.float32


def test_a_point_is_uniform_on_the_surface_of_its_cube():
    # The largest coordinate is any of the d with either sign; the others are uniform on [-1, 1] times the radius.
    _, test = load(d=4, eps=0.25, test_size=100_000)
    points = test.inputs / torch.tensor([0.75, 1.0])[test.labels][:, None]
    face = points.abs().argmax(dim=1, keepdim=True)
    sign = points.gather(1, face).gt(0).long()
    assert scipy.stats.chisquare(torch.bincount((2 * face + sign).flatten(), minlength=8).numpy()).pvalue > 1e-4
    inside = torch.ones_like(points, dtype=torch.bool).scatter(1, face, False)
    rest = points[inside].view(-1, 3)
    for column in rest.T:
        assert scipy.stats.kstest(column.numpy(), scipy.stats.uniform(-1, 2).cdf).pvalue > 1e-4
    assert torch.corrcoef(rest.T).triu(1).abs().max() < 5 / math.sqrt(100_000)


def test_labels_are_balanced_by_chance_only():
    counts = torch.tensor([load(d=2, train_size=240, seed=seed)[0].labels.sum().item() for seed in range(200)])
    assert abs(counts.double().mean() - 120) < 5 * math.sqrt(60 / 200)
    z = (counts - 120) / math.sqrt(60)
    assert abs(z.var() - 1) < 5 * math.sqrt(2 / 200)


def test_labels_do_not_depend_on_the_direction():
    _, test = load(d=3, test_size=100_000)
    right = test.inputs[:, 0] > 0
    difference = test.labels[right].double().mean() - test.labels[~right].double().mean()
    assert abs(difference) < 5 * math.sqrt(1 / 100_000)


def test_train_and_test_and_seeds_share_no_points():
    train, test = load(test_size=240)
    other, _ = load(seed=1)
    assert not (train.inputs == test.inputs).all(dim=1).any()
    assert not (train.inputs == other.inputs).all(dim=1).any()


def test_a_larger_split_begins_with_a_smaller_one():
    small, _ = load(train_size=10)
    large, _ = load(train_size=30)
    assert torch.equal(large.inputs[:10], small.inputs)
    assert torch.equal(large.labels[:10], small.labels)


@pytest.mark.parametrize("eps", [0.0, 1.0, -0.1, float("nan")])
def test_eps_must_lie_between_the_cubes(eps):
    with pytest.raises(ValueError, match=rf"^eps must be in \(0, 1\), got {eps}"):
        Hypercube(eps=eps)


@pytest.mark.parametrize("key", ["d", "train_size", "test_size"])
def test_sizes_must_be_positive(key):
    with pytest.raises(ValueError, match=f"^{key} must be a whole number, at least 1, got 0"):
        Hypercube(**{key: 0})
