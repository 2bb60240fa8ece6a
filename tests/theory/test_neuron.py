import math

import pytest
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.special import expit, lambertw

from noisereg.losses import CrossEntropy, Hinge, Logistic, SquaredError
from noisereg.theory.neuron import neuron_bound, neuron_equilibrium, neuron_norm, neuron_slope

D, LR = 30, 1 / 900


def density(p):
    return math.exp(-p * p / 2) / math.sqrt(2 * math.pi)


def logistic_change(s, d, lr):
    """Integrate what one step does to E||V||^2, written apart from the code under test."""
    pull = quad(lambda p: density(p) * expit(-s * p) * p, -10, 10)[0]
    push = quad(lambda p: density(p) * expit(-s * p) ** 2 * (d - 1 + p * p), -10, 10)[0]
    return 2 * lr * s * pull + lr**2 * push


@pytest.mark.parametrize("loss", [Hinge(), Logistic(), CrossEntropy()])
def test_the_slope_is_the_pull_of_misclassified_samples(loss):
    pull = quad(lambda p: p * density(p), -math.inf, 0)[0]
    assert neuron_slope(LR, loss) == pytest.approx(LR * pull)


def test_the_hinge_equilibrium_balances_pull_and_push():
    s = neuron_equilibrium(D, LR, loss=Hinge())
    pull = quad(lambda p: p * density(p), -math.inf, 0)[0]
    push = quad(lambda p: (D - 1 + p * p) * density(p), -math.inf, 0)[0]
    assert 2 * LR * s * pull + LR**2 * push == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("loss", [Logistic(), CrossEntropy()])
def test_the_logistic_equilibrium_balances_pull_and_push_at_small_rates(loss):
    lr = 1e-5
    s = neuron_equilibrium(D, lr, loss=loss)
    assert brentq(lambda norm: logistic_change(norm, D, lr), s / 2, 2 * s) == pytest.approx(s, rel=1e-3)


@pytest.mark.parametrize("norm", [5.5, 0.03, 0.005])
def test_the_hinge_norm_follows_its_closed_form(norm):
    """With u = s/s* - 1, ds/dt = -a + a s*/s is solved by u exp(u) = u0 exp(u0 - a t / s*)."""
    a, end = LR / math.sqrt(2 * math.pi), D * LR * math.sqrt(2 * math.pi) / 4
    u = norm / end - 1
    steps = [0, 10, 100, 1000, 12_000, 15_000]
    expected = [end * (1 + lambertw(u * math.exp(u - a * t / end)).real) for t in steps]
    assert neuron_norm(steps, norm, d=D, lr=LR, loss=Hinge()) == pytest.approx(expected, rel=1e-4)


def test_the_square_of_a_small_logistic_norm_decays_exponentially():
    d, lr, norm = 3, 1e-6, 0.004
    end = d * lr / 2
    steps = [0, 500_000, 2_000_000, 8_000_000]
    expected = [math.sqrt(end + (norm**2 - end) * math.exp(-lr * t / 2)) for t in steps]
    assert neuron_norm(steps, norm, d=d, lr=lr, loss=Logistic()) == pytest.approx(expected, rel=1e-3)


def test_the_norm_moves_as_its_expectation_does_in_a_step():
    before, after = neuron_norm([0, 1], 2.0, d=D, lr=LR, loss=Logistic())
    assert after**2 - before**2 == pytest.approx(logistic_change(2.0, D, LR), rel=1e-3)


def test_a_large_logistic_norm_falls_like_the_hinge_one():
    before, after = neuron_norm([0, 100], 1000.0, d=D, lr=LR, loss=Logistic())
    assert (after - before) / 100 == pytest.approx(-LR / math.sqrt(2 * math.pi), rel=1e-3)


def test_the_bound_has_the_constants_of_the_proof():
    norm = math.sqrt(30)
    assert neuron_bound(D, LR, norm=norm, loss=Hinge()) == (14_789, pytest.approx(10 / 3))  # 3 * 5.477 * 900
    bound = neuron_bound(D, LR, norm=norm, loss=Logistic())  # 7 * 5.477 * 27,000 / 7.5
    assert bound == (138_027, pytest.approx(400))


def test_a_loss_without_closed_form_is_refused():
    with pytest.raises(ValueError, match=r"loss must be Hinge with beta=0, .* got SquaredError"):
        neuron_slope(LR, SquaredError())
    with pytest.raises(ValueError, match=r"got Hinge with beta=1\.0"):
        neuron_equilibrium(D, LR, loss=Hinge(1.0))
    with pytest.raises(ValueError, match="loss must be"):
        neuron_bound(D, LR, norm=1.0, loss=SquaredError())


def test_a_norm_of_zero_is_refused():
    with pytest.raises(ValueError, match="norm must be positive, got 0"):
        neuron_norm([0, 1], 0, d=D, lr=LR, loss=Hinge())
