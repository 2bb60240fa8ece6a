"""result.json: what a run was asked to do, where it ran, and what came of it."""

import json
from pathlib import Path
from typing import Any

from noisereg.config.run_folder import RECORD, identity, read_record
from noisereg.files.atomic import write_atomically
from noisereg.runs.environment import is_first_process


class RunRecord:
    """The record of the run in one folder.

    `result.json` says "running" from the start, with the configuration, its identity and the environment; at the end it
    is replaced by one that says "finished" and holds the results, "failed" with the reason, or "stopped" with the
    signal. So only a whole run is finished.

    Args:
        folder: of the run.
        config: the whole configuration, as plain values.

    Raises:
        ConfigError: if another configuration was started in this folder.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     record = RunRecord(Path(folder), {"seed": 0})
        ...     record.write("finished", steps=10)
        ...     RunRecord(Path(folder), {"seed": 0}).status
        'finished'
    """

    def __init__(self, folder: Path, config: dict[str, Any]) -> None:
        self.path = folder / RECORD
        self.config = config
        self.identity = identity(config)
        self.found = read_record(folder, config)

    @property
    def status(self) -> str:
        """Of the run that was found: "finished", "running", "failed", "stopped", or "new" if there was none."""
        return self.found.get("status", "new")

    def write(self, status: str, **contents: Any) -> None:
        """Replace the record; of several processes only the first one does."""
        if not is_first_process():
            return
        text = json.dumps({"status": status, "identity": self.identity, "config": self.config, **contents}, indent=2)
        write_atomically(self.path, lambda file: file.write(text.encode()))
