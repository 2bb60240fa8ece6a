"""What is measured of a network: which units fire, how large its weights are, how it sets classes apart."""

from noisereg.metrics.activation_counter import ActivationCounter
from noisereg.metrics.activations import find_relus
from noisereg.metrics.calibration import Reliability, calibration, reliability
from noisereg.metrics.class_plane import class_plane, project_features, tightness
from noisereg.metrics.counts import (
    associated,
    associated_by_rate,
    count_firings,
    count_turnover,
    counted_classes,
    label_entropy,
    summarize_counts,
)
from noisereg.metrics.distinct import Distinct, UnitCorrelation, first_of_groups
from noisereg.metrics.eval_mode import eval_mode
from noisereg.metrics.gradient_norms import gradient_norms, name_gradient_norms, trained_layers
from noisereg.metrics.last_layers import LastBatch, LastLayers, find_last_layers, watch_last_layers
from noisereg.metrics.layer_names import short_names
from noisereg.metrics.layer_values import check_by_layer, collect_layer_values, select_layers
from noisereg.metrics.memorization import GROUPS, Memorization, activity_by_group, is_wrong
from noisereg.metrics.norms import bias_quantiles, collect_norms, frobenius_norm
from noisereg.metrics.own_type import SampleMean
from noisereg.metrics.predictions import predictions
from noisereg.metrics.processes import gather_parts, own_part
from noisereg.metrics.sparsity import ActivationSparsity, summarize_layers
from noisereg.metrics.threshold import Threshold
from noisereg.metrics.turnover import Turnover

__all__ = [
    "GROUPS",
    "ActivationCounter",
    "ActivationSparsity",
    "Distinct",
    "LastBatch",
    "LastLayers",
    "Memorization",
    "Reliability",
    "SampleMean",
    "Threshold",
    "Turnover",
    "UnitCorrelation",
    "activity_by_group",
    "associated",
    "associated_by_rate",
    "bias_quantiles",
    "calibration",
    "check_by_layer",
    "class_plane",
    "collect_layer_values",
    "collect_norms",
    "count_firings",
    "count_turnover",
    "counted_classes",
    "eval_mode",
    "find_last_layers",
    "find_relus",
    "first_of_groups",
    "frobenius_norm",
    "gather_parts",
    "gradient_norms",
    "is_wrong",
    "label_entropy",
    "name_gradient_norms",
    "own_part",
    "predictions",
    "project_features",
    "reliability",
    "select_layers",
    "short_names",
    "summarize_counts",
    "summarize_layers",
    "tightness",
    "trained_layers",
    "watch_last_layers",
]
