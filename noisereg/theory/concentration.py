"""The single steps of the proof of theorem 2: what holds in expectation, and how far sums of steps stray from it.

In the notation of the proof, p = y V.x / ||V|| is standard normal, c = L'(-||V|| p) p is the pull of a step, and
r = 100 sqrt(h) M^2 ||x||^2 / (m ||V||) its push. The proof of part (b) shows E c < -m d sqrt(h) / 4 and E r < 1 while
||V|| exceeds N = 100 d sqrt(h) max(M^2 / m, 1), and bounds the sums of both by tails.

Source: arXiv 2111.02154, appendix D and the remark below theorem 2.
"""

import math
from typing import Any

import torch
from jaxtyping import Float64
from scipy.stats import chi2
from torch import Tensor

from noisereg import rng
from noisereg.errors import require_above_zero, require_positive
from noisereg.rng import Stream
from noisereg.theory.agreement import check_bound
from noisereg.theory.check import Check

_M = 0.25  # L''(0) of the logistic loss, of which part (b) speaks; sup L' = 1
_PLACES = ((30, 1 / 900), (10, 0.01), (2, 0.25), (1, 1e-4))
_PLACE = "appendix D"


def logistic_pull(norm: float) -> float:
    """Compute E c = E[p / (1 + e^(s p))] of the logistic loss at ||V|| = s, by quadrature.

    It tends to -s / 4 for small s and to -1 / sqrt(2 pi) for large.

    Args:
        norm: s, at least 0.

    Example:
        >>> round(logistic_pull(0.01), 6), round(logistic_pull(1e6), 4)
        (-0.0025, -0.3989)
    """
    p = torch.linspace(-9, 9, 36_001, dtype=torch.float64)
    density = torch.exp(-p.square() / 2) / math.sqrt(2 * math.pi)
    return float(torch.trapezoid(p * torch.sigmoid(-norm * p) * density, p))


def lowering_share(ratio: float) -> float:
    """Compute the share of the steps of the hinge loss that lower the norm, of those that change it, for large d.

    A step on a mistake changes ||V||^2 by -2 h ||V|| |p| + h^2 ||x||^2, where ||x||^2 is near d: the share is
    P(|p| > d h / (2 ||V||)) = erfc(ratio / sqrt(8)).

    Args:
        ratio: d h / ||V||.

    Example:
        >>> round(lowering_share(0.0), 3), round(lowering_share(1.0), 3)
        (1.0, 0.617)
    """
    return math.erfc(ratio / math.sqrt(8))


def verify_concentration(
    *, d: int = 30, lr: float = 1 / 900, replicas: int = 64, steps: int = 2000, draws: int = 4000, seed: int = 0
) -> list[Check]:
    """Verify the steps of the proof of theorem 2, and that most steps lower the norm until it has decayed.

    Args:
        d: dimension of the run whose steps are counted.
        lr: its learning rate h.
        replicas: neurons of that run, from norms that lie evenly between sqrt(d) and 10 d h: together they pass all of
            the way down.
        steps: of that run.
        draws: sums of pulls, against whose tail the inequality is held.
        seed: of all samples.

    Returns:
        Rows T2d-pull, T2d-push, T2d-chi2 and T2d-azuma, each the largest ratio of a side of an inequality to the other;
        and T2-steps, the share of steps that lower the norm, of those that change it.

    Example:
        >>> [check.holds for check in verify_concentration(replicas=4, steps=50, draws=100)]
        [True, True, True, True, True]
    """
    require_positive(d=d, replicas=replicas, steps=steps, draws=draws)
    require_above_zero(lr=lr)
    row: dict[str, Any] = {"place": _PLACE}
    radius = {(d, h): 100 * d * math.sqrt(h) / _M for d, h in _PLACES}
    pull = max(_M * d * math.sqrt(h) / 4 / -logistic_pull(radius[d, h]) for d, h in _PLACES)
    push = max(100 * math.sqrt(h) * d / (_M * 1.01 * radius[d, h]) for d, h in _PLACES)
    tail = max(float(chi2.sf(2 * n, n)) / math.exp(-n / 8) for n in range(1, 2001))
    share, bound = _measure_tail(draws, seed=seed)
    lowered, changed = _count_lowering_steps(d, lr, replicas=replicas, steps=steps, seed=seed)
    place = "remark below theorem 2"
    pulls = "E c < -m d sqrt(h) / 4 at the radius N of part (b): the bound, as a share of |E c|."
    pushes = "E r < 1 outside of the radius N (at 1.01 N)."
    tails = (
        "The sum of T squared norms exceeds 2 d T with probability less than exp(-d T / 8): largest ratio of the two."
    )
    sums = f"The sum of T = {_TERMS} pulls exceeds its bound with probability less than exp(-T eps^2 / 64)."
    falls = "Most of the steps that change the norm of a neuron lower it (hinge, from sqrt(d) to 10 d h): their share."
    lower = lowered / changed if changed else math.nan
    note = f"near the equilibrium, of norm 0.63 d h, it is {lowering_share(1 / 0.6267):.2f}"
    return [
        check_bound(pull, "<", 1.0, id="T2d-pull", says=pulls, n=len(_PLACES), **row),
        check_bound(push, "<", 1.0, id="T2d-push", says=pushes, n=len(_PLACES), identity=True, **row),
        check_bound(tail, "<", 1.0, id="T2d-chi2", says=tails, n=2000, **row),
        check_bound(share, "<", bound, id="T2d-azuma", says=sums, n=draws, note="the bound has much slack", **row),
        check_bound(lower, ">", 0.5, id="T2-steps", says=falls, place=place, n=changed, note=note),
    ]


_TERMS, _EPSILON = 200, 0.5


def _measure_tail(draws: int, *, seed: int) -> tuple[float, float]:
    """Return how often a sum of pulls exceeds (-m d sqrt(h) / 4 + eps) T, and the bound of that probability."""
    d, lr = _PLACES[2]
    p = rng.normal(seed, Stream.TRAIN_DATA, 1, torch.arange(draws * _TERMS)).view(draws, _TERMS)
    pulls = p * torch.sigmoid(-100 * d * math.sqrt(lr) / _M * p)
    exceeds = pulls.sum(dim=1) > (_EPSILON - _M * d * math.sqrt(lr) / 4) * _TERMS
    return float(exceeds.double().mean()), math.exp(-_TERMS * _EPSILON**2 / 64)


def _count_lowering_steps(d: int, lr: float, *, replicas: int, steps: int, seed: int) -> tuple[int, int]:
    """Return how many steps lower the norm, and how many change it, while it exceeds 10 d h."""
    start = rng.normal(seed, Stream.INIT, 0, torch.arange(replicas * d)).view(replicas, d)
    norms = torch.linspace(math.sqrt(d), 10 * d * lr, replicas, dtype=start.dtype)
    weights = start / start.norm(dim=1, keepdim=True) * norms[:, None]
    lowered = changed = 0
    for step in range(steps):
        inputs = rng.normal(seed, Stream.TRAIN_DATA, 2 + step, torch.arange(replicas * d)).view(replicas, d)
        sign = (rng.uniform(seed, Stream.TRAIN_LABEL, 2 + step, torch.arange(replicas)) < 0.5).double() * 2 - 1
        after = _take_step(weights, inputs, sign, lr=lr)
        far = (weights.norm(dim=1) > 10 * d * lr) & (after != weights).any(dim=1)
        changed += int(far.sum())
        lowered += int((far & (after.norm(dim=1) < weights.norm(dim=1))).sum())
        weights = after
    return lowered, changed


def _take_step(
    weights: Float64[Tensor, "replicas d"],
    inputs: Float64[Tensor, "replicas d"],
    sign: Float64[Tensor, " replicas"],
    *,
    lr: float,
) -> Float64[Tensor, "replicas d"]:
    """Take a step of the hinge loss with beta = 0."""
    wrong = sign * (weights * inputs).sum(dim=1) <= 0
    return weights + (lr * sign * wrong)[:, None] * inputs
