"""Lightning callbacks: thin adapters of the noise and the metrics, for any LightningModule."""

from noisereg.callbacks.early_end import EarlyEnd
from noisereg.callbacks.finite_loss import FiniteLoss
from noisereg.callbacks.gradient_monitor import GradientMonitor
from noisereg.callbacks.label_corruption import LabelCorruption
from noisereg.callbacks.norm_monitor import NormMonitor
from noisereg.callbacks.run_checkpoint import RunCheckpoint, Stopped
from noisereg.callbacks.sparsity_monitor import SparsityMonitor
from noisereg.callbacks.stop_when_fitted import StopWhenFitted

__all__ = [
    "EarlyEnd",
    "FiniteLoss",
    "GradientMonitor",
    "LabelCorruption",
    "NormMonitor",
    "RunCheckpoint",
    "SparsityMonitor",
    "StopWhenFitted",
    "Stopped",
]
