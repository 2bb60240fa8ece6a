"""Downloads that are in place whole or not at all."""

import http.client
import os
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from noisereg.errors import DatasetError


def download(root: Path, name: str, fetch: Callable[[Path], object]) -> None:
    """Download into a temporary folder inside `root`, and move `root/name` into place at the end.

    Folders that did not exist before a failed download do not exist after it.

    Args:
        root: made if it does not exist.
        name: path below `root` of the folder that `fetch` makes in the folder it is given.
        fetch: the download.

    Raises:
        DatasetError: if it fails.
    """
    made = [folder for folder in (root, *root.parents) if not folder.exists()]
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root, prefix=".download-") as folder:
            fetch(Path(folder))
            _move_into_place(Path(folder) / name, root / name)
    except (OSError, RuntimeError, EOFError, tarfile.TarError, http.client.HTTPException) as error:
        for made_here in made:
            if made_here.is_dir() and not any(made_here.iterdir()):
                made_here.rmdir()
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DatasetError(
            f"{root / name} does not exist and the download failed ({reason}); connect to the network, or "
            f"name the folder that has the data with root=PATH (Hypercube needs no files)"
        ) from error


def torchvision_dataset(name: str) -> Any:
    """Return a data set of torchvision, which knows where the files of the original are and what they are called.

    Example:
        >>> torchvision_dataset("CIFAR10").base_folder
        'cifar-10-batches-py'
    """
    import torchvision  # noqa: PLC0415 - takes a second, and most data sets do without

    return getattr(torchvision.datasets, name)


def _move_into_place(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.replace(source, target)
    except OSError:
        if not target.exists():  # else another process was first, with the same files
            raise
