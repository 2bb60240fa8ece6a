"""The TensorBoard run: event files in the run's folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas
import yaml
from PIL import Image

from noisereg.runs.run_logger import RunDescription, numbers_of

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


def open_tensorboard_run(described: RunDescription) -> tuple["TensorBoardRun", str]:
    """Open event files in the run's folder; those of a resumed run go on with what lies there."""
    from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - an extra, and slow to load

    folder = described.folder / "tensorboard"
    is_new = not folder.exists()
    writer = SummaryWriter(folder)
    if is_new:
        writer.add_text("config", f"```yaml\n{yaml.safe_dump(described.config)}```", 0)
    return TensorBoardRun(writer), f"board   look with: tensorboard --logdir {folder}"


class TensorBoardRun:
    """Log to event files of TensorBoard."""

    key = "logger.tensorboard"

    def __init__(self, writer: "SummaryWriter") -> None:
        self._writer = writer

    def log(self, values: Mapping[str, float], *, step: int, epoch: int) -> None:
        """Write a scalar for each value, at once: a run may be killed."""
        for name, value in {"epoch": epoch, **values}.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def finish(
        self, summary: Mapping[str, Any], *, replicas: pandas.DataFrame, figures: Sequence[Path], step: int
    ) -> None:
        """Write the numbers of the end, the table of the replicas as text, and the figures."""
        for name, value in numbers_of(summary).items():
            self._writer.add_scalar(name, value, step)
        self._writer.add_text("replicas", f"```\n{replicas.to_csv(index=False)}```", step)
        for path in figures:
            with Image.open(path) as picture:
                self._writer.add_image(
                    f"figures/{path.stem}", np.asarray(picture.convert("RGB")), step, dataformats="HWC"
                )
        self._writer.close()

    def fail(self, *, stopped: bool) -> None:
        """Close the files."""
        self._writer.close()
