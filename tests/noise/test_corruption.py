import pytest
import scipy.stats
import torch

from noisereg.noise import Corruption, Flip, NoNoise, Resample, Transition, sample

CIFAR_MOVES = {9: 1, 2: 0, 3: 5, 5: 3, 4: 7}


def _random_matrix(num_classes: int) -> list[list[float]]:
    weights = torch.rand(num_classes, num_classes, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return (weights / weights.sum(dim=1, keepdim=True)).tolist()


def _rule(name: str, num_classes: int, p: float):
    moves = {source % num_classes: goal % num_classes for source, goal in CIFAR_MOVES.items()}
    return {
        "none": lambda: NoNoise(p=p),
        "resample": lambda: Resample(p=p),
        "flip": lambda: Flip(p=p),
        "moves": lambda: Transition(p=p, moves=moves),
        "matrix": lambda: Transition(p=p, matrix=_random_matrix(num_classes)),
    }[name]()


@pytest.mark.parametrize("name", ["none", "resample", "flip", "moves", "matrix"])
@pytest.mark.parametrize("num_classes", [2, 10, 100])
@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 1.0])
def test_a_million_labels_follow_the_transition_matrix(name, num_classes, p):
    """D2: chi-square of the counts of (label, corrupted label) against T; cells of probability 0 stay empty."""
    rule = _rule(name, num_classes, p)
    index = torch.arange(1_000_000)
    labels = index % num_classes
    corrupted = Corruption(rule, num_classes=num_classes, seed=7)(labels, draw=0, index=index)
    counts = torch.bincount(labels * num_classes + corrupted, minlength=num_classes**2).double()
    expected = rule.transition(num_classes).flatten() * len(index) / num_classes
    assert counts[expected == 0].sum() == 0
    possible = expected > 0
    statistic = ((counts - expected).square()[possible] / expected[possible]).sum()
    freedom = int(possible.sum()) - num_classes
    assert scipy.stats.chi2.sf(statistic.item(), freedom) > 1e-5 if freedom else statistic == 0


@pytest.mark.parametrize("rule", [Resample(p=0.5), Flip(p=0.3), Resample(p=0.5, frozen=True)])
def test_the_target_of_a_sample_does_not_depend_on_batch_size_or_order(rule):
    corruption = Corruption(rule, num_classes=10, seed=3)
    labels = torch.arange(600) % 10
    whole = corruption(labels, draw=4, index=torch.arange(600))
    order = torch.randperm(600, generator=torch.Generator().manual_seed(0))
    for size in (1, 7, 128):
        for part in order.split(size):
            assert torch.equal(corruption(labels[part], draw=4, index=part), whole[part])


def test_epochs_and_seeds_are_independent_and_frozen_noise_is_the_same_in_every_epoch():
    index = torch.arange(100_000)
    labels = torch.zeros_like(index)
    fresh = [
        Corruption(Resample(p=1.0), num_classes=10, seed=s)(labels, draw=e, index=index)
        for s, e in [(0, 0), (0, 1), (1, 0)]
    ]
    for a, b in [(0, 1), (0, 2)]:
        agreement = (fresh[a] == fresh[b]).double().mean().item()
        assert abs(agreement - 0.1) < 5 * (0.1 * 0.9 / 100_000) ** 0.5
    frozen = Corruption(Resample(p=1.0, frozen=True), num_classes=10, seed=0)
    assert torch.equal(frozen(labels, draw=0, index=index), frozen(labels, draw=9, index=index))


def test_full_strength_makes_the_target_independent_of_the_label():
    """D3: at p = 1 the table of labels against targets shows no dependence."""
    index = torch.arange(200_000)
    labels = index % 10
    targets = Corruption(Resample(p=1.0), num_classes=10, seed=0)(labels, draw=0, index=index)
    table = torch.bincount(labels * 10 + targets, minlength=100).reshape(10, 10)
    assert scipy.stats.chi2_contingency(table.numpy()).pvalue > 1e-4


def test_a_greater_strength_redraws_the_same_samples_to_the_same_labels_and_more():
    index = torch.arange(50_000)
    labels = index % 10
    weak, strong = (Corruption(Flip(p=p), num_classes=10, seed=0)(labels, draw=0, index=index) for p in (0.1, 0.4))
    changed = weak != labels
    assert torch.equal(strong[changed], weak[changed])
    assert (strong != labels).sum() > 3 * changed.sum()


def test_labels_are_not_written_to():
    labels = torch.zeros(100, dtype=torch.int64)
    Corruption(Flip(p=1.0), num_classes=2, seed=0)(labels, draw=0, index=torch.arange(100))
    assert (labels == 0).all()


def test_expected_mode_gives_the_rows_of_the_transition_matrix():
    rule = Flip(p=0.3, expected=True)
    labels = torch.tensor([2, 0])
    targets = Corruption(rule, num_classes=4, seed=0)(labels, draw=0, index=torch.arange(2))
    assert torch.equal(targets, rule.transition(4)[labels])


def test_a_tensor_of_strengths_gives_each_replica_its_own():
    index = torch.arange(1000).expand(3, 1000)
    labels = torch.zeros(3, 1000, dtype=torch.int64)
    law = Flip(p=1.0).redraw_law(2).cumsum(dim=1)
    strengths = torch.tensor([[0.0], [0.2], [1.0]], dtype=torch.float64)
    rows = sample(labels, p=strengths, cumulative=law, seed=0, draw=0, index=index)
    for row, p in zip(rows, (0.0, 0.2, 1.0), strict=True):
        assert torch.equal(row, Corruption(Flip(p=p), num_classes=2, seed=0)(labels[0], draw=0, index=index[0]))


def test_one_class_is_refused():
    with pytest.raises(ValueError, match="num_classes must be at least 2, got 1"):
        Corruption(Resample(p=0.1), num_classes=1, seed=0)
