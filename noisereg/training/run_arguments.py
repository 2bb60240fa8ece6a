"""The arguments of a command that is about one finished run, or a replica of it."""

import argparse
import re
from typing import Any

from rich.console import Console

from noisereg.config.trust_file import TRUST_FILE, project_trust
from noisereg.errors import ConfigError
from noisereg.parsers import REPLICA
from noisereg.training.load import TrainedRun, load


def load_asked(asked: argparse.Namespace, console: Console) -> TrainedRun:
    """Load the run that was asked for, with what the command or else `noisereg.toml` trusts.

    Raises:
        ConfigError: as `load`, in the words of a command.
    """
    trust = asked.trust
    if not trust and (trust := project_trust([asked.root] if asked.root else [])):
        console.print(f"trust=[{','.join(trust)}] stands in {TRUST_FILE}")
    try:
        return load(asked.run, arm=asked.arm, trust=trust, dataset_root=asked.root)
    except ConfigError as error:
        raise ConfigError(re.sub(r"trust=\[(\w+)\]$", r"--trust \1", str(error))) from error


def replica_asked(asked: argparse.Namespace) -> dict[str, Any]:
    """Return what names the replica that was asked for, as far as it was named."""
    return {key: value for key in REPLICA if (value := getattr(asked, key)) is not None}
