"""The slides' update rules: with the hinge loss, SGD of one sample a step is the perceptron.

Source: the slides, "SGD with Hinge Loss"; A. B. J. Novikoff, "On convergence proofs for perceptrons", 1963.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from noisereg import rng
from noisereg.errors import require_above_zero, require_positive
from noisereg.losses import Hinge, Loss
from noisereg.rng import Stream
from noisereg.theory.agreement import check_bound
from noisereg.theory.check import Check

_PLACE = "slides, SGD with the hinge loss"
_ROUNDING = 1e-12


class Mistakes(NamedTuple):
    """What a perceptron came to.

    Attributes:
        number: of updates until no sample was misclassified.
        bound: (R / margin)^2 of Novikoff's theorem.
    """

    number: int
    bound: float


def draw_separable(n: int, d: int, *, margin: float, seed: int) -> tuple[Float64[Tensor, "n d"], Int64[Tensor, " n"]]:
    """Draw points in a cube and label them by a hyperplane through the origin that keeps a distance from all of them.

    Args:
        n: number of points.
        d: their dimension.
        margin: least distance of a point to the hyperplane, at least 0.
        seed: of the draws.

    Returns:
        The points, in [-1, 1]^d before they are moved away from the hyperplane, and their labels, 0 or 1.

    Example:
        >>> inputs, labels = draw_separable(4, 2, margin=0.5, seed=0)
        >>> inputs.shape, labels.shape
        (torch.Size([4, 2]), torch.Size([4]))
    """
    cube = 2 * rng.uniform(seed, Stream.TRAIN_DATA, 0, torch.arange(n * d)).view(n, d) - 1
    normal = _normal_vector(d)
    side = cube @ normal
    sign = torch.where(side >= 0, 1.0, -1.0)
    return cube + (margin * sign)[:, None] * normal, (sign > 0).long()


def train_perceptron(inputs: Float64[Tensor, "n d"], labels: Int64[Tensor, " n"], *, loss: Loss, lr: float) -> Mistakes:
    """Train a neuron from zero, one sample a step in turn, until it makes no mistake.

    Novikoff: the number of mistakes is at most (R / margin)^2, where R is the largest norm of a sample, whatever the
    order of the samples and the learning rate.

    Args:
        inputs: of the samples.
        labels: 0 or 1.
        loss: the hinge loss with beta = 0 for a perceptron.
        lr: learning rate, above 0.

    Returns:
        The mistakes and their bound; the training ends at the latest when it has exceeded the bound.

    Example:
        >>> inputs, labels = draw_separable(10, 2, margin=0.5, seed=0)
        >>> mistakes = train_perceptron(inputs, labels, loss=Hinge(), lr=0.1)
        >>> mistakes.number <= mistakes.bound
        True
    """
    sign, weight, mistakes = 2.0 * labels - 1, torch.zeros(inputs.shape[1], dtype=torch.float64), 0
    margin = (sign * (inputs @ _normal_vector(inputs.shape[1]))).min()
    bound = float((inputs.norm(dim=1).max() / margin) ** 2)
    while mistakes <= bound:
        before = mistakes
        for x, y in zip(inputs, sign, strict=True):
            wrong = y * (weight @ x) <= 0
            slope = loss.slope((weight @ x).view(1, 1), torch.tensor([[1 - y, 1 + y]]) / 2)
            weight = weight - lr * slope[0, 0] * x
            mistakes += int(wrong)
        if mistakes == before:
            break
    return Mistakes(mistakes, bound)


def verify_perceptron(
    *, seeds: int = 10, n: int = 100, d: int = 30, margin: float = 0.3, lr: float = 0.1, seed: int = 0
) -> list[Check]:
    """Check the slides' update rules of a neuron and of a two-layer network, and Novikoff's bound.

    Args:
        seeds: number of data sets.
        n: samples of each.
        d: their dimension.
        margin: of the hyperplane.
        lr: learning rate.
        seed: of the first data set; the others follow.

    Example:
        >>> all(check.holds for check in verify_perceptron(seeds=2, n=20, d=5))
        True
    """
    require_positive(seeds=seeds, n=n, d=d)
    require_above_zero(margin=margin, lr=lr)
    return check_perceptron(Hinge(), range(seed, seed + seeds), n=n, d=d, margin=margin, lr=lr)


def check_perceptron(loss: Loss, seeds: Sequence[int], *, n: int, d: int, margin: float, lr: float) -> list[Check]:
    """Check the slides' rules for a loss; they hold for the hinge loss with beta = 0."""
    neuron = max(_measure_neuron_difference(loss, seed, d=d, lr=lr) for seed in seeds)
    layers = max(_measure_network_difference(loss, seed, d=d, lr=lr) for seed in seeds)
    runs = [train_perceptron(*draw_separable(n, d, margin=margin, seed=seed), loss=loss, lr=lr) for seed in seeds]
    worst = max(run.number / run.bound for run in runs)
    autograd = "(The largest relative difference to autograd.)"
    step = f"A step of SGD with the hinge loss is V + h y x if the sample is misclassified. {autograd}"
    steps = f"So it is for both layers of a network, with the neurons that fire. {autograd}"
    mistakes = "On separable samples a neuron makes at most (R / margin)^2 mistakes (the largest share of it)."
    row: dict[str, Any] = {"n": len(seeds), "identity": True}
    return [
        check_bound(neuron, "<=", _ROUNDING, id="S1", says=step, place=_PLACE, **row),
        check_bound(layers, "<=", _ROUNDING, id="S2", says=steps, place=_PLACE, **row),
        check_bound(worst, "<=", 1.0, id="S9", says=mistakes, place=f"{_PLACE}; Novikoff 1963", **row),
    ]


def _measure_neuron_difference(loss: Loss, seed: int, *, d: int, lr: float) -> float:
    weight, x = _draw_uniform(seed, d, place=0), _draw_uniform(seed, d, place=1)
    y = 1.0 if rng.uniform(seed, Stream.TRAIN_LABEL, 0, torch.arange(1)).item() < 0.5 else -1.0
    misclassified = y * (weight @ x) <= 0
    expected = weight + lr * y * x if misclassified else weight
    (gradient,) = _compute_gradients(loss, y, weights=[weight], output=lambda weights: weights[0] @ x)
    return _relative_difference(weight - lr * gradient, expected)


def _measure_network_difference(loss: Loss, seed: int, *, d: int, lr: float) -> float:
    hidden, output, x = (
        _draw_uniform(seed, 8 * d, place=2).view(8, d),
        _draw_uniform(seed, 8, place=3),
        _draw_uniform(seed, d, place=1),
    )
    y = 1.0 if rng.uniform(seed, Stream.TRAIN_LABEL, 1, torch.arange(1)).item() < 0.5 else -1.0
    fires = (hidden @ x >= 0).double()
    before = [hidden, output]
    after = before
    if y * (output @ (hidden @ x).relu()) <= 0:
        after = [hidden + lr * y * (output * fires)[:, None] * x, output + lr * y * (hidden @ x).relu()]
    gradients = _compute_gradients(loss, y, weights=before, output=lambda weights: weights[1] @ (weights[0] @ x).relu())
    steps = zip(before, gradients, after, strict=True)
    return max(_relative_difference(weight - lr * gradient, expected) for weight, gradient, expected in steps)


def _compute_gradients(
    loss: Loss, y: float, *, weights: list[Tensor], output: Callable[[list[Tensor]], Tensor]
) -> list[Tensor]:
    leaves = [weight.clone().requires_grad_() for weight in weights]
    logits = output(leaves).view(1, 1)
    return list(torch.autograd.grad(loss(logits, torch.tensor([int(y > 0)])), leaves))


def _draw_uniform(seed: int, n: int, *, place: int) -> Float64[Tensor, " n"]:
    return 2 * rng.uniform(seed, Stream.TRAIN_DATA, 1 + place, torch.arange(n)) - 1


def _normal_vector(d: int) -> Float64[Tensor, " d"]:
    return torch.full((d,), d**-0.5, dtype=torch.float64)


def _relative_difference(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())
