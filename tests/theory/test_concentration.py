import math

import numpy as np
import pytest
import scipy.stats

from noisereg.theory.concentration import logistic_pull, lowering_share, verify_concentration


def test_the_pull_is_that_of_small_and_of_large_norms_and_of_a_sample_between():
    assert logistic_pull(1e-3) == pytest.approx(-1e-3 / 4, rel=1e-4)
    assert logistic_pull(1e5) == pytest.approx(-1 / math.sqrt(2 * math.pi), rel=1e-3)
    p = np.random.default_rng(0).normal(size=1_000_000)
    values = p / (1 + np.exp(2 * p))
    assert abs(values.mean() - logistic_pull(2.0)) < 5 * values.std() / 1000


def test_the_share_of_lowering_steps_is_a_normal_tail():
    assert lowering_share(1.6) == pytest.approx(2 * scipy.stats.norm.sf(0.8))


def test_the_steps_of_the_proof_hold():
    checks = {check.id: check for check in verify_concentration(replicas=16, steps=100, draws=200)}
    assert all(check.holds for check in checks.values())
    assert checks["T2d-chi2"].measured == pytest.approx(scipy.stats.chi2.sf(2, 1) * math.exp(1 / 8))
    assert checks["T2-steps"].measured > 0.98  # d h / ||V|| is 0.006 at sqrt(d) and 0.1 at 10 d h


def test_the_steps_are_counted_on_all_of_the_way_down():
    (check,) = (one for one in verify_concentration(replicas=64, steps=500, draws=10) if one.id == "T2-steps")
    norms = np.linspace(10 * 30 / 900, math.sqrt(30), 10_001)  # the slope is constant
    expected = 2 * scipy.stats.norm.sf(30 / 900 / (2 * norms)).mean()  # 0.993, where it is 0.997 near sqrt(d)
    assert abs(check.measured - expected) < 5 * math.sqrt(expected * (1 - expected) / check.n)
    assert 0.4 < check.n / (64 * 500) < 0.55  # half of the samples are mistakes, and others change nothing
