"""result.json: what a run was asked to do, where it ran, and what came of it."""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from noisereg.config.run_folder import RECORD, read_record, result_digests
from noisereg.config.same_run import Fingerprint, identity, recorded_fingerprint, refuse_other_data
from noisereg.files.atomic import write_atomically
from noisereg.runs.environment import is_first_process
from noisereg.secrets import find_secrets, hide_known_in


class RunRecord:
    """The record of the run in one folder.

    `result.json` says "running" from the start, with the configuration, its identity, the fingerprint of the data and
    the environment; at the end it is replaced by one that says "finished" and holds the results, "failed" with the
    reason, or "stopped" with the signal. So only a whole run is finished. It names the SHA-256 digests of the files
    beside it that a report reads.

    Args:
        folder: of the run.
        config: the whole configuration, as plain values.

    Raises:
        ConfigError: if another configuration was started in this folder.

    Attributes:
        known: what every record that is written here holds, such as the command, to be added to as it becomes known.
        has_begun: whether this process has written that the run is running.

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
        self.found = read_record(folder, config)
        self._fingerprint: Fingerprint = self.found.get("fingerprint", {})
        self.known: dict[str, Any] = {}
        self.has_begun = False

    @property
    def status(self) -> str:
        """Of the run that was found, see `read_record`, or "new" without one."""
        return self.found.get("status", "new")

    @property
    def begun_with(self) -> dict[str, Any]:
        """The command and the environment of the run that was found, until this process begins to go on with it."""
        return {key: self.found[key] for key in ("command", "environment") if key in self.found and not self.has_begun}

    def keep_data(self, fingerprint: Fingerprint, *, arms: Sequence[str] = ("",)) -> None:
        """Keep the fingerprint of the data for the record; refuse other data than those of the run that was found.

        Args:
            fingerprint: of the data.
            arms: of the experiment that this is the record of, which are trained on these data; "" if it is of none.

        Raises:
            ConfigError: saying in what the data differ.
        """
        for arm in arms:
            old = recorded_fingerprint({"fingerprint": self._fingerprint}, arm)
            refuse_other_data(old, fingerprint, folder=self.path.parent)
            self._fingerprint = {**self._fingerprint, arm: fingerprint} if arm else fingerprint

    def write(self, status: str, **contents: Any) -> None:
        """Replace the record by one with what is known and these contents; of several processes the first one does."""
        self.has_begun |= status == "running"
        if not is_first_process():
            return
        first: dict[str, Any] = {"status": status, "identity": identity(self.config), "config": self.config}
        digests = {"digests": result_digests(self.path.parent, self.config)} if status == "finished" else {}
        data = {"fingerprint": self._fingerprint} if self._fingerprint else {}
        secrets = find_secrets(os.environ).values()
        told = {  # replicas are numbers by the names of metrics
            key: value if key == "replicas" else hide_known_in(value, secrets)
            for key, value in {**self.known, **contents}.items()
        }
        text = json.dumps({**first, **data, **told, **digests}, indent=2)
        write_atomically(self.path, text.encode())

    @contextmanager
    def drawn(self) -> Iterator[None]:
        """Write after the `with` block, which shows the results of a finished run, that they are drawn.

        A run that is killed in the block has its results, and whoever goes on with it shows them. An error there is no
        reason to do so.
        """
        try:
            yield
        except Exception:
            self.write("finished")
            raise
        self.write("finished")
