"""A sweep: it runs the jobs of one command line that are not finished, and prints a table of all."""

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from noisereg.config.check import ComposedRun, Settings
from noisereg.config.run_folder import read_record
from noisereg.config.same_run import Fingerprint, check_recorded_data, data_sources
from noisereg.files.lock import find_holder, locked
from noisereg.terminal import print_lines

_STATUSES = {
    "finished": "done",
    "damaged": "damaged",
    "shorter": "shorter",
    "failed": "failed",
    "stopped": "stopped",
    "running": "cut off",
    "new": "not started",
}
_PATIENCE = 60.0  # seconds for a job to finish its step or its evaluation, and to save
_COLOURS = {"done": "green", "skipped": "dim", "failed": "red"}


@dataclass(frozen=True)
class Job:
    """One run of a sweep.

    Attributes:
        folder: of the run.
        composed: what is run in it.
    """

    folder: Path
    composed: ComposedRun

    @property
    def record(self) -> dict[str, Any]:
        """The contents of result.json; empty before the run has begun."""
        return read_record(self.folder, self.composed.settings)

    @property
    def is_finished(self) -> bool:
        """Whether the record has the status of a whole run."""
        return self.record.get("status") == "finished"


@dataclass(frozen=True)
class Sweep:
    """The runs of one command line, and their folder.

    Attributes:
        folder: of the sweep.
        jobs: in the order in which they are started.
        placing: overrides that make Hydra use these folders and the values in them.
        takes_jobs_along: whether jobs in other processes are killed once the one that started them is gone.
    """

    folder: Path
    jobs: Sequence[Job]
    placing: Sequence[str]
    takes_jobs_along: bool = False

    def run(
        self,
        launch: Callable[[], Any],
        *,
        console: Console,
        fingerprint: Callable[[Settings], Fingerprint],
        show_results: Callable[[Sequence[Path]], None] = lambda folders: None,
    ) -> int:
        """Run what is not finished yet, with the folder locked, and print how each job ended and what came out.

        Args:
            launch: starts the jobs, those that are finished too: they end at once.
            console: to print on.
            fingerprint: reads that of the data of a configuration; asked for where a folder holds a run.
            show_results: prints the results of the finished runs in some folders.

        Returns:
            The exit code: 0 if all jobs are finished; that of the launcher, or 1, if not.

        Raises:
            ConfigError: if another sweep has the folder, or a job's folder holds a run on other data.
        """
        code = 0
        with locked(self.folder, key="hydra.sweep.dir"):
            self._check_data(fingerprint)
            skipped = [job for job in self.jobs if job.is_finished]
            try:
                try:
                    if len(skipped) < len(self.jobs):
                        launch()
                except SystemExit as end:
                    code = end.code if isinstance(end.code, int) else 1
                show_results([job.folder for job in self.jobs if job.is_finished])
            finally:
                self._print_table(skipped, console)  # whose last line says how to go on
        return code or int(not all(job.is_finished for job in self.jobs))

    def stop_jobs(self) -> None:
        """Ask the jobs on this machine that would be killed to end, and wait until they have saved what they have."""
        if not self.takes_jobs_along:
            return
        asked, deadline = set[int](), time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            holders = {holder for job in self.jobs if (holder := find_holder(job.folder))}
            for holder in holders - asked:
                with suppress(ProcessLookupError):
                    os.kill(holder, signal.SIGTERM)
            asked |= holders
            if not holders:
                return
            time.sleep(0.1)

    def _check_data(self, fingerprint: Callable[[Settings], Fingerprint]) -> None:
        """Refuse other data than those of the runs that are there; what cannot be read here is left to the jobs."""
        read: dict[str, Fingerprint] = {}

        def read_once(settings: Settings) -> Fingerprint:
            section = json.dumps(data_sources(settings))
            if section not in read:
                read[section] = fingerprint(settings)
            return read[section]

        for job in self.jobs:
            check_recorded_data(job.record, job.composed.arms, read_once, folder=job.folder, key="hydra.sweep.dir")

    def _print_table(self, skipped: Sequence[Job], console: Console) -> None:
        table = Table("job", "status", "seconds", box=None, header_style="bold", pad_edge=False)
        counts, reasons = Counter[str](), list[str]()
        folders = {job.folder for job in skipped}
        for job in self.jobs:
            record = job.record
            status = "skipped" if job.folder in folders else _STATUSES[record.get("status", "new")]
            counts[status] += 1
            name = str(job.folder.relative_to(self.folder))
            seconds = f"{record['seconds']:,.1f}" if status == "done" and "seconds" in record else ""
            table.add_row(Text(name), Text(status, style=_COLOURS.get(status, "yellow")), seconds)
            if status in ("failed", "stopped"):
                log = "".join(f" ({_relative_path(path)})" for path in job.folder.glob("*.log"))
                reasons.append(f"{name}: {' '.join(record.get('reason', '').split())}{log}")
        last = ", ".join(f"{count} {status}" for status, count in counts.items())
        again = "" if {"done", "skipped"} >= counts.keys() else "; to go on, give the same command again"
        print_lines(console, f"\nsweep   {_relative_path(self.folder)}")
        console.print(table)
        print_lines(console, *reasons, last + again)


def _relative_path(path: Path) -> Path:
    """Return a path as seen from the working directory."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
