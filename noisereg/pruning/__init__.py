"""Networks without the units that never fire: which layers can lose units, which units are dead, and the surgery."""

from noisereg.pruning.layers import Layer, LayerMap, find_layers
from noisereg.pruning.scores import UnitScores, score_units
from noisereg.pruning.surgery import keep_units, load_pruned

__all__ = ["Layer", "LayerMap", "UnitScores", "find_layers", "keep_units", "load_pruned", "score_units"]
