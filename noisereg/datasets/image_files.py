"""Image files in class folders, in a tree or an archive, decoded to bytes of one size."""

import contextlib
import errno
import gzip
import hashlib
import io
import os
import re
import tarfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageOps
from rich.progress import track

from noisereg.errors import DatasetError
from noisereg.files.cache import Arrays
from noisereg.files.fingerprint import fingerprint_files
from noisereg.files.reading import check_regular, read_file

SPLITS = ("train", "test")
EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
DECODING = 2  # raised whenever the same file decodes to other bytes than before, so that no cache holds the old ones
_FORMATS = ("JPEG", "PNG", "PPM", "BMP", "TIFF", "WEBP")  # of those names; others may start programs to be read
_LARGEST = 1 << 30  # bytes of an archive when it is unpacked
_APPLE_DOUBLE = b"\x00\x05\x16\x07"  # what macOS keeps about a file `x`, beside it as `._x`, on other file systems
_OTHER_KINDS = {  # first bytes of what is found under the name of an image
    b"GIF8": "a GIF",
    _APPLE_DOUBLE: "an AppleDouble file of macOS",
    b"version https://git-lfs": "a pointer of Git LFS",
    b"%PDF": "a PDF",
    b"PK\x03\x04": "a ZIP archive",
    b"<!DOCTYPE": "an HTML page",
    b"<html": "an HTML page",
}
_OTHERS = "of other kinds"
_MOST_KINDS = 5  # of files left out that are named one by one
_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339  # tags of TIFF 6.0
_WHITE_IS_ZERO, _UNSIGNED = 0, 1


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
        left_out: how many files of the tree are not read as images, by kind.
    """

    names: np.ndarray
    labels: np.ndarray
    num_train: int
    left_out: Mapping[str, int]

    def image_files(self, folder: Path) -> list[ImageFile]:
        """Return the images one by one, with the way to read them below the folder that was listed."""
        places = [os.fsdecode(name).split("/") for name in self.names.tolist()]
        return [
            ImageFile(split, label, name, partial(read_file, folder / split / label / name))
            for split, label, name in places
        ]


def list_tree_files(folder: Path) -> list[ImageFile]:
    """List folder/{train,test}/<class>/<image>, sorted.

    Raises:
        DatasetError: see `list_class_files`.
    """
    return [
        ImageFile(split, label, name, partial(read_file, folder / split / label / name))
        for split in SPLITS
        for label, name in list_class_files(folder, split, left_out=Counter())
    ]


def list_class_files(folder: Path, split: str, *, left_out: Counter[str]) -> Iterator[tuple[str, str]]:
    """List the class and the file of each folder/split/<class>/<image>, sorted.

    Args:
        folder: that holds the split.
        split: train or test.
        left_out: counts the files that are passed over, by kind.

    Raises:
        DatasetError: if a folder is missing or cannot be read, and for a pipe, a device or a link that leads nowhere
            where an image or a class should be.
    """
    labels = list_subfolders(folder / split)
    for entry in _scan(folder / split):
        if not _is_folder(entry):
            left_out["beside the class folders"] += 1
        elif entry.name not in labels:
            left_out["in hidden folders"] += _count_files(entry)
    for label in labels:
        names = []
        for entry in _scan(folder / split / label):
            if kind := _kind_left_out(entry):
                left_out[kind] += _count_files(entry)
            else:
                names.append(entry.name)
        yield from ((label, name) for name in sorted(names))


def list_tree(folder: Path, classes: tuple[str, ...]) -> FileList:
    """List the images of a tree of any size, whose classes are in the order of their labels.

    Raises:
        DatasetError: see `list_class_files`.
    """
    label_of = {name: label for label, name in enumerate(classes)}
    names: list[bytes] = []
    labels: list[int] = []
    starts: list[int] = []
    left_out: Counter[str] = Counter()
    for split in SPLITS:
        starts.append(len(names))
        for label, name in list_class_files(folder, split, left_out=left_out):
            names.append(os.fsencode(f"{split}/{label}/{name}"))
            labels.append(label_of[label])
    return FileList(np.array(names, dtype=np.bytes_), np.array(labels, dtype=np.int64), starts[1], +left_out)


def describe_left_out(left_out: Mapping[str, int]) -> str:
    """Describe how many files are left out and of which kinds, the most frequent ones first.

    Example:
        >>> describe_left_out({"in folders below a class": 1, ".gif": 3})
        '4 files left out (3 .gif, 1 in folders below a class)'
    """
    named = sorted((item for item in left_out.items() if item[0] != _OTHERS), key=lambda item: (-item[1], item[0]))
    total, shown = sum(left_out.values()), dict(named[:_MOST_KINDS])
    if rest := total - sum(shown.values()):
        shown[_OTHERS] = rest
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in shown.items())
    return f"{total:,} file{'s' if total > 1 else ''} left out ({kinds})"


def list_archive_files(path: Path, folder: str) -> list[ImageFile]:
    """List folder/{train,test}/<class>/<image> inside a .tgz, sorted; nothing is written to disk.

    Raises:
        DatasetError: if the archive is cut short, damaged, or none at all.
    """
    mend = "copy it again, or delete it and start again to download"
    try:
        check_regular(path)
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
    """List the folders in a folder by name, sorted, but for hidden ones.

    Raises:
        DatasetError: if it is missing or cannot be read, or holds a link that leads nowhere.
    """
    entries = [entry for entry in _scan(folder) if not entry.name.startswith(".")]
    for entry in entries:
        if entry.is_symlink() and not os.path.exists(entry.path):
            raise DatasetError(f"{entry.path} cannot be read (the link leads nowhere); mend or remove it")
    return sorted(entry.name for entry in entries if _is_folder(entry))


def tree_identity(folder: Path) -> tuple[str, int, str]:
    """Return what changes when an image of the tree does: path, number of files, hash of names, sizes and times.

    No time is compared with another: a clock may be set back, and a file that is moved keeps its time.
    """
    stats = ((path, _stat(path)) for path in _walk(folder, levels=len(("split", "class", "image"))))
    files = sorted((path, stat.st_size, stat.st_mtime_ns) for path, stat in stats)
    return str(folder.resolve()), len(files), hashlib.sha256(repr(files).encode()).hexdigest()


def archive_identity(path: Path) -> tuple[str, int, int]:
    """Return what changes when the archive does: path, size, time of change in ns."""
    stat = path.stat()
    return str(path.resolve()), stat.st_size, stat.st_mtime_ns


def fingerprint_images(folder: Path, names: Sequence[str | bytes]) -> dict[str, Any]:
    """Compute what tells the files of a data set from others, see `fingerprint_files`.

    Args:
        folder: that the files lie in.
        names: of the files below that folder, in an order that is the same each time.

    Raises:
        DatasetError: if one cannot be read.
    """
    try:
        return fingerprint_files(folder, names)
    except OSError as error:
        path = os.fsdecode(error.filename or folder)
        raise DatasetError(f"{path} cannot be read ({error.strerror}); put a whole copy there") from error


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
    """Decode one image to 8 bits a channel, in RGB, turned upright as its EXIF orientation says.

    What is transparent keeps its colour. Gray levels of 16 bits are scaled by their whole range and rounded; of
    16-bit colours Pillow takes the high byte.

    Args:
        read: gives the file's bytes.
        path: of the file, for the error text.

    Raises:
        DatasetError: if it does not decode, or has pixels whose range is not known.

    Example:
        >>> file = io.BytesIO()
        >>> Image.fromarray(np.full((2, 3), 257 * 100, dtype=np.uint16)).save(file, "PNG")
        >>> picture = open_image(file.getvalue, Path("gray.png"))
        >>> picture.mode, picture.size, picture.getpixel((0, 0))
        ('RGB', (3, 2), (100, 100, 100))
    """
    content = b""
    try:
        content = read()
        picture = Image.open(io.BytesIO(content), formats=_FORMATS)
        picture.load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        if kind := next((kind for start, kind in _OTHER_KINDS.items() if content.startswith(start)), None):
            mend = f"put an image there that is {' or '.join(_FORMATS)}"
            raise DatasetError(f"{path} cannot be read (it is {kind}, whatever its name); {mend}") from error
        broken = getattr(error, "strerror", None) or "it does not decode as an image"
        raise DatasetError(f"{path} cannot be read ({broken}); put a whole copy there") from error
    with contextlib.suppress(Exception):  # of metadata that are damaged Pillow raises all kinds; the pixels are whole
        ImageOps.exif_transpose(picture, in_place=True)
    rgb = _to_rgb(picture, path)
    rgb.format = picture.format
    return rgb


def cover_square(picture: Image.Image, size: int) -> Image.Image:
    """Scale an image until it covers a square, and take its centre, in RGB.

    Example:
        >>> square = cover_square(Image.new("RGB", (64, 48)), 32)
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
    return np.asarray(picture)


def _to_rgb(picture: Image.Image, path: Path) -> Image.Image:
    tags = getattr(picture, "tag_v2", {})  # of a TIFF
    if _first(tags.get(_SAMPLE_FORMAT, _UNSIGNED)) != _UNSIGNED or _is_of_unknown_range(picture):
        raise DatasetError(
            f"{path} has signed, 32-bit or float pixels (mode {picture.mode}), whose black and white are not known; "
            f"save it with 8 or 16 bits, unsigned"
        )
    if picture.mode.startswith("I"):
        largest = 2 ** _first(tags.get(_BITS, 16)) - 1
        levels = (np.asarray(picture).astype(np.int64) * 255 + largest // 2) // largest
        if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:  # which Pillow minds in 8 bits only
            levels = 255 - levels
        picture = Image.fromarray(levels.astype(np.uint8))
    elif picture.mode in ("P", "PA"):
        picture = picture.convert("RGBA")  # the way on which Pillow does not warn of transparent colours
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def _is_of_unknown_range(picture: Image.Image) -> bool:
    """Return whether pixels may be of any size; those of a PGM are scaled to 16 bits when Pillow reads them."""
    return picture.mode == "F" or (picture.mode == "I" and picture.format != "PPM")


def _first(value: int | tuple[int, ...]) -> int:
    return value[0] if isinstance(value, tuple) else value


def _scan(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise DatasetError(
            f"{folder} cannot be read ({error.strerror}); name the folder that has the data with root=PATH"
        ) from error


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # of a link to itself
        return False


def _kind_left_out(entry: os.DirEntry[str]) -> str | None:
    """Return of what kind a file of a class is that is not read, None if it is an image.

    Raises:
        DatasetError: if it has the name of an image, and is neither a file nor a folder.
    """
    if _is_folder(entry):
        return "in folders below a class"
    if not entry.name.lower().endswith(EXTENSIONS):
        suffix = Path(entry.name).suffix.lower()
        return suffix if re.fullmatch(r"\.[a-z0-9]{1,10}", suffix) else _OTHERS
    try:
        if not entry.is_file():
            os.stat(entry.path)
            raise OSError(errno.EINVAL, "it is a pipe, a socket or a device")
    except OSError as error:
        reason = "the link leads nowhere" if isinstance(error, FileNotFoundError) else error.strerror
        raise DatasetError(f"{entry.path} cannot be read ({reason}); put an image there, or remove it") from error
    return "AppleDouble" if entry.name.startswith("._") and _is_apple_double(Path(entry.path)) else None


def _is_apple_double(path: Path) -> bool:
    with contextlib.suppress(OSError), path.open("rb") as file:
        return file.read(len(_APPLE_DOUBLE)) == _APPLE_DOUBLE
    return False  # what cannot be opened is named when its pixels are asked for


def _count_files(entry: os.DirEntry[str]) -> int:
    """Return 1 for a file, and for a folder how many files are below it."""
    return sum(len(files) for _, _, files in os.walk(entry.path)) if _is_folder(entry) else 1


def _find_members(archive: tarfile.TarFile, content: memoryview, folder: str) -> Iterator[ImageFile]:
    for member in archive:
        parts = member.name.removeprefix("./").split("/")
        if member.isfile() and len(parts) == 4 and parts[0] == folder and parts[3].lower().endswith(EXTENSIONS):
            begin, end = member.offset_data, member.offset_data + member.size
            if not (parts[3].startswith("._") and content[begin:end].tobytes().startswith(_APPLE_DOUBLE)):
                yield ImageFile(parts[1], parts[2], parts[3], content[begin:end].tobytes)


def _stat(path: str) -> os.stat_result:
    try:
        return os.stat(path)
    except OSError:  # a link that leads nowhere
        return os.lstat(path)


def _walk(folder: Path, *, levels: int) -> Iterator[str]:
    """List the paths of files down to a level: below it no image is read, and a link may lead up again."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:  # the list of images names what cannot be read
        for entry in entries:
            if not _is_folder(entry):
                yield entry.path
            elif levels > 1:
                yield from _walk(Path(entry.path), levels=levels - 1)
