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
    assert checks["T2-steps"].measured > 0.98  # d h / ||V|| is 0.006 at the start
