"""The arrays that a run leaves beside its record."""

import zipfile
from pathlib import Path

import numpy as np


def read_arrays(path: Path) -> dict[str, np.ndarray] | None:
    """Read the arrays of a file.

    Args:
        path: of a .npz file.

    Returns:
        Each array by its name; None if there is no file.

    Raises:
        ValueError: if the file cannot be read, or holds objects.

    Example:
        >>> read_arrays(Path("nowhere/analysis.npz")) is None
        True
    """
    if not path.exists():
        return None
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return dict(arrays)
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} cannot be read ({error}); delete it") from None
