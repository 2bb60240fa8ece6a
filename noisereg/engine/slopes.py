"""Derivatives of the losses with respect to the logits, compiled for the fused engine."""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, no_type_check

import numba
import numpy as np

from noisereg.losses import CrossEntropy, GeneralizedCrossEntropy, Hinge, Logistic, Loss, SquaredError

Slope = Callable[[np.ndarray, np.ndarray], None]


def compiled_slope(loss: Loss) -> Slope | None:
    """Compile the derivative of a loss; return None for a loss that this engine does not know.

    Args:
        loss: of the logits. A subclass of a known loss is not known: it may differ.

    Returns:
        A function (logits, target) of two vectors of one length, which replaces the logits by the derivative. The
        target holds the probability that each output's label is +1.

    Example:
        >>> logits = np.zeros(1)
        >>> compiled_slope(Logistic())(logits, np.ones(1))
        >>> logits
        array([-0.5])
    """
    make = _MAKERS.get(type(loss))
    return make(**vars(loss)) if make else None


def _compiled(function: Callable[..., None]) -> Any:
    return numba.njit(function, error_model="numpy")


@lru_cache
def _logistic() -> Any:
    @_compiled
    @no_type_check
    def slope(logits, target):
        for j in range(len(logits)):
            logits[j] = 1 / (1 + np.exp(-logits[j])) - target[j]

    return slope


@lru_cache
def _hinge(beta: float, kink: str) -> Any:
    least = 0.0 if kink == "right" else math.ulp(0.0)  # the smallest distance that counts as inside

    @_compiled
    @no_type_check
    def slope(logits, target):
        for j in range(len(logits)):
            if_minus = 1.0 if beta + logits[j] >= least else 0.0
            if_plus = -1.0 if beta - logits[j] >= least else 0.0
            if not np.isnan(logits[j]):
                logits[j] = target[j] * if_plus + (1 - target[j]) * if_minus

    return slope


@lru_cache
def _cross_entropy() -> Any:
    @_compiled
    @no_type_check
    def slope(logits, target):
        if len(logits) == 1:
            logits[0] = 1 / (1 + np.exp(-logits[0])) - target[0]
        else:
            top, total = logits.max(), 0.0
            for j in range(len(logits)):
                logits[j] = np.exp(logits[j] - top)
                total += logits[j]
            for j in range(len(logits)):
                logits[j] = logits[j] / total - target[j]

    return slope


@lru_cache
def _squared_error() -> Any:
    @_compiled
    @no_type_check
    def slope(logits, target):
        if len(logits) == 1:
            logits[0] = 2 * (logits[0] - (2 * target[0] - 1))
        else:
            for j in range(len(logits)):
                logits[j] = 2 * (logits[j] - target[j])

    return slope


@lru_cache
def _generalized_cross_entropy(q: float) -> Any:
    @_compiled
    @no_type_check
    def slope(logits, target):
        if len(logits) == 1:
            plus = 1 / (1 + np.exp(-logits[0]))
            minus = 1 / (1 + np.exp(logits[0]))
            logits[0] = (1 - target[0]) * minus**q * plus - target[0] * plus**q * minus
        else:
            top, total, pull = logits.max(), 0.0, 0.0
            for j in range(len(logits)):
                logits[j] = np.exp(logits[j] - top)
                total += logits[j]
            for j in range(len(logits)):
                logits[j] /= total
                pull += target[j] * logits[j] ** q
            for j in range(len(logits)):
                logits[j] = logits[j] * pull - target[j] * logits[j] ** q

    return slope


_MAKERS: dict[type[Loss], Callable[..., Any]] = {
    Logistic: _logistic,
    Hinge: _hinge,
    CrossEntropy: _cross_entropy,
    SquaredError: _squared_error,
    GeneralizedCrossEntropy: _generalized_cross_entropy,
}
