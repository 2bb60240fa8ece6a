import dataclasses

import pytest
import scipy.stats
import torch

from noisereg.noise import Corruption, Flip, NoNoise, Resample, Transition

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


def test_one_class_is_refused():
    with pytest.raises(ValueError, match="num_classes must be at least 2, got 1"):
        Corruption(Resample(p=0.1), num_classes=1, seed=0)


FUNNEL = [[0.5, 0.5, 0.0], [0.0, 0.25, 0.75], [1.0, 0.0, 0.0]]
MAKERS = {
    "none": NoNoise,
    "resample": Resample,
    "flip": Flip,
    "moves": lambda **options: Transition(moves={1: 0}, **options),
    "matrix": lambda **options: Transition(matrix=FUNNEL, **options),
}
MODES = [{}, {"frozen": True}, {"expected": True}]
STRENGTHS = [0.0, 0.1, 0.4, 0.4, 1.0]
SEEDS = [3, 2**63 - 1, 3, 0, 3]
DRAW = torch.tensor([0, 0, 1, 5, 7, 7]).repeat_interleave(50)


@pytest.fixture
def chunk():
    """Clean labels and indices, (5, 300), equal where the seeds are."""
    index = torch.stack([torch.randint(1000, (300,), generator=torch.Generator().manual_seed(s % 97)) for s in SEEDS])
    return index % 3, index


def rules(make, **options):
    return [make(p=p, **options) for p in STRENGTHS]


def alone(rule, seed, labels, index, *, draw=DRAW):
    return Corruption(rule, num_classes=3, seed=seed)(labels, draw, index)


@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_each_replica_has_the_targets_of_its_rule_and_seed_alone(make, mode, chunk):
    labels, index = chunk
    targets = Corruption(rules(make, **mode), seed=SEEDS, num_classes=3)(labels, DRAW, index)
    for r, rule in enumerate(rules(make, **mode)):
        assert torch.equal(targets[r], alone(rule, SEEDS[r], labels[r], index[r]))


@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_a_factor_of_each_draw_is_that_of_the_scaled_rule(make, mode, chunk):
    labels, index = chunk
    factors = torch.tensor([0.0, 0.3, 0.7, 1.0], dtype=torch.float64)
    factor = factors.repeat(75)
    targets = Corruption(rules(make, **mode), seed=SEEDS, num_classes=3)(labels, DRAW, index, factor=factor)
    for r, rule in enumerate(rules(make, **mode)):
        for value in factors.tolist():
            mine = factor == value
            expected = alone(
                dataclasses.replace(rule, p=rule.p * value), SEEDS[r], labels[r, mine], index[r, mine], draw=DRAW[mine]
            )
            assert torch.equal(targets[r, mine], expected)
            single = Corruption(rule, num_classes=3, seed=SEEDS[r])(labels[r], DRAW, index[r], factor=factor)
            assert torch.equal(single[mine], expected)


@pytest.mark.parametrize("make", [Resample, Flip])
def test_what_a_small_strength_changes_a_greater_one_of_that_seed_changes_to_the_same(make):
    strengths = [0.0, 0.1, 0.3, 0.8]
    index = torch.arange(20_000).expand(4, -1)
    labels = index % 10
    stacked = Corruption([make(p=p) for p in strengths], seed=[5] * 4, num_classes=10)
    targets = stacked(labels, torch.zeros(20_000, dtype=torch.int64), index)
    changed = targets != labels
    assert not changed[0].any()
    for weak, strong in zip(range(3), range(1, 4), strict=True):
        assert torch.equal(targets[strong][changed[weak]], targets[weak][changed[weak]])
        assert changed[strong].sum() > 2 * changed[weak].sum()


def test_seeds_have_draws_of_their_own():
    index = torch.arange(10_000).expand(2, -1)
    stacked = Corruption([Resample(p=1.0)] * 2, seed=[0, 1], num_classes=10)
    first, second = stacked(torch.zeros_like(index), torch.zeros(10_000, dtype=torch.int64), index)
    agreement = (first == second).double().mean().item()
    assert abs(agreement - 0.1) < 5 * (0.1 * 0.9 / 10_000) ** 0.5


def test_labels_of_replicas_are_not_written_to(chunk):
    labels, index = chunk
    before = labels.clone()
    targets = Corruption(rules(Flip), seed=SEEDS, num_classes=3)(labels, DRAW, index)
    targets.fill_(7)
    assert torch.equal(labels, before)


def test_the_effective_rate_is_that_of_each_strength():
    # p (C - 1) / C for resampling, by hand
    rate = Corruption(rules(Resample), seed=SEEDS, num_classes=10).effective_rate()
    assert rate.tolist() == pytest.approx([0.0, 0.09, 0.36, 0.36, 0.9])
    assert Corruption(Resample(p=0.4), num_classes=10, seed=0).effective_rate().item() == pytest.approx(0.36)


@pytest.mark.parametrize(
    "other",
    [
        Flip(p=0.1),
        Resample(p=0.1, frozen=True),
        Resample(p=0.1, expected=True),
    ],
)
def test_rules_that_differ_in_more_than_p_are_refused(other):
    with pytest.raises(ValueError, match=r"the rules of a stack must differ in p alone, got Resample.* and "):
        Corruption([Resample(p=0.1), other], seed=[0, 1], num_classes=2)


def test_matrices_that_differ_are_refused():
    rule = Transition(p=0.1, matrix=FUNNEL)
    with pytest.raises(ValueError, match="must differ in p alone"):
        Corruption([rule, dataclasses.replace(rule, matrix=FUNNEL[::-1])], seed=[0, 1], num_classes=3)


def test_as_many_seeds_as_rules_are_needed():
    with pytest.raises(ValueError, match=r"seed must be in \[0, 2\*\*63\), got -1"):
        Corruption(Resample(p=0.1), num_classes=2, seed=-1)
    with pytest.raises(ValueError, match="rules and seeds must be of one length, got 2 and 3"):
        Corruption([Resample(p=0.1)] * 2, seed=[0, 1, 2], num_classes=2)


def test_a_matrix_of_another_number_of_classes_is_refused():
    with pytest.raises(ValueError, match="matrix has 3 rows, but the labels have 10 classes"):
        Corruption([Transition(p=0.1, matrix=FUNNEL)], seed=[0], num_classes=10)
