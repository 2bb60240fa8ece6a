"""What a run leaves behind: its record, its curves, its checkpoints, and the W&B files."""

from noisereg.tracking.checkpoints import AtomicCheckpointIO, find_checkpoint
from noisereg.tracking.curves import CurveTable
from noisereg.tracking.disk import DiskError, check_space, remove_leftovers
from noisereg.tracking.environment import environment, is_first_process
from noisereg.tracking.files import write_atomically
from noisereg.tracking.nameless_logger import NamelessLogger
from noisereg.tracking.progress import ProgressLines, summary
from noisereg.tracking.record import RunRecord
from noisereg.tracking.replica_curves import ReplicaCurves
from noisereg.tracking.replica_progress import StepsProgress
from noisereg.tracking.wandb_run import wandb_logger

__all__ = [
    "AtomicCheckpointIO",
    "CurveTable",
    "DiskError",
    "NamelessLogger",
    "ProgressLines",
    "ReplicaCurves",
    "RunRecord",
    "StepsProgress",
    "check_space",
    "environment",
    "find_checkpoint",
    "is_first_process",
    "remove_leftovers",
    "summary",
    "wandb_logger",
    "write_atomically",
]
