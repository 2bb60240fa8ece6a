"""Pure label noise on the standard basis: the exact dynamics behind theorems 3 and 4, and what they leave alive.

N(x) = V.ReLU(W x) with V = (1, ..., 1, -1, ..., -1) fixed, 2k neurons, the hinge loss without margin, and x uniform on
e_1, ..., e_d. A visit to e_i moves column i of W alone, so columns are trained apart from each other, each on its own
visits: the law, and for the same draws the result, is that of SGD on the whole network.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float64, Int64
from scipy.stats import binom, norm
from torch import Tensor

from noisereg import rng
from noisereg.errors import require_above_zero, require_positive
from noisereg.rng import Stream
from noisereg.theory.agreement import build_curve_of_means, check_bound, check_mean
from noisereg.theory.check import Check, Curve

_INITS = ("U[-1, 1]", "10 U[-1, 1]", "N(0, 1)", "one side live")
_RATES = (0.001, 0.003, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 0.9, 1.0)


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
    """Compute N(e_i): the sum of ReLU over the first half of the neurons minus that over the second.

    Args:
        weights: columns of W, each the pre-activations of its 2k neurons.

    Example:
        >>> basis_outputs(torch.tensor([[0.5, -1.0, 0.25, -1.0]], dtype=torch.float64))
        tensor([0.2500], dtype=torch.float64)
    """
    return weights.relu() @ _output_signs(weights)


def visit_basis(
    weights: Float64[Tensor, "columns neurons"], plus: Bool[Tensor, " columns"], *, lr: float
) -> Bool[Tensor, " columns"]:
    """Train each column by one step of SGD, in place: a misclassified visit moves its live neurons by V h y.

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
    activations, signs = weights.relu(), _output_signs(weights)
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
    steps = _list_visits(order, len(weights) // len(order)).T.contiguous()
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
    """Compute the expected share of silent neurons at the end from W ~ U[-1, 1] at any learning rate: our closed form.

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

    Note:
        It is the leading order for large k. At k = 60 and h = 0.95 it gives 0.975, where simulation has 0.981 +- 0.001;
        at k = 400 the two agree to 0.002.

    Raises:
        ValueError: if lr is not positive.

    Example:
        >>> [round(silent_share(1000, lr), 3) for lr in (0.001, 0.1, 0.5, 1.0)]
        [0.503, 0.528, 0.75, 1.0]
    """
    require_above_zero(lr=lr)
    if lr >= 1:
        return 1.0
    deviation = math.sqrt(5 * k / 24)
    quantiles = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 40_000 + 0.5
    start = torch.special.ndtri(quantiles) * deviation
    visits = (start / (lr * k)).ceil()
    returns = (visits == 1) & (start < k * lr**2 / 4)
    return float(0.5 + (visits * lr + returns * lr).mean() / 4)


def verify_dead_output(
    *, ks: Sequence[int] = (100, 1000), d: int = 30, visits: int = 200, seed: int = 0
) -> list[Check]:
    """Measure theorem 3: |N(e_i)| falls below 2 k h for every i, and live neurons only become fewer.

    For any initial weights this takes at most ceil(max W_ri / h) misclassified visits to e_i, for then no neuron of the
    side that outweighed is left. As other visits change nothing, this claim is measured on misclassified visits alone;
    the others are measured on full runs from W ~ U[-1, 1]. Rates are h = 1/k, 2/k, 0.1 and 0.5. The bound is kept as
    |N| <= 2 k h: where N = 0 at the start and the kink of the loss is taken from the right, the two sides come and go
    between N = 0 and exactly 2 k h.

    Args:
        ks: halves of the numbers of hidden neurons.
        d: dimension.
        visits: steps by which the outputs must be settled, in units of d; a run is half as long again.
        seed: of the weights and draws.

    Example:
        >>> [check.holds for check in verify_dead_output(ks=(20,), d=5)]
        [True, True, True, True, True]

    Source: arXiv 2111.02154, theorem 3, proof in appendix D.
    """
    require_positive(ks=min(ks, default=0), d=d, visits=visits)
    cases = [(k, lr) for k in ks for lr in (1 / k, 2 / k, 0.1, 0.5)]
    spent = max(_measure_updates(_draw_weights(init, k, d, seed=seed), lr) for k, lr in cases for init in _INITS)
    weights = [_draw_weights(_INITS[0], k, d, seed=seed) for k, _ in cases]
    runs = [_train(w, lr, d=d, visits=3 * visits // 2, seed=seed) for w, (_, lr) in zip(weights, cases, strict=True)]
    last = max(_find_last_step_outside(run, 2 * k * lr) for run, (k, lr) in zip(runs, cases, strict=True))
    ratio = max(
        float((basis_outputs(w).abs() / w.gt(0).sum(dim=1).clamp(min=1)).max()) / lr
        for w, (_, lr) in zip(weights, cases, strict=True)
    )
    revived = sum(run.revived for run in runs)
    every = "|N(e_i)| falls below 2 k h after finitely many steps: misclassified visits, as a share of max(W_ri) / h."
    kept = f"From U[-1, 1], |N(e_i)| stays below 2 k h from step {visits} d on: the last step when one did not."
    sets = "A neuron that is silent on e_i stays silent: how many came to life."
    end = "At the end |N(e_i)| is at most h times the number of live neurons: the largest ratio of the two."
    zero = "From W = 1, where N = 0, |N(e_i)| comes back to exactly 2 k h (kink from the right): largest |N| / 2 k h."
    starts = f"from {', '.join(_INITS)}"
    row: dict[str, Any] = {"n": len(cases) * d, "place": "theorem 3"}
    curve = _build_curve(runs[0], *cases[0])
    return [
        check_bound(spent, "<=", 1.0, id="T3-updates", says=every, note=starts, **row | {"n": len(_INITS) * row["n"]}),
        check_bound(float(last), "<", float(visits * d), id="T3-time", says=kept, curve=curve, **row),
        check_bound(float(revived), "=", 0.0, id="T3-sets", says=sets, identity=True, **row),
        check_bound(ratio, "<=", 1.0 + 1e-9, id="T3-end", says=end, **row),
        check_bound(_measure_return_from_zero(), "=", 1.0, id="T3-zero", says=zero, **row | {"n": 2}),
    ]


def verify_learning_rates(
    *, k: int = 1000, d: int = 30, replicas: int = 4, rates: Sequence[float] = _RATES, seed: int = 0
) -> list[Check]:
    """Measure theorem 4: which neurons die for h >= 1, for h <= 1/k, and for what lies between.

    Full runs from W ~ U[-1, 1]: 100 d steps for h >= 1, 200 d steps for h <= 1/k. Between, where the theorem is silent,
    the share of silent neurons is compared with `silent_share`, on misclassified visits alone: others change nothing.
    Tolerance of a share: 0.3 / sqrt(k), for the closed form is the leading order for large k.

    Args:
        k: half the number of hidden neurons.
        d: dimension.
        replicas: networks for each rate, at least two.
        rates: of the curve.
        seed: of the weights and draws.

    Example:
        >>> checks = verify_learning_rates(k=50, d=5, rates=(0.1, 0.5))
        >>> checks[0].id, checks[0].measured
        ('T4.1-alive', 0.0)

    Source: arXiv 2111.02154, theorem 4, appendix E; the curve between is ours.
    """
    require_positive(k=k, d=d)
    require_positive(at_least=2, replicas=replicas)
    for rate in rates or [0.0]:
        require_above_zero(rates=rate)
    each: dict[str, Any] = {"k": k, "d": d, "replicas": replicas, "seed": seed}
    return [
        *_check_large_rates(**each),
        *_check_small_rates(**each),
        _check_rates_between(rates, **each),
        *_check_events(k, columns=2000, seed=seed),
    ]


def _check_large_rates(k: int, d: int, *, replicas: int, seed: int) -> list[Check]:
    alive, updates = 0, 0
    for lr in (1.0, 1.5, 3.0):
        weights = _draw_weights(_INITS[0], k, replicas * d, seed=seed)
        run = _train(weights, lr, d=d, visits=100, seed=seed)
        alive, updates = alive + int((weights > 0).sum()), max(updates, int(run.updates.max()))
    row: dict[str, Any] = {"place": "theorem 4 (1)", "n": 3 * len(weights)}
    says = "For h = 1, 1.5 and 3: neurons that respond to any e_i after 100 d steps."
    most = "It takes at most three misclassified visits to an e_i."
    return [
        check_bound(float(alive), "=", 0.0, id="T4.1-alive", says=says, **row),
        check_bound(float(updates), "<=", 3.0, id="T4.1-visits", says=most, **row),
    ]


def _check_small_rates(k: int, d: int, *, replicas: int, seed: int) -> list[Check]:
    """Train at h = 1/k and h = 1/2k, each with weights of its own."""
    starts = _draw_weights(_INITS[0], k, 2 * replicas * d, seed=seed).chunk(2)
    for weights, lr in zip(starts, (1 / k, 0.5 / k), strict=True):
        _train(weights, lr, d=d, visits=200, seed=seed)
    silent = torch.cat(starts).le(0).sum(dim=1)
    periodic = torch.cat([_is_periodic(weights, lr) for weights, lr in zip(starts, (1 / k, 0.5 / k), strict=True)])
    shares = silent.double().view(-1, d).mean(dim=1) / (2 * k)
    predicted = (silent_share(k, 1 / k) + silent_share(k, 0.5 / k)) / 2
    row: dict[str, Any] = {"place": "theorem 4 (2)", "n": len(silent)}
    share = "For h = 1/k and 1/2k: the mean share of neurons that are silent on e_i is 1/2 + o(1)."
    most = "At most k + 6 k^0.6 of the 2k neurons are silent on an e_i, so they never all die."
    empty = "" if k + 6 * k**0.6 < 2 * k else "at k up to 88 the bound is no less than all"
    period = "The output on e_i ends with period two and alternating sign: share of the e_i."
    return [
        check_mean(
            shares, predicted, tolerance=_tolerance(k) / predicted, id="T4.2-share", says=share, place=row["place"]
        ),
        check_bound(
            float(silent.max()), "<=", min(k + 6 * k**0.6, 2 * k - 1), id="T4.2-silent", says=most, note=empty, **row
        ),
        check_bound(float(periodic.double().mean()), "=", 1.0, id="T4.2-period", says=period, **row),
    ]


def _check_rates_between(rates: Sequence[float], k: int, d: int, *, replicas: int, seed: int) -> Check:
    shares = torch.stack([_measure_silent_shares(k, lr, replicas * d, seed=seed) for lr in rates], dim=1)
    predicted = [silent_share(k, lr) for lr in rates]
    titles = ("learning rate h", "share of silent neurons")
    curve = build_curve_of_means(*titles, x=list(rates), values=shares, predicted=predicted)
    furthest = max(abs(a - b) for a, b in zip(curve.measured, predicted, strict=True))
    says = "The share of silent neurons follows our closed form for any h: largest difference over the curve."
    row: dict[str, Any] = {"place": "between the cases of theorem 4", "n": shares.numel(), "curve": curve}
    return check_bound(furthest, "<=", _tolerance(k), id="T4.3", says=says, **row)


def _check_events(k: int, *, columns: int, seed: int) -> list[Check]:
    """Check how often the five events of the proof of part (2) happen, each against its exact or limiting law."""
    weights = _draw_weights(_INITS[0], k, columns, seed=seed)
    live, outputs, window = weights > 0, basis_outputs(weights).abs(), k**0.6
    small = live & (weights < k**-0.4)
    within = binom(k, 0.5).cdf(math.ceil(k / 2 + window) - 1) - binom(k, 0.5).cdf(math.floor(k / 2 - window))
    few = binom(k, k**-0.4 / 2).cdf(math.ceil(2 * window) - 1)
    deviation = math.sqrt(5 * k / 24)
    between = 2 * (norm.cdf(window / 2 / deviation) - norm.cdf(3 / deviation))
    sides = (slice(None, k), slice(k, None))
    balanced = [((live[:, side].sum(dim=1) - k / 2).abs() < window).double() for side in sides]
    rare = [(small[:, side].sum(dim=1) < 2 * window).double() for side in sides]
    medium = ((outputs > 3) & (outputs < window / 2)).double()
    events = [
        (1, "k/2 - k^0.6 < |Pos| < k/2 + k^0.6", balanced[0], within),
        (2, "so with |Neg|", balanced[1], within),
        (3, "3 < |N(x)| < k^0.6 / 2 (its law is normal for large k)", medium, between),
        (4, "fewer than 2 k^0.6 of Pos are below k^-0.4", rare[0], few),
        (5, "so with Neg", rare[1], few),
    ]
    return [
        check_mean(
            values,
            predicted,
            margin=0.03,
            id=f"T4.E{item}",
            says=f"Item {item} of the proof, at k = {k:,}: {words}; how often.",
            place="appendix E",
        )
        for item, words, values, predicted in events
    ]


def _tolerance(k: int) -> float:
    return 0.3 / math.sqrt(k)


def _draw_weights(init: str, k: int, columns: int, *, seed: int) -> Float64[Tensor, "columns neurons"]:
    place = torch.arange(columns * 2 * k).view(columns, 2 * k)
    if init == "N(0, 1)":
        return rng.normal(seed, Stream.INIT, 0, place)
    weights = 2 * rng.uniform(seed, Stream.INIT, 0, place) - 1
    if init == "one side live":
        weights = weights.abs()
        weights[:, k:] *= -1
    return 10 * weights if init == "10 U[-1, 1]" else weights


def _train(weights: Float64[Tensor, "columns neurons"], lr: float, *, d: int, visits: int, seed: int) -> BasisRun:
    """Train for `visits` times d steps, in place."""
    shape = (len(weights) // d, visits * d)
    place = torch.arange(shape[0] * shape[1]).view(shape)
    order: Int64[Tensor, "replicas steps"] = (d * rng.uniform(seed, Stream.TRAIN_DATA, 0, place)).long()
    plus: Bool[Tensor, "replicas steps"] = rng.uniform(seed, Stream.TRAIN_LABEL, 0, place) < 0.5
    return train_on_basis(weights, order, plus, lr=lr)


def _visit_misclassified(weights: Float64[Tensor, "columns neurons"], lr: float) -> None:
    """Train each column by a visit whose label is wrong, in place."""
    visit_basis(weights, basis_outputs(weights) < 0, lr=lr)


def _measure_updates(weights: Float64[Tensor, "columns neurons"], lr: float) -> float:
    """Compute the misclassified visits until |N| < 2 k h, as a share of what they can be at most."""
    most = (weights.amax(dim=1).clamp(min=lr) / lr).ceil()
    spent = torch.zeros_like(most)
    for _ in range(int(most.max()) + 1):
        outside = basis_outputs(weights).abs() >= weights.shape[1] * lr
        if not outside.any():
            break
        spent += outside
        _visit_misclassified(weights, lr)
    return float((spent / most).max())


def _measure_return_from_zero(k: int = 64, lr: float = 1 / 128) -> float:
    """Return the largest |N| of the last of many visits from W = 1, in units of 2 k h; all is exact in binary."""
    weights, largest = torch.ones(2, 2 * k, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    for visit in range(1000):
        plus = torch.tensor([visit % 2 == 0, visit % 3 == 0])
        visit_basis(weights, plus, lr=lr)
        if visit >= 900:
            largest = torch.maximum(largest, basis_outputs(weights).abs())
    return float(largest.max()) / (2 * k * lr)


def _find_last_step_outside(run: BasisRun, bound: float) -> int:
    """Return the last step after which |N| reached the bound in some column; -1 if there is none."""
    outside = run.outputs[1:].abs() >= bound
    return int(run.steps[outside].max()) if outside.any() else -1


def _is_periodic(weights: Float64[Tensor, "columns neurons"], lr: float) -> Bool[Tensor, " columns"]:
    """Return whether two more misclassified visits change the sign of N and bring it back."""
    weights = weights.clone()
    start = basis_outputs(weights)
    _visit_misclassified(weights, lr)
    between = basis_outputs(weights)
    _visit_misclassified(weights, lr)
    back = (basis_outputs(weights) - start).abs() <= 1e-9 * weights.shape[1] * lr
    return back & (start * between < 0)


def _measure_silent_shares(k: int, lr: float, columns: int, *, seed: int) -> Float64[Tensor, " columns"]:
    """Return the share of silent neurons of columns from U[-1, 1], long after N changed its sign for the first time."""
    weights = _draw_weights(_INITS[0], k, columns, seed=seed)
    crossing = 5 * math.sqrt(5 * k / 24) / (k * lr)  # five standard deviations of N at the start
    for _ in range(math.ceil(crossing) + 6):
        _visit_misclassified(weights, lr)
    return weights.le(0).double().mean(dim=1)


def _build_curve(run: BasisRun, k: int, lr: float) -> Curve:
    largest = run.outputs.abs().amax(dim=1).tolist()
    return Curve(
        x_title="visits to each e_i",
        y_title=f"largest |N(e_i)|, k = {k}, h = {lr:g}",
        x=list(range(len(largest))),
        measured=largest,
        predicted=[2 * k * lr] * len(largest),
    )


def _output_signs(weights: Float64[Tensor, "columns neurons"]) -> Float64[Tensor, " neurons"]:
    """Return V."""
    return torch.ones_like(weights[0]).index_fill_(0, torch.arange(weights.shape[1] // 2, weights.shape[1]), -1)


def _list_visits(order: Int64[Tensor, "replicas steps"], d: int) -> Int64[Tensor, "columns visits"]:
    """Return the numbers of the steps that visit each column, in order, and -1 after them."""
    replicas, num_steps = order.shape
    columns = (order + d * torch.arange(replicas)[:, None]).flatten()
    by_column = columns.argsort(stable=True)
    counts = columns.bincount(minlength=replicas * d)
    place = torch.arange(len(columns)) - (counts.cumsum(0) - counts)[columns[by_column]]
    steps = torch.full((replicas * d, int(counts.max())), -1)
    steps[columns[by_column], place] = by_column % num_steps
    return steps
