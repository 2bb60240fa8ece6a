"""What is measured of a network: which units fire, and how large its weights and biases are."""

from noisereg.metrics.counts import (
    associated,
    associated_by_rate,
    count_firings,
    label_entropy,
    summarize,
    turnover,
)
from noisereg.metrics.names import short_names
from noisereg.metrics.norms import bias_quantiles, bias_statistics, frobenius_norm, weight_norms
from noisereg.metrics.pool import pool
from noisereg.metrics.predictions import predictions
from noisereg.metrics.relu_counter import ReluCounter, find_relus
from noisereg.metrics.sparsity import ActivationSparsity

__all__ = [
    "ActivationSparsity",
    "ReluCounter",
    "associated",
    "associated_by_rate",
    "bias_quantiles",
    "bias_statistics",
    "count_firings",
    "find_relus",
    "frobenius_norm",
    "label_entropy",
    "pool",
    "predictions",
    "short_names",
    "summarize",
    "turnover",
    "weight_norms",
]
