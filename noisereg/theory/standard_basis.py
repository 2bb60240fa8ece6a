"""Pure label noise on the standard basis: the exact dynamics behind theorems 3 and 4.

N(x) = V.ReLU(W x) with V = (1, ..., 1, -1, ..., -1) fixed, 2k neurons, the hinge loss without margin, and x uniform on
e_1, ..., e_d. A visit to e_i moves column i of W alone, so columns are trained apart from each other, each on its own
visits: the law, and for the same draws the result, is that of SGD on the whole network.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor


class BasisRun(NamedTuple):
    """What happened to each column in training.

    Attributes:
        outputs: N(e_i) before the first visit and after each one, (visits + 1, columns).
        steps: of each visit, (visits, columns); -1 where a column has no more.
        updates: visits that moved each column, (columns,).
        revived: how many times a silent neuron came to life.
    """

    outputs: Float64[Tensor, "visits_and_one columns"]
    steps: Int64[Tensor, "visits columns"]
    updates: Int64[Tensor, " columns"]
    revived: int


def basis_outputs(weights: Float64[Tensor, "columns neurons"]) -> Float64[Tensor, " columns"]:
    """Give N(e_i) = sum of ReLU over the first half of the neurons minus that over the second.

    Args:
        weights: columns of W, each the pre-activations of its 2k neurons.

    Example:
        >>> basis_outputs(torch.tensor([[0.5, -1.0, 0.25, -1.0]], dtype=torch.float64))
        tensor([0.2500], dtype=torch.float64)
    """
    return weights.relu() @ _signs(weights)


def visit_basis(
    weights: Float64[Tensor, "columns neurons"], plus: Bool[Tensor, " columns"], *, lr: float
) -> Bool[Tensor, " columns"]:
    """Take one step of SGD on each column, in place: a misclassified visit moves its live neurons by V h y.

    An output of exactly 0 counts as an error, as in `noisereg.losses.Hinge`.

    Args:
        weights: columns of W.
        plus: whether the label is +1.
        lr: learning rate h.

    Returns:
        Which columns moved: they were misclassified and had a live neuron.

    Example:
        >>> weights = torch.tensor([[0.5, -1.0, 0.25, -1.0]], dtype=torch.float64)
        >>> visit_basis(weights, torch.tensor([False]), lr=0.125), weights.tolist()
        (tensor([True]), [[0.375, -1.0, 0.375, -1.0]])
    """
    activations, signs = weights.relu(), _signs(weights)
    outputs = activations @ signs
    wrong = torch.where(plus, outputs <= 0, outputs >= 0)
    moved = wrong & (weights.amax(dim=1) > 0)
    move = torch.where(plus, lr, -lr).double() * wrong
    weights.addcmul_(activations.sign_(), move[:, None] * signs)
    return moved


def train_on_basis(
    weights: Float64[Tensor, "columns neurons"],
    order: Int64[Tensor, "replicas steps"],
    plus: Bool[Tensor, "replicas steps"],
    *,
    lr: float,
) -> BasisRun:
    """Train networks by SGD, in place, column by column.

    Args:
        weights: columns of W, all of the first replica, then all of the second, and so on.
        order: which basis vector each step takes.
        plus: whether its label is +1.
        lr: learning rate h.

    Example:
        >>> weights = torch.tensor([[0.5, -1.0], [0.5, -1.0]], dtype=torch.float64)
        >>> run = train_on_basis(weights, torch.tensor([[1, 1]]), torch.tensor([[False, True]]), lr=0.125)
        >>> weights[:, 0].tolist(), run.updates.tolist(), run.steps.tolist()
        ([0.5, 0.375], [0, 1], [[-1, 0], [-1, 1]])
    """
    steps = _visits(order, len(weights) // len(order)).T.contiguous()
    replica = torch.arange(len(order)).repeat_interleave(len(weights) // len(order))
    outputs, updates, revived = [basis_outputs(weights)], torch.zeros(len(weights), dtype=torch.int64), 0
    for step in steps:
        here = step >= 0
        visited = weights if bool(here.all()) else weights[here]
        silent = visited <= 0
        updates[here] += visit_basis(visited, plus[replica[here], step[here]], lr=lr)
        revived += int((silent & (visited > 0)).sum())
        if visited is not weights:
            weights[here] = visited
        outputs.append(basis_outputs(weights))
    return BasisRun(torch.stack(outputs), steps, updates, revived)


def silent_share(k: int, lr: float) -> float:
    """Give the expected share of silent neurons at the end from W ~ U[-1, 1], for any learning rate: our closed form.

    1 for h >= 1. For h < 1, with the output |N| at the start normal of variance 5k/24 (a sum of 2k terms +-ReLU(w)):
    n = ceil(|N| / (h k)) misclassified visits change its sign, and silence what was below n h on the side that
    outweighed, which is n h / 4 of all neurons. Their loss leaves N short of its return by k h^2 / 4. If n = 1 and
    |N| is less than that, one more visit silences h of the other side as well. Hence

        1/2 + E[n] h / 4 + P(n = 1, |N| < k h^2 / 4) h / 4.

    For h <= 1/k this is 1/2 + sqrt(5 / (12 pi)) / (4 sqrt(k)) + h / 8, the o(1) of theorem 4; at a fixed h in (0, 1)
    it tends to (1 + h) / 2 as k grows, of which theorem 4 does not speak.

    Args:
        k: half the number of hidden neurons.
        lr: learning rate h, positive.

    Raises:
        ValueError: if lr is not positive.

    Example:
        >>> [round(silent_share(1000, lr), 3) for lr in (0.001, 0.1, 0.5, 1.0)]
        [0.503, 0.528, 0.75, 1.0]
    """
    if lr <= 0:
        raise ValueError(f"lr must be positive, got {lr}")
    if lr >= 1:
        return 1.0
    deviation = math.sqrt(5 * k / 24)
    quantiles = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 40_000 + 0.5
    start = torch.special.ndtri(quantiles) * deviation
    visits = (start / (lr * k)).ceil()
    returns = (visits == 1) & (start < k * lr**2 / 4)
    return float(0.5 + (visits * lr + returns * lr).mean() / 4)


def _signs(weights: Float64[Tensor, "columns neurons"]) -> Float64[Tensor, " neurons"]:
    """Give V."""
    return torch.ones_like(weights[0]).index_fill_(0, torch.arange(weights.shape[1] // 2, weights.shape[1]), -1)


def _visits(order: Int64[Tensor, "replicas steps"], d: int) -> Int64[Tensor, "columns visits"]:
    """Give the numbers of the steps that visit each column, in order, and -1 after them."""
    replicas, num_steps = order.shape
    columns = (order + d * torch.arange(replicas)[:, None]).flatten()
    by_column = columns.argsort(stable=True)
    counts = columns.bincount(minlength=replicas * d)
    place = torch.arange(len(columns)) - (counts.cumsum(0) - counts)[columns[by_column]]
    steps = torch.full((replicas * d, int(counts.max())), -1)
    steps[columns[by_column], place] = by_column % num_steps
    return steps
