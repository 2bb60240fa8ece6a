"""Losses as functions of the logits alone."""

from noisereg.losses.cross_entropy import CrossEntropy, log_probabilities
from noisereg.losses.generalized_cross_entropy import GeneralizedCrossEntropy
from noisereg.losses.hinge import Hinge
from noisereg.losses.logistic import Logistic
from noisereg.losses.loss import Loss
from noisereg.losses.squared_error import SquaredError
from noisereg.losses.surrogate import Surrogate

__all__ = [
    "CrossEntropy",
    "GeneralizedCrossEntropy",
    "Hinge",
    "Logistic",
    "Loss",
    "SquaredError",
    "Surrogate",
    "log_probabilities",
]
