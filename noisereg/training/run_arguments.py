"""The arguments of a command that is about one finished run, or a replica of it."""

import argparse
from pathlib import Path
from typing import Any

from noisereg.training.load import TrainedRun, load

_REPLICA = {"p": float, "seed": int, "lr": float}


def run_parser(name: str, description: str | None) -> argparse.ArgumentParser:
    """Build a parser that takes a run, and what names a replica of it.

    Args:
        name: of the command.
        description: of what it does.
    """
    parser = argparse.ArgumentParser(prog=f"noisereg {name}", description=description)
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a finished run")
    for key, kind in _REPLICA.items():
        parser.add_argument(f"--{key}", type=kind, metavar=key.upper(), help=f"of a replica with this {key}")
    parser.add_argument("--arm", default="", metavar="NAME", help="of the experiment that the run is")
    parser.add_argument("--root", type=Path, metavar="FOLDER", help="of the data, if they were moved")
    parser.add_argument("--trust", action="append", default=[], metavar="PACKAGE", help="of your own, to build from")
    return parser


def load_asked(asked: argparse.Namespace) -> TrainedRun:
    """Load the run that was asked for."""
    return load(asked.run, arm=asked.arm, trust=asked.trust, dataset_root=asked.root)


def replica_asked(asked: argparse.Namespace) -> dict[str, Any]:
    """Return what names the replica that was asked for, as far as it was named."""
    return {key: value for key in _REPLICA if (value := getattr(asked, key)) is not None}
