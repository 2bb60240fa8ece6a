"""result.json: what a run was asked to do, where it ran, and what came of it."""

import json
from pathlib import Path
from typing import Any

from noisereg.config.run_folder import RECORD, identity, read_record, result_digests
from noisereg.files.atomic import write_atomically
from noisereg.runs.environment import is_first_process


class RunRecord:
    """The record of the run in one folder.

    `result.json` says "running" from the start, with the configuration, its identity and the environment; at the end it
    is replaced by one that says "finished" and holds the results, "failed" with the reason, or "stopped" with the
    signal. So only a whole run is finished. It names the SHA-256 digests of the files beside it that a report reads.

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
        """Of the run that was found: "finished", "damaged", "running", "failed", "stopped", or "new" without one."""
        return self.found.get("status", "new")

    def write(self, status: str, **contents: Any) -> None:
        """Replace the record; of several processes only the first one does."""
        if not is_first_process():
            return
        known: dict[str, Any] = {"status": status, "identity": self.identity, "config": self.config}
        digests = {"digests": result_digests(self.path.parent, self.config)} if status == "finished" else {}
        text = json.dumps({**known, **contents, **digests}, indent=2)
        write_atomically(self.path, lambda file: file.write(text.encode()))
