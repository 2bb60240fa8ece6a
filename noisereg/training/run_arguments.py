"""The arguments of a command that is about one finished run, or a replica of it."""

import argparse
from typing import Any

from noisereg.parsers import REPLICA
from noisereg.training.load import TrainedRun, load


def load_asked(asked: argparse.Namespace) -> TrainedRun:
    """Load the run that was asked for."""
    return load(asked.run, arm=asked.arm, trust=asked.trust, dataset_root=asked.root)


def replica_asked(asked: argparse.Namespace) -> dict[str, Any]:
    """Return what names the replica that was asked for, as far as it was named."""
    return {key: value for key in REPLICA if (value := getattr(asked, key)) is not None}
