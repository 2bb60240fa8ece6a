"""What is measured of a network: which units fire, how large its weights are, how it sets classes apart."""

from noisereg.metrics.calibration import Reliability, calibration, reliability
from noisereg.metrics.counts import (
    associated,
    associated_by_rate,
    count_firings,
    label_entropy,
    summarize,
    turnover,
)
from noisereg.metrics.distinct import Distinct, UnitCorrelation, first_of_groups
from noisereg.metrics.ends import Ends, LastBatch, find_ends, watch_ends
from noisereg.metrics.layers import find_relus, why_no_relus
from noisereg.metrics.names import short_names
from noisereg.metrics.norms import bias_quantiles, bias_statistics, frobenius_norm, weight_norms
from noisereg.metrics.plane import class_plane, project_features, tightness
from noisereg.metrics.pool import pool
from noisereg.metrics.predictions import predictions
from noisereg.metrics.processes import gather_parts, own_part
from noisereg.metrics.relu_counter import ReluCounter
from noisereg.metrics.sparsity import ActivationSparsity

__all__ = [
    "ActivationSparsity",
    "Distinct",
    "Ends",
    "LastBatch",
    "Reliability",
    "ReluCounter",
    "UnitCorrelation",
    "associated",
    "associated_by_rate",
    "bias_quantiles",
    "bias_statistics",
    "calibration",
    "class_plane",
    "count_firings",
    "find_ends",
    "find_relus",
    "first_of_groups",
    "frobenius_norm",
    "gather_parts",
    "label_entropy",
    "own_part",
    "pool",
    "predictions",
    "project_features",
    "reliability",
    "short_names",
    "summarize",
    "tightness",
    "turnover",
    "watch_ends",
    "weight_norms",
    "why_no_relus",
]
