"""What pure label noise does to one neuron N(x) = V.x on x ~ N(0, I_d): the closed forms of theorem 2.

A step of SGD is V <- V + h L'(-y V.x) y x. With s = ||V||, and p = y V.x / s, which is standard normal,

    E||V'||^2 - ||V||^2 = 2 h s E[L'(-s p) p] + h^2 E[L'(-s p)^2 ||x||^2].

The first term pulls the norm down, the second one, the noise of the inputs, pushes it up.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float64
from scipy.integrate import solve_ivp
from torch import Tensor

from noisereg.losses import CrossEntropy, Hinge, Logistic, Loss

_WIDTH, _CELLS = 9.0, 3600  # the quadrature's cells meet at 0, where the hinge jumps


class NeuronBound(NamedTuple):
    """What theorem 2 promises.

    Attributes:
        steps: T, within which the norm falls below the radius.
        radius: N.
    """

    steps: int
    radius: float


def neuron_slope(lr: float, loss: Loss, *, steps: int = 1) -> float:
    """Give the change of the norm in so many steps, where it is large: -h / sqrt(2 pi) a step.

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
    return -steps * lr / math.sqrt(2 * math.pi)


def neuron_equilibrium(d: int, lr: float, *, loss: Loss) -> float:
    """Give the norm at which pull and push are equal.

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
    return d * lr * math.sqrt(2 * math.pi) / 4 if isinstance(loss, Hinge) else math.sqrt(d * lr / 2)


def neuron_norm(steps: Sequence[float], norm: float, *, d: int, lr: float, loss: Loss) -> list[float]:
    """Give the norm over training, in mean field: the expected change of ||V||^2 as a differential equation.

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
    if norm <= 0:
        raise ValueError(f"norm must be positive, got {norm}")
    p, weight = _normal_cells()

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
    """Give the explicit constants of the proof of theorem 2.

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
    if isinstance(loss, Hinge):
        return NeuronBound(math.ceil(3 * norm / (m * lr)), 100 * d * lr * max(1 / m, 1))
    return NeuronBound(math.ceil(7 * norm / (m * d * lr**1.5)), 100 * d * math.sqrt(lr) * max(1 / m, 1))


def _steepness(loss: Loss) -> float:
    """Give m of theorem 2: the jump of L' at 0, or L''(0)."""
    if type(loss) is Hinge and loss.beta == 0:
        return 1.0
    if type(loss) in (Logistic, CrossEntropy):
        return 0.25
    beta = f" with beta={loss.beta}" if isinstance(loss, Hinge) else ""
    raise ValueError(f"loss must be Hinge with beta=0, Logistic or CrossEntropy, got {type(loss).__name__}{beta}")


def _derivative(loss: Loss, margin: Float64[Tensor, " n"]) -> Float64[Tensor, " n"]:
    """Give L'(-margin), where margin = y N(x)."""
    plus = torch.tensor([[0.0, 1.0]], dtype=torch.float64).expand(len(margin), 2)
    return -loss.slope(margin[:, None], plus)[:, 0]


def _normal_cells() -> tuple[Float64[Tensor, " n"], Float64[Tensor, " n"]]:
    """Give the middles of cells of the line, and the standard normal weight of each."""
    width = 2 * _WIDTH / _CELLS
    p = (torch.arange(_CELLS, dtype=torch.float64) + 0.5) * width - _WIDTH
    return p, width * torch.exp(-p.square() / 2) / math.sqrt(2 * math.pi)
