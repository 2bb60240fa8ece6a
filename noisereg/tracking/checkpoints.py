"""Checkpoints that are never half a file, whatever disk the temporary folder is on."""

from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO

from noisereg.tracking.files import write_atomically


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning's checkpoint files, written beside their place and moved there.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = f"{folder}/last.ckpt"
        ...     AtomicCheckpointIO().save_checkpoint({"epoch": 3}, path)
        ...     AtomicCheckpointIO().load_checkpoint(path)
        {'epoch': 3}
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write the checkpoint to `path`."""
        write_atomically(Path(path), lambda file: torch.save(checkpoint, file))
