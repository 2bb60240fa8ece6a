"""Gradient flow: the norms of all layers fall together, at twice the loss, and their differences stay."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from noisereg import rng
from noisereg.errors import require_above_zero, require_positive
from noisereg.losses import Hinge, Loss
from noisereg.models import MLP
from noisereg.noise import Resample
from noisereg.rng import Stream
from noisereg.theory.agreement import build_not_applicable, check_bound
from noisereg.theory.check import Check, Curve
from noisereg.theory.homogeneity import layers, obstacles

_TOLERANCE = 0.01
_PLACE = "section 4, corollary 1"


@dataclass(frozen=True, kw_only=True)
class Flow:
    """The path of a network under gradient flow.

    Attributes:
        time: of each record.
        squares: ||W||^2 of each layer.
        balances: ||W_{l+1}||^2 - ||W_l||^2 for each unit between two layers: its outgoing minus its incoming weights.
        losses: E[L].
    """

    time: Float64[Tensor, " records"]
    squares: Float64[Tensor, "records layers"]
    balances: Float64[Tensor, "records units"]
    losses: Float64[Tensor, " records"]

    def predicted_decrease(self) -> Float64[Tensor, " records"]:
        """Compute ||W(0)||^2 - ||W(t)||^2 by corollary 1: twice the integral of E[L], the same for every layer.

        For the hinge loss with beta = 0, <W, dL/dW> = L in a homogeneous net, so that d||W||^2/dt = -2 E[L].

        Source: arXiv 2111.02154, corollary 1, made an equation.
        """
        integral = torch.cumulative_trapezoid(self.losses, self.time)
        return 2 * torch.cat([integral.new_zeros(1), integral])


def integrate(
    model: nn.Module,
    inputs: Float[Tensor, "n *shape"],
    targets: Float[Tensor, "n classes"],
    *,
    loss: Loss,
    duration: float,
    steps: int,
) -> Flow:
    """Integrate dW/dt = -grad E[L] by the midpoint rule, in place.

    Args:
        model: fully connected; take float64.
        inputs: the data set, over which E is the mean.
        targets: distributions over the labels, which make the mean over label noise exact.
        loss: L.
        duration: of the flow; negative to go backwards.
        steps: of the integration.

    Returns:
        The record of the start and of every step.

    Raises:
        ValueError: a weight has more than two axes.

    Example:
        >>> net = nn.Sequential(nn.Linear(1, 1, bias=False)).double()
        >>> _ = nn.init.ones_(net[0].weight)
        >>> x, target = torch.ones(1, 1).double(), torch.tensor([[1.0, 0.0]]).double()
        >>> flow = integrate(net, x, target, loss=Hinge(), duration=0.5, steps=10)  # N falls at rate 1
        >>> round(float(flow.squares[-1, 0]), 6)
        0.25
    """
    if any(weight.ndim != 2 for weight in layers(model).values()):
        raise ValueError("the flow is recorded for fully connected networks, got a convolution")
    parameters, records, h = list(model.parameters()), [], duration / steps
    for _ in range(steps):
        value, slopes = _compute_slopes(model, inputs, targets, loss=loss)
        records.append(_record(model, value))
        start = [parameter.detach().clone() for parameter in parameters]
        _move_parameters(parameters, start, slopes, -h / 2)
        _, slopes = _compute_slopes(model, inputs, targets, loss=loss)
        _move_parameters(parameters, start, slopes, -h)
    records.append(_record(model, _compute_slopes(model, inputs, targets, loss=loss)[0]))
    losses, squares, balances = (torch.stack(column) for column in zip(*records, strict=True))
    time = h * torch.arange(steps + 1, dtype=torch.float64)
    return Flow(time=time, squares=squares, balances=balances, losses=losses)


def verify_gradient_flow(
    *,
    p: float = 1.0,
    depth: int = 3,
    hidden: int = 10,
    d: int = 5,
    n: int = 20,
    duration: float = 2.0,
    steps: int = 1000,
    seed: int = 0,
) -> list[Check]:
    """Verify corollary 1 and the balance of the layers on a net of equation (2) under label noise.

    Args:
        p: strength of the noise, over which the loss is the exact mean.
        depth: number of weight layers, at least 2.
        hidden: width of each hidden layer.
        d: dimension of the inputs.
        n: samples of the data set, which the flow takes the mean over.
        duration: of the flow. Much later, outputs have come to 0 and stay there, on the kink of the loss, which the
            integration follows less exactly.
        steps: of the integration.
        seed: of the weights, inputs and labels.

    Returns:
        The rows of `check_flow`.

    Example:
        >>> [check.holds for check in verify_gradient_flow(depth=2, duration=0.1, steps=50)]
        [True, True, True, True]
    """
    require_positive(hidden=hidden, d=d, n=n, steps=steps)
    require_positive(at_least=2, depth=depth)
    require_above_zero(duration=duration)
    model = MLP((d,), 1, hidden=[hidden] * (depth - 1), init="he", bias="none", append_one=True, seed=seed).double()
    inputs = rng.normal(seed, Stream.TRAIN_DATA, 0, torch.arange(n * d)).view(n, d)
    labels = (rng.uniform(seed, Stream.TRAIN_LABEL, 0, torch.arange(n)) < 0.5).long()
    targets = Resample(p=p, expected=True).transition(2)[labels]
    return check_flow(model, inputs, targets, loss=Hinge(), duration=duration, steps=steps)


def check_flow(
    model: nn.Module,
    inputs: Float[Tensor, "n *shape"],
    targets: Float[Tensor, "n classes"],
    *,
    loss: Loss,
    duration: float,
    steps: int,
) -> list[Check]:
    """Compare a flow with the corollary and with the theorems of Du et al.

    Differences are measured in units of the largest decrease of ||W||^2, and may be 1 % of it: the integration's error.
    The arguments are those of `integrate`; the corollary is for the hinge loss with beta = 0.

    Returns:
        Rows C1-rate, the decrease of ||W||^2 over twice the integral of the loss (the layer farthest from 1);
        C1-monotone, the largest increase of a layer in a step; C1-together, the largest difference between the
        decreases of two layers; Du, the largest change of a unit's balance. If the network is not homogeneous, or
        nothing is misclassified, one row that says so.

    Source: arXiv 2111.02154, corollary 1; Du, Hu, Lee, 2018, theorem 2.1 and corollary 2.1.
    """
    reasons = obstacles(model, inputs)
    if not loss(model(inputs), targets).detach():
        reasons.append("no sample is misclassified, and nothing moves")
    if reasons:
        says = "The norms of all layers fall together at twice the mean loss."
        n = len(layers(model))
        return [build_not_applicable(reasons, predicted=1.0, id="C1", says=says, place=_PLACE, n=n)]
    flow = integrate(model, inputs, targets, loss=loss, duration=duration, steps=steps)
    decreases = flow.squares[0] - flow.squares
    unit = float(decreases.abs().max())
    ratios = decreases[-1] / flow.predicted_decrease()[-1]
    rate = float(ratios[(ratios - 1).abs().argmax()])
    rise = float(flow.squares.diff(dim=0).max()) / unit
    spread = float((decreases.amax(dim=1) - decreases.amin(dim=1)).max()) / unit
    moved = float((flow.balances - flow.balances[0]).abs().max()) / unit
    n, curve = decreases.shape[1], _build_curve(flow)
    falls = f"The squared norm of every layer falls at twice the mean loss, up to time {duration:g}."
    shrinks = f"No layer's norm ever grows, up to time {duration:g}."
    together = "All layers fall by the same amount."
    stays = "The squares of the outgoing minus the incoming weights of each unit stay."
    near: dict[str, Any] = {"margin": _TOLERANCE, "place": _PLACE, "n": n}
    of_units = {"place": "Du et al. 2018", "n": flow.balances.shape[1]}
    return [
        check_bound(rate, "=", 1.0, id="C1-rate", says=falls, curve=curve, **near),
        check_bound(rise, "<=", 0.0, id="C1-monotone", says=shrinks, place=_PLACE, n=n * steps),
        check_bound(spread, "=", 0.0, id="C1-together", says=together, **near),
        check_bound(moved, "=", 0.0, id="Du", says=stays, **near | of_units),
    ]


def _build_curve(flow: Flow) -> Curve:
    shown = slice(None, None, max(len(flow.time) // 100, 1))
    return Curve(
        x_title="time",
        y_title="decrease of the squared norm, mean of the layers",
        x=flow.time[shown].tolist(),
        measured=(flow.squares[0] - flow.squares).mean(dim=1)[shown].tolist(),
        predicted=flow.predicted_decrease()[shown].tolist(),
    )


def _compute_slopes(
    model: nn.Module, inputs: Tensor, targets: Tensor, *, loss: Loss
) -> tuple[Tensor, tuple[Tensor, ...]]:
    value = loss(model(inputs), targets)
    return value.detach(), torch.autograd.grad(value, list(model.parameters()))


@torch.no_grad()
def _move_parameters(parameters: Sequence[Tensor], start: Sequence[Tensor], slopes: Sequence[Tensor], h: float) -> None:
    for parameter, begun, slope in zip(parameters, start, slopes, strict=True):
        parameter.copy_(begun + h * slope)


def _record(model: nn.Module, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Compute the loss, the square of each layer, and the balance of each unit between two layers."""
    squares = [weight.detach().square() for weight in layers(model).values()]
    balances = [after.sum(dim=0) - before.sum(dim=1) for before, after in pairwise(squares)]
    return value, torch.stack([square.sum() for square in squares]), torch.cat([*balances, value.new_empty(0)])
