import dataclasses

import pytest
import torch

from noisereg.noise import Corruption, Flip, NoNoise, Resample, StackedCorruption, Transition

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
    targets = StackedCorruption(rules(make, **mode), SEEDS, num_classes=3)(labels, DRAW, index)
    for r, rule in enumerate(rules(make, **mode)):
        torch.testing.assert_close(targets[r], alone(rule, SEEDS[r], labels[r], index[r]), rtol=0, atol=1e-15)


@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_a_factor_of_each_draw_is_that_of_the_scaled_rule(make, mode, chunk):
    labels, index = chunk
    factors = torch.tensor([0.0, 0.3, 0.7, 1.0], dtype=torch.float64)
    factor = factors.repeat(75)
    targets = StackedCorruption(rules(make, **mode), SEEDS, num_classes=3)(labels, DRAW, index, factor=factor)
    for r, rule in enumerate(rules(make, **mode)):
        for value in factors.tolist():
            mine = factor == value
            expected = alone(rule.scaled(value), SEEDS[r], labels[r, mine], index[r, mine], draw=DRAW[mine])
            torch.testing.assert_close(targets[r, mine], expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize("make", [Resample, Flip])
def test_what_a_small_strength_changes_a_greater_one_of_that_seed_changes_to_the_same(make):
    strengths = [0.0, 0.1, 0.3, 0.8]
    index = torch.arange(20_000).expand(4, -1)
    labels = index % 10
    stacked = StackedCorruption([make(p=p) for p in strengths], [5] * 4, num_classes=10)
    targets = stacked(labels, torch.zeros(20_000, dtype=torch.int64), index)
    changed = targets != labels
    assert not changed[0].any()
    for weak, strong in zip(range(3), range(1, 4), strict=True):
        assert torch.equal(targets[strong][changed[weak]], targets[weak][changed[weak]])
        assert changed[strong].sum() > 2 * changed[weak].sum()


def test_seeds_have_draws_of_their_own():
    index = torch.arange(10_000).expand(2, -1)
    stacked = StackedCorruption([Resample(p=1.0)] * 2, [0, 1], num_classes=10)
    first, second = stacked(torch.zeros_like(index), torch.zeros(10_000, dtype=torch.int64), index)
    agreement = (first == second).double().mean().item()
    assert abs(agreement - 0.1) < 5 * (0.1 * 0.9 / 10_000) ** 0.5


def test_labels_are_not_written_to(chunk):
    labels, index = chunk
    before = labels.clone()
    targets = StackedCorruption(rules(Flip), SEEDS, num_classes=3)(labels, DRAW, index)
    targets.fill_(7)
    assert torch.equal(labels, before)


def test_the_effective_rate_is_that_of_each_strength():
    # p (C - 1) / C for resampling, by hand
    rate = StackedCorruption(rules(Resample), SEEDS, num_classes=10).effective_rate()
    assert rate.tolist() == pytest.approx([0.0, 0.09, 0.36, 0.36, 0.9])


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
        StackedCorruption([Resample(p=0.1), other], [0, 1], num_classes=2)


def test_matrices_that_differ_are_refused():
    rule = Transition(p=0.1, matrix=FUNNEL)
    with pytest.raises(ValueError, match="must differ in p alone"):
        StackedCorruption([rule, dataclasses.replace(rule, matrix=FUNNEL[::-1])], [0, 1], num_classes=3)


def test_as_many_seeds_as_rules_are_needed():
    with pytest.raises(ValueError, match="rules and seeds must be of one length, got 2 and 3"):
        StackedCorruption([Resample(p=0.1)] * 2, [0, 1, 2], num_classes=2)


def test_one_class_is_refused():
    with pytest.raises(ValueError, match="num_classes must be at least 2, got 1"):
        StackedCorruption([Resample(p=0.1)], [0], num_classes=1)


def test_a_matrix_of_another_number_of_classes_is_refused():
    with pytest.raises(ValueError, match="matrix has 3 rows, but the labels have 10 classes"):
        StackedCorruption([Transition(p=0.1, matrix=FUNNEL)], [0], num_classes=10)
