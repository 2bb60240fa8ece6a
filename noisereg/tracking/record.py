"""result.json: what a run was asked to do, where it ran, and what came of it."""

import json
from pathlib import Path
from typing import Any

from noisereg.config import ConfigError
from noisereg.tracking.environment import is_first_process
from noisereg.tracking.files import write_atomically

_WITHOUT_EFFECT = ("logger",)  # parts of the configuration that cannot change the result


class RunRecord:
    """The record of the run in one folder.

    `result.json` says "running" from the start, with the configuration and the environment; at the end it is replaced
    by one that says "finished" and holds the results, or "failed" with the reason. So only a whole run is finished.

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
        self.path = folder / "result.json"
        self.config = config
        self.found = _read(self.path) if self.path.exists() else {}
        if self.found and (differing := _differing(self.found["config"], config)):
            raise ConfigError(
                f"hydra.run.dir={folder} holds a run of another configuration ({', '.join(differing[:3])} differ); "
                "name another folder, or give the same values to go on with it"
            )

    @property
    def status(self) -> str:
        """Of the run that was found in the folder: "finished", "running", "failed", or "new" if there was none."""
        return self.found.get("status", "new")

    def write(self, status: str, **contents: Any) -> None:
        """Replace the record; of several processes only the first one does."""
        if not is_first_process():
            return
        text = json.dumps({"status": status, "config": self.config, **contents}, indent=2)
        write_atomically(self.path, lambda file: file.write(text.encode()))


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read ({error}): delete it, or name another folder") from None


def _differing(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    old_values, new_values = (
        dict(_flat({key: part for key, part in config.items() if key not in _WITHOUT_EFFECT})) for config in (old, new)
    )
    keys = sorted(old_values.keys() | new_values.keys())
    return [key for key in keys if old_values.get(key) != new_values.get(key)]


def _flat(node: Any, prefix: str = "") -> list[tuple[str, Any]]:
    if not isinstance(node, dict):
        return [(prefix, json.loads(json.dumps(node)))]
    return [pair for key, value in node.items() for pair in _flat(value, f"{prefix}.{key}" if prefix else str(key))]
