"""What pure label noise does to one neuron N(x) = V.x on x ~ N(0, I_d): theorem 2 in closed form, and measured.

A step of SGD is V <- V + h L'(-y V.x) y x. With s = ||V||, and p = y V.x / s, which is standard normal,

    E||V'||^2 - ||V||^2 = 2 h s E[L'(-s p) p] + h^2 E[L'(-s p)^2 ||x||^2].

The first term pulls the norm down, the second one, the noise of the inputs, pushes it up.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64
from scipy.integrate import solve_ivp
from scipy.optimize import brentq
from torch import Tensor
from torch.nn.functional import pad

from noisereg.engine import Fused, Stack
from noisereg.errors import require_above_zero, require_positive
from noisereg.losses import CrossEntropy, Hinge, Logistic, Loss
from noisereg.models import Neuron
from noisereg.theory.agreement import build_curve_of_means, check_bound, check_mean
from noisereg.theory.check import Check
from noisereg.theory.pure_noise import gaussian_noise

_QUADRATURE_END, _CELLS = 9.0, 3600  # the quadrature's cells meet at 0, where the hinge jumps
_CHUNK = 32  # steps between two measurements
_PADDED_WIDTH = 32  # inputs are filled up with zeros to as many, so that the engine compiles once for all dimensions
_TOLERANCE = 0.02
_EXPONENT_TOLERANCE = 0.05  # the logistic exponents are 1 / 2 to first order in d h only


class NeuronBound(NamedTuple):
    """What theorem 2 promises.

    Attributes:
        steps: T, within which the norm falls below the radius.
        radius: N.
    """

    steps: int
    radius: float


def neuron_slope(lr: float, loss: Loss, *, steps: int = 1) -> float:
    """Compute the change of the norm in so many steps, where it is large: -h / sqrt(2 pi) a step.

    There L'(-s p) is 1 for p < 0 and 0 for p > 0, for the hinge without margin at any s and for the logistic loss at
    s >> 1, and E[p; p < 0] = -1 / sqrt(2 pi). It leaves out the push of order d h^2 / s.

    Args:
        lr: learning rate h, positive.
        loss: hinge with beta=0, or logistic.
        steps: over which it changes.

    Example:
        >>> from noisereg.losses import Hinge
        >>> f"{neuron_slope(1 / 900, Hinge()):.3e}"
        '-4.433e-04'
    """
    _steepness(loss)
    require_above_zero(lr=lr)
    return -steps * lr / math.sqrt(2 * math.pi)


def neuron_equilibrium(d: int, lr: float, *, loss: Loss) -> float:
    """Compute the norm at which pull and push are equal.

    Hinge without margin: d h sqrt(2 pi) / 4, exactly the stationary mean of ||V||, for the pull is linear in it.
    Logistic: sqrt(d h / 2), the root of the stationary mean of ||V||^2 to first order in d h: L'(-s p) ~ 1/2 - s p / 4.

    Args:
        d: dimension.
        lr: learning rate h, positive.
        loss: hinge with beta=0, or logistic.

    Example:
        >>> from noisereg.losses import Logistic
        >>> round(neuron_equilibrium(30, 1 / 900, loss=Logistic()), 4)
        0.1291
    """
    _steepness(loss)
    require_above_zero(lr=lr)
    return d * lr * math.sqrt(2 * math.pi) / 4 if isinstance(loss, Hinge) else math.sqrt(d * lr / 2)


def hinge_rest(d: int, lr: float, *, beta: float) -> float:
    """Compute the norm at which pull and push are equal in mean field, for the hinge loss with any margin.

    A step is taken where p <= a = beta / s, and a standard normal p has E[p; p <= a] = -phi(a) and E[p^2; p <= a] =
    Phi(a) - a phi(a). So s solves 2 s phi(a) = h (d Phi(a) - a phi(a)). For beta = 0 that is d h sqrt(2 pi) / 4; for
    beta above 0 it falls but slowly with h, as the pull vanishes where all samples lie within the margin.

    Args:
        d: dimension.
        lr: learning rate h, positive.
        beta: margin, at least 0.

    Example:
        >>> round(hinge_rest(30, 1 / 900, beta=0.0), 4), round(hinge_rest(30, 1 / 900, beta=1.0), 2)
        (0.0209, 0.46)
    """
    require_above_zero(lr=lr)

    def excess(s: float) -> float:
        a = beta / s
        density, share = math.exp(-(a**2) / 2) / math.sqrt(2 * math.pi), math.erfc(-a / math.sqrt(2)) / 2
        return 2 * s * density - lr * (d * share - a * density)

    return float(brentq(excess, 1e-3 * (beta + d * lr), 10 * (beta + d * lr)))


def neuron_norm(steps: Sequence[float], norm: float, *, d: int, lr: float, loss: Loss) -> list[float]:
    """Compute the norm over training, in mean field: the expected change of ||V||^2 as a differential equation.

    ds/dt = h E[L'(-s p) p] + h^2 E[L'(-s p)^2 (d - 1 + p^2)] / (2 s). For the hinge without margin this is
    -h/sqrt(2 pi) + d h^2/(4 s).

    Args:
        steps: times, increasing from 0 on.
        norm: at step 0, positive.
        d: dimension.
        lr: learning rate h, positive.
        loss: any.

    Returns:
        The norm at each time.

    Raises:
        ValueError: if the norm is not positive.

    Example:
        >>> from noisereg.losses import Hinge
        >>> [round(value, 3) for value in neuron_norm([0, 5000, 20000], 5.5, d=30, lr=1 / 900, loss=Hinge())]
        [5.5, 3.294, 0.021]
    """
    require_above_zero(norm=norm)
    p, weight = _build_normal_cells()

    def change(_: float, state: np.ndarray) -> list[float]:
        s = max(float(state[0]), 1e-12 * norm)
        slope = _derivative(loss, s * p)
        pull = (weight * slope * p).sum()
        push = (weight * slope.square() * (d - 1 + p.square())).sum()
        return [float(lr * pull + lr**2 * push / (2 * s))]

    end = max(float(steps[-1]), 1.0)
    solution = solve_ivp(change, (0.0, end), [norm], t_eval=list(steps), method="LSODA", rtol=1e-8, atol=1e-10 * norm)
    return [float(value) for value in solution.y[0]]


def neuron_bound(d: int, lr: float, *, norm: float, loss: Loss) -> NeuronBound:
    """Compute the explicit constants of the proof of theorem 2.

    (a) hinge, m = 1: T = ceil(3 ||V0|| / (m h)), N = 100 max(d h M^2 / m, d h).
    (b) logistic, m = 1/4: T = ceil(7 ||V0|| / (m d h^1.5)), N = 100 max(d sqrt(h) M^2 / m, d sqrt(h)). M = 1 in both.

    The theorem is about h to 0: at a fixed h the radius can exceed ||V0||, and says nothing then.

    Args:
        d: dimension.
        lr: learning rate h, positive.
        norm: ||V0||.
        loss: hinge with beta=0, or logistic.

    Example:
        >>> from noisereg.losses import Hinge
        >>> neuron_bound(30, 1 / 900, norm=5.477, loss=Hinge())
        NeuronBound(steps=14788, radius=3.3333333333333335)

    Source: arXiv 2111.02154, appendix D, where the names (a) and (b) are exchanged.
    """
    m = _steepness(loss)
    require_above_zero(lr=lr)
    if isinstance(loss, Hinge):
        return NeuronBound(math.ceil(3 * norm / (m * lr)), 100 * d * lr * max(1 / m, 1))
    return NeuronBound(math.ceil(7 * norm / (m * d * lr**1.5)), 100 * d * math.sqrt(lr) * max(1 / m, 1))


@dataclass(frozen=True)
class _Case:
    """One of the theorem's two cases, with the exponent of its equilibrium, and how long the norm remembers."""

    name: str
    loss: Loss
    part: str
    formula: str
    exponent: float
    memory: Callable[[int, float], float]

    def equilibrium(self, d: int, lr: float) -> float:
        return neuron_equilibrium(d, lr, loss=self.loss)


_HINGE = _Case("hinge", Hinge(), "a", "d h sqrt(2 pi) / 4", 1.0, lambda d, lr: math.pi * d / 2)
_LOGISTIC = _Case("logistic", Logistic(), "b", "sqrt(d h / 2)", 0.5, lambda d, lr: 2 / lr)


def verify_neuron(
    *,
    d: int = 30,
    lr: float = 1 / 900,
    replicas: int = 48,
    dims: Sequence[int] = (3, 6, 12),
    rates: Sequence[float] = (1 / 200, 1 / 100, 1 / 50),
    seed: int = 0,
) -> list[Check]:
    """Measure what theorem 2 says, and its sharper closed forms: slope, hitting time, equilibrium and its exponents.

    Tolerances: slope and equilibrium 2 %, exponents 0.05, or what the 95 % interval over the replicas holds.

    Args:
        d: dimension of the figure's setting.
        lr: its learning rate.
        replicas: neurons of each run, at least two.
        dims: of the grid for the exponents, at least two.
        rates: of that grid, at least two.
        seed: of the weights and samples.

    Raises:
        ValueError: if a number is out of range, or there are fewer than two replicas, dims or rates.

    Example:
        >>> small = verify_neuron(d=4, lr=0.02, replicas=8, dims=(2, 4), rates=(0.02, 0.04))
        >>> small[0].id, round(small[0].predicted, 5)
        ('T2a-slope', -0.00798)

    Source: arXiv 2111.02154, theorem 2, appendix D and figure 2.
    """
    require_positive(d=d, dims=min(dims, default=0))
    require_positive(at_least=2, replicas=replicas)
    for rate in (lr, *rates):
        require_above_zero(lr=lr, rates=rate)
    if len(set(dims)) < 2 or len(set(rates)) < 2:
        raise ValueError(f"dims and rates must have 2 values or more, for exponents, got {dims} and {rates}")
    checks = _check_decay(d, lr, replicas=replicas, seed=seed)
    checks.append(_check_hitting_time(_LOGISTIC, d=2, lr=0.25, replicas=replicas, seed=seed))
    checks.append(_check_margin(d, lr, replicas=replicas, seed=seed))
    for case in (_HINGE, _LOGISTIC):
        checks.append(_check_equilibrium(case, d, lr, replicas=replicas, seed=seed))
        checks += _check_exponents(case, dims, rates, replicas=replicas, seed=seed)
    return checks


def neuron_norms(
    d: int, rates: Float[Tensor, " replicas"], *, norm: float | Tensor, loss: Loss, steps: int, seed: int
) -> Float[Tensor, "times replicas"]:
    """Train neurons under pure label noise on N(0, I_d), one fresh sample a step, each on samples of its own.

    Args:
        d: dimension.
        rates: learning rate of each replica.
        norm: ||V0|| of all or of each; the directions are random.
        loss: one that the fused engine knows.
        steps: rounded up to a multiple of 32.
        seed: of the weights and samples.

    Returns:
        ||V|| at steps 0, 32, 64, ...

    Example:
        >>> neuron_norms(3, torch.full((2,), 0.01), norm=1.0, loss=Hinge(), steps=64, seed=0).shape
        torch.Size([3, 2])
    """
    count = len(rates)
    stack = Stack.of([Neuron((max(d, _PADDED_WIDTH),), 1, seed=seed + replica) for replica in range(count)])
    with torch.no_grad():
        stack.output[:, :, d:] = 0
        stack.output.mul_(torch.as_tensor(norm).expand(count)[:, None, None] / _measure_norms(stack)[:, None, None])
    engine, index = Fused(loss), torch.arange(count * _CHUNK).view(count, _CHUNK)
    norms = [_measure_norms(stack)]
    for chunk in range(math.ceil(steps / _CHUNK)):
        inputs, targets = gaussian_noise(seed, chunk, count=index.numel(), d=d)
        inputs = pad(stack.prepare(inputs), (0, stack.output.shape[2] - d))
        engine(stack, inputs, index=index, targets=targets.view(count, _CHUNK, 2), rates=rates)
        norms.append(_measure_norms(stack))
    return torch.stack(norms)


def _measure_norms(stack: Stack) -> Float[Tensor, " replicas"]:
    return stack.output.detach().norm(dim=(1, 2))


def _check_decay(d: int, lr: float, *, replicas: int, seed: int) -> list[Check]:
    """Check slope and hitting time of the hinge loss, from ||V0|| = sqrt(d) down to the equilibrium."""
    norm, loss, slope = math.sqrt(d), _HINGE.loss, neuron_slope(lr, _HINGE.loss)
    steps = math.ceil(-1.2 * norm / slope)
    norms = neuron_norms(d, torch.full((replicas,), lr), norm=norm, loss=loss, steps=steps, seed=seed)
    half = max(len(norms) * 5 // 12, 1)  # half of the norm is gone
    times = torch.arange(0, len(norms), max(len(norms) // 100, 1))
    x = (_CHUNK * times).tolist()
    predicted = neuron_norm(x, norm, d=d, lr=lr, loss=loss)
    curve = build_curve_of_means("step", "norm of the weights", x=x, values=norms[times].T, predicted=predicted)
    says = "The norm of a neuron falls linearly, by h / sqrt(2 pi) a step."
    near = (neuron_norm([0, half * _CHUNK], norm, d=d, lr=lr, loss=loss)[1] - norm) / (half * _CHUNK)
    note = f"with the push of the inputs, of order d h^2 / ||V||, the slope is {near:.4g} over this time"
    row: dict[str, Any] = {"says": says, "place": "theorem 2 (a), figure 2", "curve": curve, "note": note}
    return [
        check_mean((norms[half] - norms[0]) / (half * _CHUNK), slope, tolerance=_TOLERANCE, id="T2a-slope", **row),
        _check_time(_HINGE, norms, d=d, lr=lr, norm=norm),
    ]


def _check_hitting_time(case: _Case, *, d: int, lr: float, replicas: int, seed: int) -> Check:
    """Check the hitting time from a quarter outside the radius, where the theorem says something."""
    norm = 1.25 * neuron_bound(d, lr, norm=1.0, loss=case.loss).radius
    steps = math.ceil(-0.3 * norm / neuron_slope(lr, case.loss))
    norms = neuron_norms(d, torch.full((replicas,), lr), norm=norm, loss=case.loss, steps=steps, seed=seed)
    return _check_time(case, norms, d=d, lr=lr, norm=norm)


def _check_time(case: _Case, norms: Float[Tensor, "times replicas"], *, d: int, lr: float, norm: float) -> Check:
    bound = neuron_bound(d, lr, norm=norm, loss=case.loss)
    inside = norms < bound.radius
    last = float(inside.int().argmax(dim=0).max()) * _CHUNK if bool(inside.any(dim=0).all()) else math.inf
    empty = bound.radius >= norm
    slack = f"the bound has {bound.steps / last:.3g} times as many steps" if last else ""
    note = f"the radius {bound.radius:.3g} exceeds the norm at the start, {norm:.3g}: the bound says nothing here"
    return check_bound(
        math.nan if empty else last,
        "<=",
        float(bound.steps),
        id=f"T2{case.part}-time",
        says=f"The norm falls from {norm:.3g} below {bound.radius:.3g} within T steps (d={d}, h={lr:.3g}).",
        place=f"theorem 2 ({case.part}), its proof in appendix D",
        n=norms.shape[1],
        applicable=not empty,
        note=note if empty else slack,
    )


def _check_margin(d: int, lr: float, *, replicas: int, seed: int) -> Check:
    """Check that with beta = 1 the norm rests far outside of O(d h): L' does not jump at 0, as part (a) asks."""
    loss, rest, steps = Hinge(beta=1.0), hinge_rest(d, lr, beta=1.0), max(math.ceil(2 / lr), 320)
    norms = neuron_norms(d, torch.full((replicas,), lr), norm=rest, loss=loss, steps=steps, seed=seed)
    says = (
        f"With beta = 1 the hinge loss has no jump at 0, and the norm rests at {rest / (d * lr):.3g} d h (mean field)."
    )
    row: dict[str, Any] = {"id": "T2a-beta", "says": says, "place": "theorem 2 (a), which is for beta = 0"}
    return check_mean(norms[len(norms) // 2 :].mean(dim=0), rest, tolerance=0.05, **row)


def _check_equilibrium(case: _Case, d: int, lr: float, *, replicas: int, seed: int) -> Check:
    powers = _measure_stationary_means(case, d, [lr], replicas=replicas, seed=seed)
    norms = _compute_pseudo_values(powers, lambda mean: mean.pow(case.exponent)[..., 0])
    says = f"The norm settles at {case.formula}."
    row: dict[str, Any] = {"says": says, "place": f"theorem 2 ({case.part}), in closed form"}
    return check_mean(norms, case.equilibrium(d, lr), tolerance=_TOLERANCE, id=f"T2{case.part}-equilibrium", **row)


def _check_exponents(
    case: _Case, dims: Sequence[int], rates: Sequence[float], *, replicas: int, seed: int
) -> list[Check]:
    """Check the fit of log norm = c + a log h + b log d to the equilibria of a grid."""
    powers = torch.cat([_measure_stationary_means(case, d, rates, replicas=replicas, seed=seed) for d in dims], dim=1)
    places = [(d, lr) for d in dims for lr in rates]
    design = torch.tensor([(1.0, math.log(lr), math.log(d)) for d, lr in places], dtype=torch.float64)
    fits = _compute_pseudo_values(powers, lambda mean: case.exponent * mean.log() @ torch.linalg.pinv(design).T)
    norms = _compute_pseudo_values(powers, lambda mean: mean.pow(case.exponent))
    checks = []
    for column, axis in enumerate(("h", "d"), start=1):
        along = [i for i, (d, lr) in enumerate(places) if (d == dims[-1] if axis == "h" else lr == rates[0])]
        curve = build_curve_of_means(
            "learning rate h" if axis == "h" else "dimension d",
            "norm at equilibrium",
            x=[places[i][2 - column] for i in along],
            values=norms[:, along],
            predicted=[case.equilibrium(*places[i]) for i in along],
        )
        says = f"The norm at equilibrium grows as {axis} to the power {case.exponent:g}."
        row: dict[str, Any] = {"says": says, "place": f"theorem 2 ({case.part})", "curve": curve}
        row |= {"id": f"T2{case.part}-exponent-{axis}", "tolerance": _EXPONENT_TOLERANCE / case.exponent}
        checks.append(check_mean(fits[:, column], case.exponent, **row))
    return checks


def _measure_stationary_means(
    case: _Case, d: int, rates: Sequence[float], *, replicas: int, seed: int
) -> Float64[Tensor, "replicas rates"]:
    """Compute the stationary mean of ||V|| (hinge) or ||V||^2 (logistic), of which the closed form speaks.

    A run starts half outside the closed form, waits until eight times its memory is gone, and is averaged for as long.
    """
    starts = torch.tensor([1.5 * case.equilibrium(d, lr) for lr in rates])
    wait = max(math.ceil(8 * case.memory(d, min(rates)) / _CHUNK), 20)
    each = {"rates": torch.tensor(rates).repeat(replicas), "norm": starts.repeat(replicas)}
    norms = neuron_norms(d, **each, loss=case.loss, steps=2 * wait * _CHUNK, seed=seed)[wait:]
    return norms.double().pow(1 / case.exponent).mean(dim=0).view(replicas, len(rates))


def _compute_pseudo_values(
    values: Float64[Tensor, "replicas columns"], statistic: Callable[[Tensor], Tensor]
) -> Float64[Tensor, "replicas *more"]:
    """Compute the jackknife's pseudo-values of a statistic of the mean, whose mean has no bias of the order 1 / n.

    Source: J. W. Tukey, "Bias and confidence in not quite large samples", Ann. Math. Statist. 29, 1958.
    """
    n, mean = len(values), values.mean(dim=0)
    return n * statistic(mean) - (n - 1) * statistic((n * mean - values) / (n - 1))


def _steepness(loss: Loss) -> float:
    """Compute m of theorem 2: the jump of L' at 0, or L''(0)."""
    if type(loss) is Hinge and loss.beta == 0:
        return 1.0
    if type(loss) in (Logistic, CrossEntropy):
        return 0.25
    beta = f" with beta={loss.beta}" if isinstance(loss, Hinge) else ""
    raise ValueError(f"loss must be Hinge with beta=0, Logistic or CrossEntropy, got {type(loss).__name__}{beta}")


def _derivative(loss: Loss, margin: Float64[Tensor, " n"]) -> Float64[Tensor, " n"]:
    """Compute L'(-margin), where margin = y N(x)."""
    plus = torch.tensor([[0.0, 1.0]], dtype=torch.float64).expand(len(margin), 2)
    return -loss.slope(margin[:, None], plus)[:, 0]


def _build_normal_cells() -> tuple[Float64[Tensor, " n"], Float64[Tensor, " n"]]:
    """Return the middles of cells of the line, and the standard normal weight of each."""
    width = 2 * _QUADRATURE_END / _CELLS
    p = (torch.arange(_CELLS, dtype=torch.float64) + 0.5) * width - _QUADRATURE_END
    return p, width * torch.exp(-p.square() / 2) / math.sqrt(2 * math.pi)
