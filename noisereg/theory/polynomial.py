"""The activity a(p) of a trained network as a polynomial in p, exactly, for a task small enough to try every course.

T steps on n samples take one of (2n)^T courses: which sample, and whether its label is flipped. A course with f flips
has probability p^f (1-p)^(T-f) / n^T, so the mean over the courses is a polynomial of degree at most T.

Source: Cornacchia, Hazla, Nachum, Yehudayoff, arXiv 2111.02154, appendix A.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import comb, sqrt
from typing import Any, cast

import torch
from jaxtyping import Float, Float64, Int64
from numpy.polynomial import Polynomial
from torch import Tensor
from torch.nn.functional import one_hot

from noisereg import rng
from noisereg.engine import Blocked, Stack
from noisereg.errors import require_above_zero, require_positive
from noisereg.losses import Logistic, Loss
from noisereg.models import TwoLayer
from noisereg.noise import Flip, Resample, Rule
from noisereg.noise.corruption import cumulative_law, redraw
from noisereg.rng import Stream
from noisereg.theory.agreement import check_bound
from noisereg.theory.check import Check, Curve

_PLACE = "appendix A"
_MOST_COURSES = 2**20
_FLOAT_ERROR = 1e-9


@dataclass(frozen=True, kw_only=True)
class Task:
    """A training that is short enough to try every course.

    Args:
        model: its weights are the start of every course.
        inputs: n samples.
        labels: 0 or 1.
        loss: any.
        lr: learning rate.
        steps: T, one sample each, drawn with replacement.

    Raises:
        ValueError: there are more than about a million courses.
    """

    model: TwoLayer
    inputs: Float[Tensor, "n features"]
    labels: Int64[Tensor, " n"]
    loss: Loss
    lr: float
    steps: int

    def __post_init__(self) -> None:
        if (courses := (2 * len(self.labels)) ** self.steps) > _MOST_COURSES:
            raise ValueError(f"(2n)^T must be at most {_MOST_COURSES:,}, got {courses:,}; take fewer samples or steps")

    def activity(
        self, index: Int64[Tensor, "courses steps"], labels: Int64[Tensor, "courses steps"]
    ) -> Float64[Tensor, " courses"]:
        """Train along courses, and count the active neurons: the mean over the samples at the end of each.

        Args:
            index: the sample of each step.
            labels: what the loss sees at each step.
        """
        stack = Stack.of([self.model]).double().select(torch.zeros(len(index), dtype=torch.int64))
        inputs, targets = stack.prepare(self.inputs), one_hot(labels, 2).double()
        rates = torch.full((len(index),), self.lr, dtype=torch.float64)
        Blocked(self.loss)(stack, inputs, index=index, targets=targets, rates=rates)
        return (inputs @ cast(Tensor, stack.hidden).detach() > 0).sum(dim=2).double().mean(dim=1)


@dataclass(frozen=True, kw_only=True)
class ActivityPolynomial:
    """a(p) = sum over f of C(T, f) p^f (1-p)^(T-f) m_f: the mean over the number f of flipped labels.

    Args:
        means: m_f, the mean activity of the courses with f flips, f = 0 ... T.

    Example:
        >>> ActivityPolynomial(means=(4.0, 2.0))(0.25)
        3.5
    """

    means: Sequence[float]

    def __call__(self, p: float) -> float:
        """Compute a(p) for noise that flips a label with probability p; `Resample(p)` flips with probability p/2."""
        degree = len(self.means) - 1
        return sum(comb(degree, f) * p**f * (1 - p) ** (degree - f) * mean for f, mean in enumerate(self.means))

    def coefficients(self) -> list[float]:
        """Compute the coefficients of 1, p, p^2, ..., p^T.

        Example:
            >>> ActivityPolynomial(means=(4.0, 2.0)).coefficients()
            [4.0, -2.0]
        """
        degree = len(self.means) - 1
        return [
            comb(degree, k) * sum((-1) ** (k - f) * comb(k, f) * self.means[f] for f in range(k + 1))
            for k in range(degree + 1)
        ]


def activity_polynomial(task: Task) -> ActivityPolynomial:
    """Compute the activity of every course of a training, averaged by the number of flips.

    Args:
        task: of T steps.

    Returns:
        a(p), of degree at most T.

    Example:
        >>> net = TwoLayer((2,), 1, hidden=4)
        >>> task = Task(model=net, inputs=torch.eye(2), labels=torch.tensor([0, 1]), loss=Logistic(), lr=0.5, steps=3)
        >>> len(activity_polynomial(task).means)
        4
    """
    index, flips = list_courses(len(task.labels), task.steps)
    activity, number = task.activity(index, task.labels[index] ^ flips), flips.sum(dim=1)
    sums = torch.zeros(task.steps + 1, dtype=torch.float64).index_add(0, number, activity)
    return ActivityPolynomial(means=(sums / torch.bincount(number, minlength=task.steps + 1)).tolist())


def expected_activity(task: Task, rules: Sequence[Rule]) -> list[float]:
    """Compute a(p) under noise rules as a sum over all courses, each with its probability under the rule's T.

    Args:
        task: small.
        rules: for two classes.

    Example:
        >>> net = TwoLayer((2,), 1, hidden=4)
        >>> task = Task(model=net, inputs=torch.eye(2), labels=torch.tensor([0, 1]), loss=Logistic(), lr=0.5, steps=2)
        >>> expected_activity(task, [Flip(p=0.0)]) == [activity_polynomial(task)(0.0)]
        True
    """
    index, seen = list_courses(len(task.labels), task.steps)
    activity, right = task.activity(index, seen), task.labels[index]
    laws = (rule.transition(2)[right, seen] / len(task.labels) for rule in rules)
    return [float(law.prod(dim=1) @ activity) for law in laws]


def list_courses(n: int, steps: int) -> tuple[Int64[Tensor, "courses steps"], Int64[Tensor, "courses steps"]]:
    """List every course: the sample of each step, and a bit beside it.

    Example:
        >>> [tensor.flatten().tolist() for tensor in list_courses(2, 1)]
        [[0, 0, 1, 1], [0, 1, 0, 1]]
    """
    number = torch.arange((2 * n) ** steps)[:, None]
    digit = number // (2 * n) ** torch.arange(steps) % (2 * n)
    return digit // 2, digit % 2


def verify_polynomial(
    *, n: int = 2, steps: int = 6, d: int = 2, hidden: int = 8, lr: float = 1.0, replicas: int = 5000, seed: int = 0
) -> list[Check]:
    """Verify that a(p) is a polynomial of degree at most T, and that runs with drawn noise agree with it.

    Args:
        n: samples, with labels in turn.
        steps: T.
        d: dimension of the inputs.
        hidden: neurons of the net, whose initial weights are the same in every course and replica.
        lr: learning rate.
        replicas: runs with drawn order and noise at each strength.
        seed: of the weights and inputs.

    Returns:
        The rows of `check_polynomial`.

    Example:
        >>> [check.holds for check in verify_polynomial(n=2, steps=2, replicas=200)]
        [True, True, True, True]
    """
    require_positive(n=n, steps=steps, d=d, hidden=hidden)
    require_positive(at_least=2, replicas=replicas)
    require_above_zero(lr=lr)
    inputs = rng.normal(seed, Stream.TRAIN_DATA, 0, torch.arange(n * d)).view(n, d)
    model = TwoLayer((d,), 1, hidden=hidden, seed=seed)
    task = Task(model=model, inputs=inputs, labels=torch.arange(n) % 2, loss=Logistic(), lr=lr, steps=steps)
    return check_polynomial(task, activity_polynomial(task), replicas=replicas)


def check_polynomial(task: Task, polynomial: Callable[[float], float], *, replicas: int) -> list[Check]:
    """Compare a(p) under flips with the sums over all courses, and with runs whose order and noise are drawn.

    Returns:
        D13-degree: how far a(p) lies from the polynomial of degree T through T + 1 of its values. D13-rules: how far
        a(p) under `Resample` lies from a(p/2) under `Flip`. D13-flip and D13-resample: how many standard errors the
        drawn runs lie from the polynomial, at the worst of the strengths; up to 5 are let pass.
    """
    strengths = torch.linspace(0, 1, 2 * task.steps + 1, dtype=torch.float64).tolist()
    flip = expected_activity(task, [Flip(p=p) for p in strengths])
    resample = expected_activity(task, [Resample(p=p) for p in strengths])
    through = Polynomial.fit(strengths[::2], flip[::2], deg=task.steps)
    apart = max(abs(float(through(p)) - value) for p, value in zip(strengths, flip, strict=True))
    unlike = max(abs(polynomial(p / 2) - value) for p, value in zip(strengths, resample, strict=True))
    degree = "a(p) is a polynomial of degree at most T: the largest difference."
    alike = "Resampling with p is flipping with p/2: the largest difference."
    row: dict[str, Any] = {"place": _PLACE, "n": len(flip), "identity": True}
    return [
        check_bound(apart, "<=", _FLOAT_ERROR, id="D13-degree", says=degree, **row),
        check_bound(unlike, "<=", _FLOAT_ERROR, id="D13-rules", says=alike, **row),
        _check_drawn("D13-flip", task, [Flip(p=p) for p in strengths], [polynomial(p) for p in strengths], n=replicas),
        _check_drawn(
            "D13-resample", task, [Resample(p=p) for p in strengths], [polynomial(p / 2) for p in strengths], n=replicas
        ),
    ]


def _check_drawn(id: str, task: Task, rules: Sequence[Rule], predicted: Sequence[float], *, n: int) -> Check:
    runs = torch.stack([_measure_drawn(task, rule, replicas=n) for rule in rules])
    mean, error = runs.mean(dim=1), runs.std(dim=1) / sqrt(n)
    off = (mean - torch.tensor(predicted, dtype=torch.float64)).abs() - _FLOAT_ERROR
    worst = float((off / error.clamp(min=_FLOAT_ERROR)).clamp(min=0).max())
    curve = Curve(
        x_title="p",
        y_title="active neurons",
        x=[rule.p for rule in rules],
        measured=mean.tolist(),
        predicted=predicted,
        low=(mean - 5 * error).tolist(),
        high=(mean + 5 * error).tolist(),
    )
    says = "The mean of drawn runs is a(p): the largest difference, in standard errors."
    row: dict[str, Any] = {"place": _PLACE, "n": n * len(rules), "note": "intervals of the curve: five standard errors"}
    return check_bound(worst, "<=", 5.0, id=id, says=says, curve=curve, **row)


def _measure_drawn(task: Task, rule: Rule, *, replicas: int) -> Float64[Tensor, " replicas"]:
    """Train replicas with drawn order and noise, and count their active neurons."""
    seeds, step, n = torch.arange(replicas)[:, None], torch.arange(task.steps), len(task.labels)
    index = (rng.uniform(seeds, Stream.ORDER, step, 0) * n).long()
    labels, law = task.labels[index], cumulative_law(rule.redraw_law(2))
    drawn = redraw(labels, cumulative=law, seed=seeds, draw=step, index=index)
    noisy = rng.uniform(seeds, Stream.NOISE, step, index) < rule.p
    return task.activity(index, torch.where(noisy, drawn, labels))
