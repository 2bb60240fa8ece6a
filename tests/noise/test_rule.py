"""One battery for every rule."""

import dataclasses

import pytest
import torch

from noisereg.noise import Corruption, Flip, NoNoise, Resample, Rule, Transition

RULES = [
    NoNoise,
    Resample,
    Flip,
    lambda **options: Transition(moves={1: 0}, **options),
    lambda **options: Transition(matrix=[[0, 1], [0.5, 0.5]], **options),
]


@pytest.mark.parametrize("make", RULES)
@pytest.mark.parametrize("p", [0.0, 0.1, 1.0])
def test_transition_is_row_stochastic_and_mixes_identity_with_the_redraw_law(make, p):
    rule = make(p=p)
    transition = rule.transition(2)
    assert transition.dtype == torch.float64
    assert (transition >= 0).all()
    torch.testing.assert_close(transition.sum(dim=1), torch.ones(2, dtype=torch.float64))
    torch.testing.assert_close(transition, (1 - p) * torch.eye(2) + p * rule.redraw_law(2), check_dtype=False)


@pytest.mark.parametrize("make", RULES)
def test_effective_rate_is_the_mean_mass_off_the_diagonal(make):
    rule = make(p=0.3)
    assert rule.effective_rate(2) == pytest.approx(1 - rule.transition(2).diagonal().mean().item(), abs=1e-15)


@pytest.mark.parametrize("p", [1.5, -0.1, float("nan"), float("inf"), "abc", None, True])
def test_strength_out_of_range_is_refused(p):
    with pytest.raises((ValueError, TypeError), match=r"p must be in \[0, 1\], got|Type-check error"):
        Resample(p=p)


def test_frozen_and_expected_exclude_each_other():
    with pytest.raises(ValueError, match="frozen must be false when expected is true"):
        Resample(p=0.1, expected=True, frozen=True)


def test_a_new_rule_is_its_redraw_law_alone():
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class ToZero(Rule):
        def redraw_law(self, num_classes):
            law = torch.zeros(num_classes, num_classes, dtype=torch.float64)
            law[:, 0] = 1
            return law

    assert ToZero(p=0.5).transition(2).tolist() == [[1.0, 0.0], [0.5, 0.5]]
    assert ToZero(p=0.5).effective_rate(2) == 0.25


class Own(Rule):
    """A rule of a law that is given, as somebody else writes it."""

    law = None

    def redraw_law(self, num_classes):
        return self.law


@pytest.mark.parametrize(
    ("law", "fault"),
    [
        (torch.ones(3, 3), r"each row of Own.redraw_law must hold probabilities that sum to 1, row 0 is \[1, 1, 1\]"),
        (torch.tensor([[1, 0, 0], [0, 1, 0], [0, 1.5, -0.5]]), r"each row .* row 2 is \[0, 1.5, -0.5\]"),
        (torch.full((3, 3), torch.nan), r"each row .* row 0 is \[nan, nan, nan\]"),
        (torch.eye(2), r"Own.redraw_law must return a tensor of shape \(3, 3\), got \(2, 2\)"),
        (torch.ones(3) / 3, r"Own.redraw_law must return a tensor of shape \(3, 3\), got \(3,\)"),
        ([[1.0]], r"Own.redraw_law must return a tensor of shape \(3, 3\), got list"),
    ],
)
def test_a_law_that_is_none_is_refused_before_anything_is_drawn(monkeypatch, law, fault):
    monkeypatch.setattr(Own, "law", law)
    with pytest.raises(ValueError, match=f"^{fault}$"):
        Corruption(Own(p=0.5), num_classes=3, seed=0)


def test_a_law_in_single_precision_draws_as_in_double(monkeypatch):
    labels = torch.arange(300) % 3
    drawn = Corruption(Resample(p=0.5), num_classes=3, seed=0)(labels, draw=0, index=torch.arange(300))
    monkeypatch.setattr(Own, "law", torch.full((3, 3), 1 / 3))
    assert torch.equal(Corruption(Own(p=0.5), num_classes=3, seed=0)(labels, draw=0, index=torch.arange(300)), drawn)
