"""Image files in class folders, in a tree or an archive, decoded to bytes of one size."""

import gzip
import io
import os
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps
from rich.progress import track

from noisereg.datasets.cache import Arrays
from noisereg.datasets.error import DatasetError

SPLITS = ("train", "test")
EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")


class ImageFile(NamedTuple):
    """One image: its place `split/label/name`, and how to get its bytes."""

    split: str
    label: str
    name: str
    read: Callable[[], bytes]

    @property
    def place(self) -> str:
        """Where it lies in the tree or archive."""
        return f"{self.split}/{self.label}/{self.name}"


def files_of_tree(folder: Path) -> list[ImageFile]:
    """List folder/{train,test}/<class>/<image>, sorted.

    Raises:
        DatasetError: if a folder is missing or cannot be read.
    """
    files = []
    for split in SPLITS:
        for label in subfolders(folder / split):
            inside = folder / split / label
            names = [name for name in _list(inside) if name.lower().endswith(EXTENSIONS)]
            files += [ImageFile(split, label, name, (inside / name).read_bytes) for name in names]
    return files


def files_of_archive(path: Path, folder: str) -> list[ImageFile]:
    """List folder/{train,test}/<class>/<image> inside a .tgz, sorted; nothing is written to disk.

    Raises:
        DatasetError: if the archive is cut short, damaged, or none at all.
    """
    mend = "copy it again, or delete it and start again to download"
    try:
        content = io.BytesIO(gzip.decompress(path.read_bytes()))
        with tarfile.open(fileobj=content, mode="r:") as archive:
            files = sorted(_members(archive, content.getbuffer(), folder), key=lambda file: file[:3])
    except gzip.BadGzipFile as error:
        raise DatasetError(f"{path} is damaged or no .tgz ({error}); {mend}") from error
    except (EOFError, zlib.error, tarfile.TarError) as error:
        raise DatasetError(f"{path} is cut short or damaged ({error}); {mend}") from error
    except OSError as error:
        raise DatasetError(f"{path} cannot be read ({error.strerror}); {mend}") from error
    return files


def subfolders(folder: Path) -> list[str]:
    """Name the folders in a folder, sorted.

    Raises:
        DatasetError: if it is missing or cannot be read.
    """
    return [name for name in _list(folder) if (folder / name).is_dir() and not name.startswith(".")]


def tree_identity(folder: Path) -> tuple[str, int, int]:
    """Give what changes when an image of the tree does: path, number of files, newest time of change in ns."""
    times = [entry.stat().st_mtime_ns for entry in _walk(folder)]
    return str(folder.resolve()), len(times), max(times, default=0)


def archive_identity(path: Path) -> tuple[str, int, int]:
    """Give what changes when the archive does: path, size, time of change in ns."""
    stat = path.stat()
    return str(path.resolve()), stat.st_size, stat.st_mtime_ns


def decode(files: list[ImageFile], classes: tuple[str, ...], *, where: Path, size: int, resize: bool) -> Arrays:
    """Decode all images to RGB bytes.

    Args:
        files: what to decode; their order is kept.
        classes: names in the order of their labels.
        where: the tree or archive, for the error text.
        size: height and width of the result.
        resize: whether an image of another size is scaled and cropped about its centre, or refused.

    Returns:
        train_images (n, size, size, 3) and train_labels (n,), test_images and test_labels, and the files' formats.

    Raises:
        DatasetError: for an image that does not decode, or is of another size.
    """
    label_of = {name: label for label, name in enumerate(classes)}
    arrays: Arrays = {}
    formats: set[str] = set()
    for split in SPLITS:
        chosen = [file for file in files if file.split == split]
        images = np.empty((len(chosen), size, size, 3), dtype=np.uint8)
        for i, file in enumerate(track(chosen, description=f"Decoding {split} images of {where}")):
            picture = _open(file, where)
            formats.add(picture.format or "unknown")
            images[i] = _pixels(picture, size=size, resize=resize, path=where / file.place)
        arrays[f"{split}_images"] = images
        arrays[f"{split}_labels"] = np.array([label_of[file.label] for file in chosen], dtype=np.int64)
    return {**arrays, "formats": np.array(sorted(formats))}


def _open(file: ImageFile, where: Path) -> Image.Image:
    try:
        picture = Image.open(io.BytesIO(file.read()))
        picture.load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        broken = getattr(error, "strerror", None) or "it does not decode as an image"
        raise DatasetError(f"{where / file.place} cannot be read ({broken}); put a whole copy there") from error
    return picture


def _pixels(picture: Image.Image, *, size: int, resize: bool, path: Path) -> np.ndarray:
    if resize:
        picture = ImageOps.fit(picture.convert("RGB"), (size, size), Image.Resampling.BILINEAR)
    if picture.size != (size, size):
        width, height = picture.size
        raise DatasetError(f"{path} is {width}x{height} pixels, not {size}x{size}; put the original there")
    return np.asarray(picture.convert("RGB"))


def _list(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError as error:
        raise DatasetError(
            f"{folder} cannot be read ({error.strerror}); name the folder that has the data with dataset.root=PATH"
        ) from error


def _members(archive: tarfile.TarFile, content: memoryview, folder: str) -> Iterator[ImageFile]:
    for member in archive:
        parts = member.name.removeprefix("./").split("/")
        if member.isfile() and len(parts) == 4 and parts[0] == folder and parts[3].lower().endswith(EXTENSIONS):
            begin, end = member.offset_data, member.offset_data + member.size
            yield ImageFile(parts[1], parts[2], parts[3], content[begin:end].tobytes)


def _walk(folder: Path) -> Iterator[os.DirEntry]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                yield from _walk(Path(entry.path))
            else:
                yield entry
