import math

import pytest
import torch

from noisereg.losses import CrossEntropy, Logistic
from noisereg.theory.several_outputs import norm_rates, verify_outputs


def test_softmax_lets_the_norms_grow_at_a_misclassified_sample():
    total = math.exp(0.9) + math.exp(1) + 8
    by_hand = 2 * (0.9 - (0.9 * math.exp(0.9) + math.exp(1)) / total)  # -2 sum z (p - one-hot)
    logits = torch.tensor([[0.9, 1.0, *[0.0] * 8]], dtype=torch.float64)
    assert int(logits.argmax()) != 0
    assert float(norm_rates(logits, torch.tensor([0]), loss=CrossEntropy()).sum()) == pytest.approx(by_hand)
    (check,) = (check for check in verify_outputs(seeds=1, samples=5) if check.id == "T1-softmax")
    assert check.measured == pytest.approx(by_hand, rel=1e-6)
    assert 1.05 < by_hand < 1.06


def test_a_wrong_output_shrinks_its_weights_and_right_ones_can_outweigh_it():
    logits = torch.tensor([[-0.1, *[-1.0] * 9]])  # the true class, 0, is wrong by little, the nine others are right
    rates = norm_rates(logits, torch.tensor([0]), loss=Logistic())[0]
    sigmoid = 1 / (1 + math.exp(-0.1))
    assert float(rates[0]) == pytest.approx(-2 * 0.1 * sigmoid)
    assert float(rates[1]) == pytest.approx(2 / (1 + math.e))
    assert float(rates.sum()) > 0


def test_what_section_6_4_says_is_measured():
    checks = {check.id: check for check in verify_outputs(seeds=5, samples=20)}
    assert all(check.holds for check in checks.values())
    assert 0.5 < checks["T1-outputs-hidden"].measured < 1
    assert checks["T1-outputs"].n > 300
