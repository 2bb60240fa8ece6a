"""Checkpoints that are never half a file, whatever disk the temporary folder is on."""

import logging
import os
import pickle
import zipfile
from pathlib import Path
from typing import IO, Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO

from noisereg.errors import ConfigError
from noisereg.files.atomic import write_atomically

log = logging.getLogger(__name__)

_BEFORE = "previous.ckpt"


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write Lightning's checkpoint files beside their place and move them there; the one before is kept.

    What was at the path stays beside it as `previous.ckpt`. Whatever moment the process dies at, one of the two is
    whole.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "last.ckpt"
        ...     for epoch in (1, 2, 3):
        ...         AtomicCheckpointIO().save_checkpoint({"epoch": epoch}, path)
        ...     [AtomicCheckpointIO().load_checkpoint(path.with_name(name)) for name in ("previous.ckpt", "last.ckpt")]
        [{'epoch': 2}, {'epoch': 3}]
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write the checkpoint to `path`."""
        path = Path(path)

        def write(file: IO[bytes]) -> None:
            torch.save(checkpoint, file)
            file.flush()
            os.fsync(file.fileno())  # whole, before the last one gives way
            if path.exists():
                path.replace(path.with_name(_BEFORE))

        write_atomically(path, write)


def find_checkpoint(folder: Path) -> Path | None:
    """Find the checkpoint that a training goes on from: the last one, or the one before if the last one is broken.

    Args:
        folder: of the checkpoints.

    Returns:
        The path, or None if there is no whole checkpoint.

    Raises:
        ConfigError: if a checkpoint holds more than tensors and plain values, which a run never writes.
    """
    for path in (folder / "last.ckpt", folder / _BEFORE):
        if path.exists() and not (fault := _fault(path)):
            return path
        if path.exists():
            log.warning("%s is broken (%s); it is left aside", path, fault)
    return None


def has_checkpoint(folder: Path) -> bool:
    """Return whether a run has left a checkpoint in its folder, or in that of one of its replicas.

    Args:
        folder: of the run.
    """
    return any(any(folder.glob(f"{place}checkpoints/*.ckpt")) for place in ("", "replicas/*/"))


def _fault(path: Path) -> str:
    """Describe what is wrong with a checkpoint; nothing if it is whole."""
    try:
        with zipfile.ZipFile(path) as archive:
            if damaged := archive.testzip():
                return f"{damaged} does not have its checksum"
        torch.load(path, map_location="meta", weights_only=True)
    except pickle.UnpicklingError:
        raise ConfigError(
            f"{path} holds more than tensors and plain values, and is not loaded; delete it if it is not yours"
        ) from None
    except (OSError, zipfile.BadZipFile, RuntimeError, EOFError) as error:
        return " ".join(str(error).split())
    return ""
