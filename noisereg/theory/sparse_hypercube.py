"""The sparse network that solves the hypercube task by hand, and what it does exactly.

Each neuron looks whether a coordinate is beyond 1 - eps/2 on one side. No point of the inner cube gets there. Of a
point of the outer cube one coordinate is at the surface, and each of the d - 1 others, uniform on [-1, 1], is beyond
with probability eps/2, and then by an amount that is uniform on [0, eps/2].

Source: Cornacchia, Hazla, Nachum, Yehudayoff, arXiv 2111.02154, section 6.3.
"""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float64
from scipy.stats import binom, irwinhall
from torch import Tensor, nn

from noisereg import rng
from noisereg.datasets.hypercube import surface_points
from noisereg.errors import require_positive
from noisereg.metrics.predictions import predictions
from noisereg.models import TwoLayer
from noisereg.rng import Stream
from noisereg.theory.agreement import check_bound, check_mean
from noisereg.theory.check import Check, Curve

_PLACE = "section 6.3"
_PAPER_BIAS = -0.5
_TOLERANCE = 0.05


def hypercube_net(d: int, eps: float, *, output_bias: float | None = None) -> TwoLayer:
    """Build the network of section 6.3: 2d neurons ReLU(+-x_i - (1 - eps/2)), their sum, and a bias.

    Args:
        d: dimension of the inputs.
        eps: distance of the two surfaces, in (0, 1).
        output_bias: b; None for -eps/4. The network is exact for -eps/2 < b < 0. The paper has -1/2.

    Returns:
        The network, in float64.

    Raises:
        ValueError: eps is out of range.

    Example:
        >>> net = hypercube_net(3, 0.2)
        >>> (net(torch.tensor([[1.0, 0.0, 0.5], [-0.8, 0.8, 0.8]]).double()) > 0).tolist()
        [[True], [False]]
    """
    if not 0 < eps < 1:
        raise ValueError(f"eps must be in (0, 1), got {eps}")
    net = TwoLayer((d,), 1, hidden=2 * d).double()
    one = torch.eye(d, dtype=torch.float64)
    with torch.no_grad():
        net.hidden.weight.copy_(torch.cat([one, -one]))
        net.hidden.bias.fill_(-(1 - eps / 2))
        net.output.weight.fill_(1.0)
        net.output.bias.fill_(-eps / 4 if output_bias is None else output_bias)
    return net


def hypercube_active(d: int, eps: float) -> float:
    """Compute the mean number of its neurons that fire on the outer cube: 1 + (d - 1) eps / 2. None fires on the inner.

    Args:
        d: dimension of the inputs.
        eps: distance of the two surfaces, in (0, 1).

    Note:
        The paper says d eps. That is nearly twice as many.

    Example:
        >>> round(hypercube_active(60, 0.3), 2)
        9.85
    """
    return 1 + (d - 1) * eps / 2


def hypercube_error(d: int, eps: float, *, output_bias: float) -> float:
    """Compute the share of the outer cube that it gets wrong.

    N = b + (1 + S) eps/2, where S is a sum of K uniform numbers on [0, 1] and K ~ Bin(d - 1, eps/2). So the share is
    P(S <= s) with s = -2b/eps - 1, and P(S <= s | K) is the law of Irwin and Hall.

    Args:
        d: dimension of the inputs.
        eps: distance of the two surfaces, in (0, 1).
        output_bias: b.

    Example:
        >>> round(hypercube_error(60, 0.3, output_bias=-0.5), 4)
        0.0894
        >>> hypercube_error(60, 0.3, output_bias=-0.075)
        0.0

    Source: P. Hall, "The distribution of means for samples of size N drawn from a population in which the variate takes
        values between 0 and 1", Biometrika 19, 1927.
    """
    s, law = -2 * output_bias / eps - 1, binom.pmf(np.arange(d), d - 1, eps / 2)
    return float(law[0] * (s >= 0) + law[1:] @ irwinhall.cdf(s, np.arange(1, d)))


def verify_hypercube_net(
    *, d: int = 60, eps: float = 0.3, samples: int = 50_000, hidden: int | None = None, seed: int = 0
) -> list[Check]:
    """Count errors and active neurons of the network on random points of the two surfaces.

    A share or mean holds if its whole 95 % t interval lies within 5 % of the prediction.

    Args:
        d: dimension of the inputs.
        eps: distance of the two surfaces, in (0, 1).
        samples: on each surface.
        hidden: neurons of the network that is trained, whose parameters are counted; None for 4d.
        seed: of the points.

    Returns:
        F1f-exact, F1f-paper-bias (the share of the outer cube that the paper's b = -1/2 gets wrong), F1f-active,
        F1f-silent and F1g; and two statements of the paper as they stand, F1f-paper-exact and F1f-paper-active.

    Example:
        >>> {check.id: check.holds for check in verify_hypercube_net(samples=1000)}["F1f-exact"]
        True
    """
    require_positive(d=d, hidden=4 * d if hidden is None else hidden)
    require_positive(at_least=2, samples=samples)
    outer, inner = (
        _draw_surface(samples, d, radius=1.0, seed=seed),
        _draw_surface(samples, d, radius=1 - eps, seed=seed + 1),
    )
    exact, paper = hypercube_net(d, eps), hypercube_net(d, eps, output_bias=_PAPER_BIAS)
    wrong = torch.cat([_is_wrong(exact, outer, label=1), _is_wrong(exact, inner, label=0)])
    missed, active = _is_wrong(paper, outer, label=1), _count_active(exact, outer)
    model = TwoLayer((d,), 1, hidden=4 * d if hidden is None else hidden)
    size, square = sum(parameter.numel() for parameter in model.parameters()), 4.0 * d**2
    share, count = hypercube_error(d, eps, output_bias=_PAPER_BIAS), hypercube_active(d, eps)
    row: dict[str, Any] = {"tolerance": _TOLERANCE, "place": _PLACE}
    curve = _build_error_curve(paper, outer, eps=eps)
    misses = "With b = -1/2 it misses a part of the outer cube."
    active_outside = "On the outer cube, 1 + (d-1) eps/2 neurons are active."
    represents = "The paper: with b = -1/2 the network represents the task."
    paper_active = "The paper: d eps neurons are active on the outer cube."
    inside = _count_active(exact, inner)
    more = "The trained network has roughly 4d^2 parameters, more than samples."
    parameters: dict[str, Any] = {"place": _PLACE, "n": 1, "note": "roughly: within 5 %", "identity": True}
    return [
        check_mean(wrong, 0.0, id="F1f-exact", says="With b = -eps/4 the network makes no error.", **row),
        check_mean(missed, share, id="F1f-paper-bias", says=misses, curve=curve, **row),
        check_mean(active, count, id="F1f-active", says=active_outside, **row),
        check_mean(inside, 0.0, id="F1f-silent", says="On the inner cube, no neuron is active.", **row),
        check_mean(missed, 0.0, id="F1f-paper-exact", says=represents, **row),
        check_mean(active, d * eps, id="F1f-paper-active", says=paper_active, **row),
        check_bound(size, "=", square, margin=0.05 * square, id="F1g", says=more, **parameters),
    ]


def _draw_surface(samples: int, d: int, *, radius: float, seed: int) -> Float64[Tensor, "samples d"]:
    cube = 2 * rng.uniform(seed, Stream.TEST_DATA, 0, torch.arange(samples * d)).view(samples, d) - 1
    return surface_points(cube, torch.full((samples,), radius, dtype=torch.float64))


@torch.no_grad()
def _is_wrong(net: nn.Module, points: Float64[Tensor, "samples d"], *, label: int) -> Float64[Tensor, " samples"]:
    return (predictions(net(points)) != label).double()


@torch.no_grad()
def _count_active(net: TwoLayer, points: Float64[Tensor, "samples d"]) -> Float64[Tensor, " samples"]:
    return (net.hidden(points) > 0).sum(dim=1).double()


@torch.no_grad()
def _build_error_curve(net: TwoLayer, outer: Float64[Tensor, "samples d"], *, eps: float) -> Curve:
    """Compute the share of the outer cube that is missed for output biases of both sides of -eps/2."""
    sums = net(outer) - net.output.bias
    bias = torch.linspace(-5 * eps, 0, 41, dtype=torch.float64)
    return Curve(
        x_title="output bias",
        y_title="share of the outer cube that is missed",
        x=bias.tolist(),
        measured=(sums + bias <= 0).double().mean(dim=0).tolist(),
        predicted=[hypercube_error(net.hidden.in_features, eps, output_bias=b) for b in bias.tolist()],
    )
