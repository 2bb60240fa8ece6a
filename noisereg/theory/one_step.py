"""The special cases of theorem 1: one step of the hinge loss on a neuron, and on a net with one hidden layer."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from noisereg import rng
from noisereg.errors import require_above_zero, require_positive
from noisereg.losses import Hinge, Loss
from noisereg.models import Neuron, TwoLayer
from noisereg.rng import Stream
from noisereg.theory.agreement import check_bound
from noisereg.theory.check import Check

_PLACE = "appendix B"
_FLOAT_ERROR = 1e-12


def neuron_square(weight: Float[Tensor, " d"], x: Float[Tensor, " d"], *, y: int, lr: float) -> float:
    """Compute ||V||^2 after a step of the hinge loss on a sample that a neuron misclassifies.

    ||V'||^2 = ||V||^2 + 2 h y V.x + h^2 ||x||^2. The output layer of a net is such a neuron, with x the activations
    below it.

    Args:
        weight: V.
        x: the input, with y V.x <= 0.
        y: -1 or 1.
        lr: h.

    Example:
        >>> neuron_square(torch.tensor([1.0, 1.0]), torch.tensor([3.0, 4.0]), y=-1, lr=0.125)  # |(5/8, 1/2)|^2
        0.640625

    Source: arXiv 2111.02154, appendix B.
    """
    return float(weight.square().sum() + 2 * lr * y * (weight @ x) + lr**2 * x.square().sum())


def hidden_square_bound(
    hidden: Float[Tensor, "units d"],
    output: Float[Tensor, " units"],
    *,
    x: Float[Tensor, " d"],
    y: int,
    lr: float,
) -> float:
    """Compute the bound of ||W||^2 after a step of the hinge loss on a sample that N(x) = V.ReLU(W x) misclassifies.

    ||W'||^2 <= ||W||^2 + 2 h y N(x) + h^2 ||V||^2 ||x||^2, with equality if every neuron fires. A single row may grow.

    Args:
        hidden: W.
        output: V.
        x: the input, with y N(x) <= 0.
        y: -1 or 1.
        lr: h.

    Example:
        >>> hidden_square_bound(torch.eye(2), torch.ones(2), x=torch.ones(2), y=-1, lr=0.5)  # 2 - 2 + 1
        1.0

    Source: arXiv 2111.02154, appendix B.
    """
    value = output @ (hidden @ x).relu()
    product = output.square().sum() * x.square().sum()
    return float(hidden.square().sum() + 2 * lr * y * value + lr**2 * product)


def verify_one_step(
    *, seeds: int = 100, d: int = 30, hidden: int = 20, lr: float = 0.01, loss: Loss | None = None, seed: int = 0
) -> list[Check]:
    """Verify the two identities and the bound of appendix B on steps that torch's SGD takes.

    Args:
        seeds: random networks, each with a sample of its own and the label that it gets wrong.
        d: dimension of the inputs.
        hidden: neurons of the nets with a hidden layer.
        lr: of the step.
        loss: that is trained; None for the hinge loss with beta = 0, for which the identities are stated.
        seed: of the first network; the others follow.

    Returns:
        Rows T1a (neuron) and T1b-output, the largest relative difference; T1b-hidden, the share of the steps that
        keep the bound; and T1b-rows, the share of the rows of W that grow, of those that move.

    Example:
        >>> [check.holds for check in verify_one_step(seeds=3)]
        [True, True, True, True]
    """
    require_positive(seeds=seeds, d=d, hidden=hidden)
    require_above_zero(lr=lr)
    loss, each = loss or Hinge(), range(seed, seed + seeds)
    neurons = [_measure_neuron_error(s, d, lr=lr, loss=loss) for s in each]
    nets = [_measure_net_errors(s, d, hidden=hidden, lr=lr, loss=loss) for s in each]
    outputs, excess, rows = zip(*nets, strict=True)
    kept = [value <= _FLOAT_ERROR for value in excess]
    bounded = "||W'||^2 <= ||W||^2 + 2hyN + h^2 ||V||^2 ||x||^2 for the hidden layer."
    grow = "The norm of some rows W_i may grow while that of W shrinks: their share of the rows that move."
    row: dict[str, Any] = {"place": _PLACE, "n": seeds}
    return [
        _check_identity("T1a", "||V'||^2 = ||V||^2 + 2hyV.x + h^2 ||x||^2 for a single neuron.", neurons),
        _check_identity("T1b-output", "||V'||^2 = ||V||^2 + 2hyN + h^2 ||ReLU(Wx)||^2 for the output layer.", outputs),
        check_bound(sum(kept) / seeds, "=", 1.0, id="T1b-hidden", says=bounded, identity=True, **row),
        check_bound(sum(rows) / seeds, ">", 0.0, id="T1b-rows", says=grow, **row),
    ]


def _check_identity(id: str, says: str, errors: Sequence[float]) -> Check:
    says = f"{says} The largest relative difference is a float error."
    row: dict[str, Any] = {"place": _PLACE, "n": len(errors), "identity": True}
    return check_bound(max(errors), "<=", _FLOAT_ERROR, id=id, says=says, **row)


def _measure_neuron_error(seed: int, d: int, *, lr: float, loss: Loss) -> float:
    model, x = Neuron((d,), 1, seed=seed).double(), _draw_sample(seed, d)
    before = model.output.weight.detach()[0].clone()
    y = _take_step(model, x, lr=lr, loss=loss)
    return _relative_difference(model.output.weight, neuron_square(before, x, y=y, lr=lr))


def _measure_net_errors(seed: int, d: int, *, hidden: int, lr: float, loss: Loss) -> tuple[float, float, float]:
    """Return the error of the output layer, the excess of the hidden one over its bound, and the share of its rows."""
    model, x = TwoLayer((d,), 1, hidden=hidden, bias="none", seed=seed).double(), _draw_sample(seed, d)
    w, v = model.hidden.weight.detach().clone(), model.output.weight.detach()[0].clone()
    y = _take_step(model, x, lr=lr, loss=loss)
    bound = hidden_square_bound(w, v, x=x, y=y, lr=lr)
    after = model.hidden.weight.detach()
    moved = (after != w).any(dim=1)
    grew = after.square().sum(dim=1) > w.square().sum(dim=1)
    error = _relative_difference(model.output.weight, neuron_square(v, (w @ x).relu(), y=y, lr=lr))
    return error, float(after.square().sum()) / bound - 1, float(grew.sum() / moved.sum())


def _take_step(model: nn.Module, x: Float[Tensor, " d"], *, lr: float, loss: Loss) -> int:
    """Train by a step of SGD with the label that the model gets wrong, and return that label as -1 or 1."""
    wrong = (model(x[None])[:, 0] <= 0).long()
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    loss(model(x[None]), wrong).backward()
    optimizer.step()
    return 2 * int(wrong) - 1


def _draw_sample(seed: int, d: int) -> Float[Tensor, " d"]:
    return rng.normal(seed, Stream.TRAIN_DATA, 0, torch.arange(d))


def _relative_difference(weight: Tensor, expected: float) -> float:
    return abs(float(weight.detach().square().sum()) / expected - 1)
