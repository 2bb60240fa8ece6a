"""The drift of one neuron with bias under pure label noise: theorem 2 in expectation."""

import math
from typing import Any

import torch
from jaxtyping import Float64
from torch import Tensor

from noisereg.engine import Blocked, Stack
from noisereg.errors import require_above_zero, require_positive
from noisereg.losses import Hinge
from noisereg.theory.agreement import build_curve_of_means, check_bound
from noisereg.theory.check import Check
from noisereg.theory.pure_noise import gaussian_noise

DRIFT_C1 = math.exp(-0.5) / (2 * math.sqrt(2 * math.pi))
DRIFT_C2 = math.erf(math.sqrt(0.5)) / 4
DRIFT_C = min(DRIFT_C1, DRIFT_C2)


def neuron_drift(mu: float, s: float) -> float:
    """Compute r = E[y z; y z < 0] for z ~ N(mu, s^2) and a fair sign y: a neuron with bias mu and ||V|| = s.

    r = -(s / sqrt(2 pi)) exp(-mu^2 / 2 s^2) - (mu / 2) erf(mu / (sqrt(2) s)), which is below -C ||W|| with
    ||W||^2 = mu^2 + s^2 and C = min(C1, C2), C1 = exp(-1/2) / (2 sqrt(2 pi)), C2 = erf(1/sqrt(2)) / 4. With the hinge
    without margin a step changes E||W||^2 by 2 h r + h^2 (d + 1) / 2.

    Args:
        mu: the bias.
        s: norm of the weights, positive.

    Raises:
        ValueError: if s is not positive.

    Example:
        >>> round(neuron_drift(0.0, 1.0), 4), neuron_drift(1.0, 1.0) < -DRIFT_C * 2**0.5
        (-0.3989, True)

    Source: arXiv 2111.02154, section 5, proof of theorem 2 in expectation.
    """
    require_above_zero(s=s)
    return -s / math.sqrt(2 * math.pi) * math.exp(-(mu**2) / (2 * s**2)) - mu / 2 * math.erf(mu / (math.sqrt(2) * s))


def verify_drift(
    *, d: int = 5, lr: float = 0.01, angles: int = 9, samples: int = 100_000, seed: int = 0
) -> list[Check]:
    """Measure the drift of a neuron with bias over single steps of SGD with the hinge loss, from ||W|| = 1.

    Args:
        d: dimension.
        lr: learning rate h; d h must be below C = 0.121, where the theorem speaks.
        angles: how many ratios of bias and weights, from no bias on.
        samples: steps for each, all from the same W.
        seed: of the samples.

    Raises:
        ValueError: if d h is not below C.

    Example:
        >>> [check.holds for check in verify_drift(samples=2000)]
        [True, True, True]

    Source: arXiv 2111.02154, section 5, proof of theorem 2 in expectation.
    """
    require_positive(d=d, angles=angles)
    require_positive(at_least=2, samples=samples)
    require_above_zero(lr=lr)
    if d * lr >= DRIFT_C:
        raise ValueError(f"d * lr must be below C = {DRIFT_C:.3f} for ||W|| = 1, got {d * lr:.3f}; take a smaller lr")
    places = [(math.sin(angle), math.cos(angle)) for angle in torch.linspace(0, math.pi / 2, angles + 1)[:-1].tolist()]
    steps = [_take_step(*place, d=d, lr=lr, samples=samples, seed=seed + i) for i, place in enumerate(places)]
    drifts, growths = (torch.stack(values, dim=1) for values in zip(*steps, strict=True))
    return _build_checks(places, drifts, growths / lr)


def _build_checks(
    places: list[tuple[float, float]], drifts: Float64[Tensor, "n places"], growths: Float64[Tensor, "n places"]
) -> list[Check]:
    mean = drifts.mean(dim=0)
    predicted = torch.tensor([neuron_drift(*place) for place in places], dtype=torch.float64)
    worst = float(((mean - predicted) / drifts.std(dim=0)).abs().max()) * math.sqrt(len(drifts))
    x = [mu for mu, _ in places]
    curve = build_curve_of_means("bias / ||W||", "drift / ||W||", x=x, values=drifts, predicted=predicted.tolist())
    row: dict[str, Any] = {"place": "section 5, proof of theorem 2 in expectation", "n": drifts.numel()}
    near = "The drift is the formula's at every ratio of bias and weights: it lies within 5 standard errors."
    below = "The drift is below -C ||W|| at every ratio of bias and weights."
    falls = "While the norm exceeds d h / C, a step lowers it by C h / 2 or more in expectation (in units of h)."
    growth = float(growths.mean(dim=0).max())
    return [
        check_bound(worst, "<=", 5.0, id="T2c-formula", says=near, curve=curve, **row),
        check_bound(float(mean.max()), "<", -DRIFT_C, id="T2c-bound", says=below, **row),
        check_bound(growth, "<", -DRIFT_C / 2, id="T2c-decrease", says=falls, **row),
    ]


def _take_step(
    mu: float, s: float, *, d: int, lr: float, samples: int, seed: int
) -> tuple[Float64[Tensor, " samples"], Float64[Tensor, " samples"]]:
    """Return y (W.x), where it is negative, and the change of ||W||, of a step from W = (s e_1, mu) on each sample."""
    start = torch.zeros(d + 1, dtype=torch.float64)
    start[0], start[-1] = s, mu
    stack = Stack(None, start.repeat(samples, 1, 1), None, appends_one=True, has_bias=True)
    inputs, targets = gaussian_noise(seed, 0, count=samples, d=d)
    index, rates = torch.arange(samples)[:, None], torch.full((samples,), lr, dtype=torch.float64)
    Blocked(Hinge())(stack, stack.prepare(inputs), index=index, targets=targets[:, None], rates=rates)
    weights = stack.output.detach()[:, 0]
    return (weights - start) @ start / lr, weights.norm(dim=1) - start.norm()
