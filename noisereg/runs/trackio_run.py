"""The Trackio run: in Trackio's own database on this machine, or where its variables of the environment say."""

import io
import secrets
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pandas

from noisereg.config.same_run import identity
from noisereg.runs.run_logger import RunDescription, kept_text, numbers_of


def open_trackio_run(described: RunDescription) -> tuple["TrackioRun", str]:
    """Open a Trackio run, or go on with the one that the run's folder names in its `trackio.run`."""
    import trackio  # noqa: PLC0415 - an extra

    # Trackio finds a run again by its name, which is therefore no other run's
    name = kept_text(described.folder / "trackio.run", lambda: f"{described.name}-{secrets.token_hex(4)}")
    with redirect_stdout(io.StringIO()):  # what it prints is said in one line below
        run = trackio.init(
            project=described.project,
            name=name,
            group=described.group,
            config={**described.config, "identity": identity(described.config), "tags": described.tags},
            resume="allow",
            embed=False,
            auto_log_cpu=False,
            auto_log_gpu=False,
        )
    return TrackioRun(run, trackio), f"Trackio {name}; look with: trackio show --project {described.project}"


class TrackioRun:
    """Log to a Trackio run."""

    key = "logger.trackio"

    def __init__(self, run: Any, trackio: Any) -> None:
        self._run, self._trackio = run, trackio

    def log(self, values: Mapping[str, float], *, step: int, epoch: int) -> None:
        """Log a row."""
        self._run.log({"epoch": epoch, **values}, step=step)

    def finish(
        self, summary: Mapping[str, Any], *, replicas: pandas.DataFrame, figures: Sequence[Path], step: int
    ) -> None:
        """Log the numbers of the end, the table of the replicas and the figures."""
        images = {f"figures/{path.stem}": self._trackio.Image(str(path)) for path in figures}
        table = self._trackio.Table(dataframe=replicas)
        self._run.log({**numbers_of(summary), "replicas": table, **images}, step=step)
        self._close()

    def fail(self, *, stopped: bool) -> None:
        """Write what still waits."""
        self._close()

    def _close(self) -> None:
        with redirect_stdout(io.StringIO()):
            self._trackio.finish()  # of the run, and of what would finish it again as the process ends
