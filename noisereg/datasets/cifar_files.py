"""The files of CIFAR as its authors published them: fetched and read without running anything that they may hold."""

import hashlib
import io
import pickle
import shutil
import tarfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import torchvision
from torchvision.datasets.utils import download_url

from noisereg.errors import DatasetError

_ARRAY = {"_reconstruct": np.empty(0).__reduce__()[0], "ndarray": np.ndarray, "dtype": np.dtype}
_DAMAGE = (OSError, ValueError, EOFError, KeyError, TypeError, IndexError, AttributeError, pickle.UnpicklingError)


def fetch(original: type[torchvision.datasets.CIFAR10], folder: Path, *, sha256: str) -> None:
    """Download the archive, compare it with its sum, and take the files of the data out of it.

    Args:
        original: says where the archive is, and what lies in it.
        folder: to write to.
        sha256: of the archive, in hexadecimal.

    Raises:
        OSError: if the archive cannot be had, or is not the original.
    """
    archive = folder / original.filename
    download_url(original.url, folder, original.filename)
    with archive.open("rb") as file:
        actual = hashlib.file_digest(file, "sha256").hexdigest()
    if actual != sha256:
        raise OSError(f"{original.filename} is not the original: its sha256 is {actual[:16]}..., not {sha256[:16]}...")
    names = [name for name, _ in (*original.train_list, *original.test_list)]
    unpack(archive, folder / original.base_folder, {*names, original.meta["filename"]})
    archive.unlink()


def unpack(archive: Path, folder: Path, names: Collection[str]) -> None:
    """Take the files of some names out of the folder of that name in a .tar.gz.

    Only their bytes are read: links, devices, paths that lead elsewhere and all other members are passed over.

    Args:
        archive: the .tar.gz.
        folder: made for the files; in the archive they lie in one of the same name.
        names: of the files.
    """
    folder.mkdir()
    with tarfile.open(archive, "r:gz") as members:
        for member in members:
            place, _, name = member.name.removeprefix("./").rpartition("/")
            if member.isfile() and place == folder.name and name in names and (content := members.extractfile(member)):
                with (folder / name).open("wb") as file:
                    shutil.copyfileobj(content, file)


def read_batch(path: Path, *, md5: str) -> tuple[np.ndarray, list[int]]:
    """Read one file: a pickle of which only plain values and arrays are taken, after its sum has been compared.

    Args:
        path: of the file.
        md5: of the file, in hexadecimal.

    Returns:
        The pixels (n, 3, 32, 32), bytes, and the n labels.

    Raises:
        DatasetError: if the file is missing, is not the original, or holds anything else.
    """
    mend = f"delete {path.parent} and start again to download"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{path} is missing or damaged ({error.strerror}); {mend}") from error
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != md5:
        raise DatasetError(f"{path} is missing or damaged (its md5 is not the original's); {mend}")
    try:
        batch = _PlainUnpickler(io.BytesIO(content), encoding="latin1").load()
        labels = batch["labels"] if "labels" in batch else batch["fine_labels"]
        return batch["data"].reshape(len(labels), 3, 32, 32).astype(np.uint8, casting="safe"), labels
    except _DAMAGE as error:
        raise DatasetError(
            f"{path} does not hold images and labels ({' '.join(str(error).split())}); {mend}"
        ) from error


class _PlainUnpickler(pickle.Unpickler):
    """Make arrays and plain values, and call nothing else."""

    def find_class(self, module_name: str, global_name: str) -> Any:
        if module_name.partition(".")[0] == "numpy" and global_name in _ARRAY:
            return _ARRAY[global_name]
        raise pickle.UnpicklingError(f"it names {module_name}.{global_name}, which is no array")
