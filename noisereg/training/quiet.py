"""What libraries print that a user can do nothing about."""

import logging
import warnings

QUIETED = ("lightning.pytorch.utilities.rank_zero", "lightning.pytorch", "lightning.fabric")  # loggers


def quiet_libraries() -> None:
    """Stop libraries from printing what a user can do nothing about: notes on hardware, and their own calls."""
    for name in QUIETED:
        logging.getLogger(name).setLevel(logging.WARNING)
    # A user is told what is wrong, and not in which line of a library: `warnings` has no other way to say how.
    warnings.formatwarning = lambda message, *where, **more: f"warning: {message}\n"
    warnings.filterwarnings("ignore", message=".*LeafSpec")
    warnings.filterwarnings("ignore", message="The `srun` command is available")  # on any machine of a cluster
    warnings.filterwarnings("ignore", message=".*smaller than the logging interval")
    warnings.filterwarnings("once", message="SparsityMonitor")  # of many replicas
    warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")
