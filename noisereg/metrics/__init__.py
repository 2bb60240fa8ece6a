"""What is measured of a network: which units fire, how large its weights are, how it sets classes apart."""

from noisereg.metrics.calibration import Reliability, calibration, reliability
from noisereg.metrics.counts import (
    associated,
    associated_by_rate,
    count_firings,
    count_turnover,
    label_entropy,
    summarize,
)
from noisereg.metrics.distinct import Distinct, UnitCorrelation, first_of_groups
from noisereg.metrics.ends import Ends, LastBatch, find_ends, watch_ends
from noisereg.metrics.eval_mode import eval_mode
from noisereg.metrics.layers import find_relus, why_no_relus
from noisereg.metrics.names import short_names
from noisereg.metrics.norms import bias_quantiles, bias_statistics, frobenius_norm, weight_norms
from noisereg.metrics.plane import class_plane, project_features, tightness
from noisereg.metrics.pool import pool
from noisereg.metrics.predictions import predictions
from noisereg.metrics.processes import gather_parts, own_part
from noisereg.metrics.relu_counter import ReluCounter
from noisereg.metrics.sparsity import ActivationSparsity
from noisereg.metrics.summary import summarize_layers
from noisereg.metrics.turnover import Turnover

__all__ = [
    "ActivationSparsity",
    "Distinct",
    "Ends",
    "LastBatch",
    "Reliability",
    "ReluCounter",
    "Turnover",
    "UnitCorrelation",
    "associated",
    "associated_by_rate",
    "bias_quantiles",
    "bias_statistics",
    "calibration",
    "class_plane",
    "count_firings",
    "count_turnover",
    "eval_mode",
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
    "summarize_layers",
    "tightness",
    "watch_ends",
    "weight_norms",
    "why_no_relus",
]
