import math

import numpy as np
import pytest
import scipy.stats
import torch

from noisereg.datasets import Hypercube
from noisereg.theory import sparse_hypercube
from noisereg.theory.sparse_hypercube import (
    hypercube_active,
    hypercube_error,
    hypercube_net,
    verify_hypercube_net,
)


def by_id(checks):
    return {check.id: check for check in checks}


def test_the_network_is_the_formula_of_the_paper():
    x = np.random.default_rng(0).uniform(-1, 1, (50, 7))
    beyond = np.maximum(np.abs(x) - (1 - 0.4 / 2), 0).sum(axis=1)
    for bias, expected in [(-0.5, -0.5), (None, -0.1)]:
        net = hypercube_net(7, 0.4, output_bias=bias)
        np.testing.assert_allclose(net(torch.from_numpy(x)).detach()[:, 0], beyond + expected, rtol=1e-12)


@pytest.mark.parametrize("bias", [-0.149, None, -0.001])
def test_it_makes_no_error_on_the_data_set_for_any_bias_between_the_cubes(bias):
    data = Hypercube(d=60, eps=0.3, test_size=20_000)
    data.setup()
    points, labels = data.splits["test"].inputs.double(), data.splits["test"].labels
    net = hypercube_net(60, 0.3, output_bias=bias)
    with torch.no_grad():
        assert torch.equal((net(points)[:, 0] > 0).long(), labels)
        active = (net.hidden(points) > 0).sum(dim=1).double()
    # a count is 1 + Bin(59, 0.15) on the outer cube, and 0 on the inner one
    outer = active[labels == 1]
    assert abs(outer.mean() - hypercube_active(60, 0.3)) < 5 * math.sqrt(59 * 0.15 * 0.85 / len(outer))
    assert not active[labels == 0].any()


def test_the_count_of_active_neurons_is_a_binomial_mean():
    assert hypercube_active(60, 0.3) == pytest.approx(1 + scipy.stats.binom(59, 0.15).mean())


def test_the_paper_s_bias_misses_the_share_that_was_counted_elsewhere():
    # 9.07 % of 100,000 points of a simulation that shares no code with this one
    assert abs(hypercube_error(60, 0.3, output_bias=-0.5) - 0.0907) < 5 * math.sqrt(0.09 * 0.91 / 100_000)


@pytest.mark.parametrize(("d", "eps", "bias"), [(3, 0.5, -0.3), (10, 0.2, -0.25), (60, 0.9, -6.0)])
def test_the_share_that_is_missed_is_that_of_random_points(d, eps, bias):
    rng = np.random.default_rng(1)
    cube = rng.uniform(-1, 1, (100_000, d))
    points = cube / np.abs(cube).max(axis=1, keepdims=True)
    missed = (np.maximum(np.abs(points) - (1 - eps / 2), 0).sum(axis=1) + bias <= 0).mean()
    share = hypercube_error(d, eps, output_bias=bias)
    assert 0.01 < share < 0.999
    assert abs(missed - share) < 5 * math.sqrt(share * (1 - share) / 100_000)


def test_the_share_is_none_or_all_at_the_ends():
    assert hypercube_error(60, 0.3, output_bias=-0.1499) == 0
    assert hypercube_error(60, 0.3, output_bias=-0.1501) == pytest.approx(0.85**59, rel=1e-2)  # no other neuron fires
    assert hypercube_error(60, 0.3, output_bias=-10.0) == pytest.approx(1)
    assert hypercube_error(60, 0.3, output_bias=0.0) == 0


def test_the_share_is_the_volume_of_a_corner():
    # s = 1/2, of which K ~ Bin(3, 1/4) uniform numbers stay below with probability 1 / (2^K K!)
    law = [27 / 64, 27 / 64, 9 / 64, 1 / 64]
    expected = sum(share / (2**k * math.factorial(k)) for k, share in enumerate(law))
    assert hypercube_error(4, 0.5, output_bias=-0.375) == pytest.approx(expected)
    assert (hypercube_error(1, 0.5, output_bias=-0.25), hypercube_error(1, 0.5, output_bias=-0.24)) == (1, 0)


def test_the_verifier_finds_the_network_right_and_two_sentences_of_the_paper_wrong():
    checks = by_id(verify_hypercube_net(samples=5000))
    wrong = {"F1f-paper-exact", "F1f-paper-active"}
    assert {id for id, check in checks.items() if not check.holds and not check.undecided} == wrong
    assert {id for id, check in checks.items() if check.undecided} == {
        "F1f-paper-bias"
    }  # 5,000 points tell 9 % to 0.8 %
    assert checks["F1f-paper-active"].predicted == pytest.approx(18)
    curve = checks["F1f-paper-bias"].curve
    assert curve.x[::40] == pytest.approx([-1.5, 0])
    assert curve.predicted[0] > 0.99
    assert curve.measured == pytest.approx(curve.predicted, abs=5 * math.sqrt(0.25 / 5000))
    assert checks["F1f-active"].low < checks["F1f-active"].measured < checks["F1f-active"].high


def test_the_trained_network_has_14881_parameters():
    check = by_id(verify_hypercube_net(samples=10))["F1g"]
    assert (check.measured, check.predicted) == (14_881, 14_400)
    assert check.holds
    assert not by_id(verify_hypercube_net(samples=10, hidden=120))["F1g"].holds


def test_a_hidden_bias_that_is_wrong_fails(monkeypatch):
    def shifted(d, eps, **settings):
        net = hypercube_net(d, eps, **settings)
        net.hidden.bias.data.add_(eps)  # the threshold lies inside the inner cube
        return net

    monkeypatch.setattr(sparse_hypercube, "hypercube_net", shifted)
    checks = by_id(verify_hypercube_net(samples=2000))
    assert not any(checks[id].holds for id in ("F1f-exact", "F1f-paper-bias", "F1f-active", "F1f-silent"))


@pytest.mark.parametrize("eps", [0.0, 1.0, float("nan")])
def test_eps_must_lie_between_the_cubes(eps):
    with pytest.raises(ValueError, match=rf"eps must be in \(0, 1\), got {eps}"):
        hypercube_net(3, eps)
