"""Image files in class folders, in a tree or an archive, decoded to bytes of one size."""

import gzip
import hashlib
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

from noisereg.errors import DatasetError
from noisereg.files.cache import Arrays

SPLITS = ("train", "test")
EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
_FORMATS = ("JPEG", "PNG", "PPM", "BMP", "TIFF", "WEBP")  # of those names; others may start programs to be read
_LARGEST = 1 << 30  # bytes of an archive when it is unpacked


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


class FileList(NamedTuple):
    """All images of a tree, those of train first: a few bytes for each of millions.

    Attributes:
        names: (n,), `split/class/file` as the file system's bytes.
        labels: (n,), int64 class indices.
        num_train: how many are of train.
    """

    names: np.ndarray
    labels: np.ndarray
    num_train: int


def list_tree_files(folder: Path) -> list[ImageFile]:
    """List folder/{train,test}/<class>/<image>, sorted.

    Raises:
        DatasetError: if a folder is missing or cannot be read.
    """
    return [
        ImageFile(split, label, name, (folder / split / label / name).read_bytes)
        for split in SPLITS
        for label, name in list_class_files(folder, split)
    ]


def list_class_files(folder: Path, split: str) -> Iterator[tuple[str, str]]:
    """List the class and the file of each folder/split/<class>/<image>, sorted.

    Raises:
        DatasetError: if a folder is missing or cannot be read.
    """
    for label in list_subfolders(folder / split):
        for name in _list_folder(folder / split / label):
            if name.lower().endswith(EXTENSIONS):
                yield label, name


def list_tree(folder: Path, classes: tuple[str, ...]) -> FileList:
    """List the images of a tree of any size.

    Args:
        folder: that holds train and test.
        classes: names in the order of their labels.

    Raises:
        DatasetError: if a folder is missing or cannot be read.
    """
    label_of = {name: label for label, name in enumerate(classes)}
    names: list[bytes] = []
    labels: list[int] = []
    starts: list[int] = []
    for split in SPLITS:
        starts.append(len(names))
        for label, name in list_class_files(folder, split):
            names.append(os.fsencode(f"{split}/{label}/{name}"))
            labels.append(label_of[label])
    return FileList(np.array(names, dtype=np.bytes_), np.array(labels, dtype=np.int64), starts[1])


def list_archive_files(path: Path, folder: str) -> list[ImageFile]:
    """List folder/{train,test}/<class>/<image> inside a .tgz, sorted; nothing is written to disk.

    Raises:
        DatasetError: if the archive is cut short, damaged, or none at all.
    """
    mend = "copy it again, or delete it and start again to download"
    try:
        with gzip.open(path) as packed:
            content = io.BytesIO(packed.read(_LARGEST + 1))
        if len(content.getbuffer()) > _LARGEST:
            raise DatasetError(f"{path} unpacks to more than {_LARGEST:,} bytes, which no archive of small images does")
        with tarfile.open(fileobj=content, mode="r:") as archive:
            files = sorted(_find_members(archive, content.getbuffer(), folder), key=lambda file: file[:3])
    except gzip.BadGzipFile as error:
        raise DatasetError(f"{path} is damaged or no .tgz ({error}); {mend}") from error
    except (EOFError, zlib.error, tarfile.TarError) as error:
        raise DatasetError(f"{path} is cut short or damaged ({error}); {mend}") from error
    except OSError as error:
        raise DatasetError(f"{path} cannot be read ({error.strerror}); {mend}") from error
    return files


def list_subfolders(folder: Path) -> list[str]:
    """List the folders in a folder by name, sorted.

    Raises:
        DatasetError: if it is missing or cannot be read.
    """
    return [name for name in _list_folder(folder) if (folder / name).is_dir() and not name.startswith(".")]


def tree_identity(folder: Path) -> tuple[str, int, str]:
    """Return what changes when an image of the tree does: path, number of files, hash of names, sizes and times.

    No time is compared with another: a clock may be set back, and a file that is moved keeps its time.
    """
    stats = ((entry.path, entry.stat()) for entry in _walk(folder))
    files = sorted((path, stat.st_size, stat.st_mtime_ns) for path, stat in stats)
    return str(folder.resolve()), len(files), hashlib.sha256(repr(files).encode()).hexdigest()


def archive_identity(path: Path) -> tuple[str, int, int]:
    """Return what changes when the archive does: path, size, time of change in ns."""
    stat = path.stat()
    return str(path.resolve()), stat.st_size, stat.st_mtime_ns


def decode_images(files: list[ImageFile], classes: tuple[str, ...], *, where: Path, size: int, resize: bool) -> Arrays:
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
            picture = open_image(file.read, where / file.place)
            formats.add(picture.format or "unknown")
            images[i] = _read_pixels(picture, size=size, resize=resize, path=where / file.place)
        arrays[f"{split}_images"] = images
        arrays[f"{split}_labels"] = np.array([label_of[file.label] for file in chosen], dtype=np.int64)
    return {**arrays, "formats": np.array(sorted(formats))}


def open_image(read: Callable[[], bytes], path: Path) -> Image.Image:
    """Decode one image.

    Args:
        read: gives the file's bytes.
        path: of the file, for the error text.

    Raises:
        DatasetError: if it does not decode.
    """
    try:
        picture = Image.open(io.BytesIO(read()), formats=_FORMATS)
        picture.load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        broken = getattr(error, "strerror", None) or "it does not decode as an image"
        raise DatasetError(f"{path} cannot be read ({broken}); put a whole copy there") from error
    return picture


def cover_square(picture: Image.Image, size: int) -> Image.Image:
    """Scale an image until it covers a square, and take its centre, in RGB.

    Example:
        >>> square = cover_square(Image.new("L", (64, 48)), 32)
        >>> square.mode, square.size
        ('RGB', (32, 32))
    """
    return ImageOps.fit(picture.convert("RGB"), (size, size), Image.Resampling.BILINEAR)


def _read_pixels(picture: Image.Image, *, size: int, resize: bool, path: Path) -> np.ndarray:
    if resize:
        picture = cover_square(picture, size)
    if picture.size != (size, size):
        width, height = picture.size
        raise DatasetError(f"{path} is {width}x{height} pixels, not {size}x{size}; put the original there")
    return np.asarray(picture.convert("RGB"))


def _list_folder(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError as error:
        raise DatasetError(
            f"{folder} cannot be read ({error.strerror}); name the folder that has the data with root=PATH"
        ) from error


def _find_members(archive: tarfile.TarFile, content: memoryview, folder: str) -> Iterator[ImageFile]:
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
