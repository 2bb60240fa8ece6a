"""Rows of verifiers from measured values: an equality of means, a bound, or a claim that does not apply."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from noisereg.statistics import Interval, half_width, range_outcome
from noisereg.theory.check import Check, Curve


def t_interval(values: Float[Tensor, "n *more"], level: float = 0.95) -> tuple[Tensor, Tensor, Tensor]:
    """Compute the mean over the first axis and the ends of its Student's t interval.

    Args:
        values: independent along the first axis, at least two.
        level: of the interval, in (0, 1).

    Returns:
        mean, low, high.

    Example:
        >>> [round(float(value), 3) for value in t_interval(torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0]))]
        [3.0, 1.037, 4.963]
    """
    mean, deviation = values.double().mean(dim=0), values.double().std(dim=0)
    half = torch.as_tensor(half_width(deviation.cpu().numpy(), len(values), level)).to(mean)
    return mean, mean - half, mean + half


def check_mean(
    values: Float[Tensor, " n"] | Sequence[float],
    predicted: float,
    *,
    tolerance: float = 0.0,
    margin: float = 0.0,
    **row: Any,
) -> Check:
    """Check that a mean equals a prediction.

    It holds if the whole 95 % t interval of the mean lies within `tolerance` or `margin` of the prediction, whichever
    is more. An interval that lies neither within nor outside decides nothing.

    Args:
        values: one a replica, independent, at least two.
        predicted: the number.
        tolerance: relative to it.
        margin: in its unit.
        row: what else a `Check` asks for.

    Example:
        >>> near = check_mean([0.99, 1.0, 1.01], 1.0, tolerance=0.1, id="T0", says="It is 1.", place="nowhere")
        >>> wide = check_mean([0.5, 1.0, 1.5], 1.0, tolerance=0.1, id="T0", says="It is 1.", place="nowhere")
        >>> near.holds, wide.holds, wide.undecided
        (True, False, True)
    """
    mean, low, high = (float(value) for value in t_interval(torch.as_tensor(values)))
    allowed = max(tolerance * abs(predicted), margin)
    outcome = range_outcome(Interval(mean, low, high, len(values)), predicted - allowed, predicted + allowed)
    numbers: dict[str, Any] = {"measured": mean, "predicted": predicted, "low": low, "high": high, "n": len(values)}
    return Check(relation="=", holds=outcome == "met", undecided=outcome == "undecided", **numbers, **row)


def check_bound(
    measured: float,
    relation: Literal["=", "<", "<=", ">", ">="],
    predicted: float,
    *,
    margin: float = 0.0,
    **row: Any,
) -> Check:
    """Check that a number stands in a relation to a prediction.

    Args:
        measured: the number; nan stands in none.
        relation: in which it should stand.
        predicted: what it is compared with.
        margin: how far apart two numbers may be that are equal.
        row: what else a `Check` asks for.

    Example:
        >>> check_bound(0.5, "<", 1.0, id="T0", says="It is less than 1.", place="nowhere", n=1).holds
        True
    """
    holds = {
        "=": abs(measured - predicted) <= margin,
        "<": measured < predicted,
        "<=": measured <= predicted,
        ">": measured > predicted,
        ">=": measured >= predicted,
    }
    return Check(measured=measured, relation=relation, predicted=predicted, holds=holds[relation], **row)


def build_not_applicable(reasons: Sequence[str], *, predicted: float, measured: float = math.nan, **row: Any) -> Check:
    """Build the row of a claim that does not apply.

    Args:
        reasons: why not.
        predicted: what the theorem would give.
        measured: the number, if one was measured all the same.
        row: what else a `Check` asks for.
    """
    row |= {"applicable": False, "note": "; ".join(reasons)}
    return Check(measured=measured, relation="=", predicted=predicted, holds=False, **row)


def build_curve_of_means(
    x_title: str, y_title: str, *, x: Sequence[float], values: Float[Tensor, "n places"], predicted: Sequence[float]
) -> Curve:
    """Build the curve of means over the first axis, with their 95 % t intervals, beside a predicted one."""
    mean, low, high = (ends.tolist() for ends in t_interval(values))
    return Curve(x_title=x_title, y_title=y_title, x=x, measured=mean, predicted=predicted, low=low, high=high)
