"""Read back what a run wrote for W&B without a server, by W&B's own reader."""

import json
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

WANDB = str(Path(sys.executable).parent / "wandb")


@dataclass(frozen=True)
class WandbFiles:
    """What one part of a run left: all of it, unless the run was interrupted. It has ended before it is read.

    Attributes:
        folder: that W&B wrote it to.
    """

    folder: Path

    @property
    def id(self) -> str:
        """Of the run, as its folder is named."""
        return self.folder.name.split("-", 3)[3]

    @property
    def run(self) -> dict[str, Any]:
        """What the run said of itself as it began."""
        return self._all("run")[0]

    @property
    def config(self) -> dict[str, Any]:
        """Of the run."""
        return {key: value for key, value in self.run["config"]["update"].items() if key != "_wandb"}

    @property
    def history(self) -> list[dict[str, Any]]:
        """What was logged, row by row."""
        return [row["item"] for row in self._all("history")]

    @property
    def summary(self) -> dict[str, Any]:
        """The last value of everything."""
        return {key: value for update in self._all("summary") for key, value in update.get("update", {}).items()}

    @property
    def exit_code(self) -> int | None:
        """Of the run; None if it was killed."""
        ends = self._all("exit")
        return ends[-1].get("exit_code", 0) if ends else None

    @property
    def names(self) -> set[str]:
        """All that was logged, by name: numbers, tables and pictures."""
        return {name.removesuffix("._type") for row in self.history for name in row}

    def table(self, name: str) -> list[str]:
        """Names of the columns of a table."""
        (path,) = (row[f"{name}.path"] for row in self.history if f"{name}.path" in row)
        return json.loads((self.folder / "files" / path).read_text())["columns"]

    def _all(self, kind: str) -> list[dict[str, Any]]:
        return [record[kind] for record in _records(self.folder) if record["type"] == kind]


@cache
def _records(folder: Path) -> list[dict[str, Any]]:
    """Return all that was written, in order."""
    command = [WANDB, "leet", "inspect", str(folder), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return [json.loads(line) for line in done.stdout.splitlines()]


def wandb_files(folder: Path) -> list[WandbFiles]:
    """List the parts of the run in a folder, oldest first."""
    return [WandbFiles(part) for part in sorted((folder / "wandb").glob("offline-run-*"))]
