"""CIFAR-10 and CIFAR-100, from torchvision's files, an image tree or an archive of one.

The files of the authors are pickles and a .tar.gz: they are read without running anything that they may hold.
"""

import hashlib
import io
import pickle
import shutil
import tarfile
from collections.abc import Callable, Collection
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar, Unpack

import numpy as np
import torch

from noisereg.datasets.download import download, torchvision_dataset
from noisereg.datasets.image_files import (
    DECODING,
    ImageFile,
    archive_identity,
    decode_images,
    fingerprint_images,
    list_archive_files,
    list_tree_files,
    tree_identity,
)
from noisereg.datasets.images import Images, Sized, Statistics, build_splits
from noisereg.datasets.split import Split
from noisereg.errors import DatasetError
from noisereg.files.cache import Arrays, cached
from noisereg.files.reading import read_file

_TEN = "airplane automobile bird cat deer dog frog horse ship truck"
_HUNDRED = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can
castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin
elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster
man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck
pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk
skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger
tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm
"""
_ARRAY = {"_reconstruct": np.empty(0).__reduce__()[0], "ndarray": np.ndarray, "dtype": np.dtype}
_DAMAGE = (OSError, ValueError, EOFError, KeyError, TypeError, IndexError, AttributeError, pickle.UnpicklingError)


class Cifar10(Images):
    """50,000 + 10,000 small photographs of 32 x 32 pixels in ten classes.

    The first of these that is there is read: root/cifar-10-batches-py (torchvision's files),
    root/cifar10/{train,test}/<class>/* (images), root/cifar10.tgz (the same tree, read without extracting it). If
    none is, the original is downloaded and compared with its sum. Images are decoded once and kept in the cache.

    Args:
        root: folder that holds the data.
        normalize: see `Images`.
        augment: see `Images`.
        common: see `InMemory`; here `batch_size` is 128 and `train_eval_size` 10,000 unless given.

    Raises:
        DatasetError: from `setup`, if none of the three is there, or what is there is not whole.

    Example:
        >>> data = Cifar10("data", train_size=1000)  # setup reads, and prepare_data downloads
        >>> data.input_shape, data.num_classes, data.batch_size
        ((3, 32, 32), 10, 128)

    Source: A. Krizhevsky, "Learning multiple layers of features from tiny images", 2009.
    """

    num_classes = 10
    input_shape = (3, 32, 32)
    statistics = Statistics((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))
    title: ClassVar[str] = "CIFAR-10"
    stem: ClassVar[str] = "cifar10"
    original: ClassVar[str] = "CIFAR10"  # among the data sets of torchvision
    sha256: ClassVar[str] = "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"  # of its archive
    counts: ClassVar[dict[str, int]] = {"train": 50_000, "test": 10_000}
    classes: ClassVar[tuple[str, ...]] = tuple(_TEN.split())

    def __init__(
        self,
        root: str | Path = "data",
        *,
        normalize: str = "imagenet",
        augment: bool = True,
        **common: Unpack[Sized],
    ) -> None:
        settings: Sized = {"batch_size": 128, "train_eval_size": 10_000, **common}
        super().__init__(root, normalize=normalize, augment=augment, **settings)
        self.source = self.title
        self._original = torchvision_dataset(self.original)
        self.files = self.root / self._original.base_folder
        self.tree = self.root / self.stem
        self.archive = self.root / f"{self.stem}.tgz"

    def prepare_data(self) -> None:
        """Download the files if nothing is there; decode images, so that other processes find them in the cache."""
        if not any(self.holds(place) for place in (self.files, self.tree, self.archive)):
            fetch = partial(fetch_archive, self._original, sha256=self.sha256)
            download(self.root, self._original.base_folder, fetch)
        elif not self.holds(self.files):
            self._decoded  # noqa: B018

    def fingerprint(self) -> dict[str, Any]:
        """Return the name of the data, and of files that are not compared with the originals their fingerprint too.

        Raises:
            DatasetError: if a file cannot be read.
        """
        return {"name": self.title, **self._of_files}

    @cached_property
    def _of_files(self) -> dict[str, Any]:  # to look at 60,000 files takes more than a second
        if self.holds(self.files):
            return {}  # `read_batch` compares them
        if self.holds(self.tree):
            return fingerprint_images(self.tree, [file.place for file in list_tree_files(self.tree)])
        return fingerprint_images(self.root, [self.archive.name]) if self.holds(self.archive) else {}

    def training_names(self) -> list[str] | None:
        """Return class/file of each training image of a tree or archive; the original files name none."""
        if self.holds(self.files):
            return None
        files = list_tree_files(self.tree) if self.holds(self.tree) else list_archive_files(self.archive, self.stem)
        return [f"{file.label}/{file.name}" for file in files if file.split == "train"]

    def load(self) -> tuple[Split, Split]:
        """Read both splits from the first place that has them."""
        if self.holds(self.files):
            return self._read_original(train=True), self._read_original(train=False)
        arrays = self._decoded
        del self._decoded
        self.source = f"{self.title} ({', '.join(arrays['formats'])})"
        return build_splits(arrays)

    @cached_property
    def _decoded(self) -> Arrays:
        if self.holds(self.tree):
            return self._decode(tree_identity(self.tree), lambda: list_tree_files(self.tree), where=self.tree)
        if self.holds(self.archive):
            read = partial(list_archive_files, self.archive, self.stem)
            return self._decode(archive_identity(self.archive), read, where=self.archive)
        raise DatasetError(
            f"{self.root} has none of {self.files.name}, {self.tree.name}, {self.archive.name}; name the folder that "
            f"has one with root=PATH, or call prepare_data() to download"
        )

    def _decode(self, identity: object, list_files: Callable[[], list[ImageFile]], *, where: Path) -> Arrays:
        def build() -> Arrays:
            files = list_files()
            self._check_files(files, where)
            return decode_images(files, self.classes, where=where, size=32, resize=False)

        return cached(self.stem, (DECODING, identity), build)

    def _check_files(self, files: list[ImageFile], where: Path) -> None:
        mend = f"put a whole copy there, or delete {where} and start again to download"
        for split, n in self.counts.items():
            found = [file.label for file in files if file.split == split]
            if wrong := sorted(set(found) ^ set(self.classes)):
                raise DatasetError(f"{where}/{split} has classes missing or too many: {', '.join(wrong)}; {mend}")
            if len(found) != n:
                raise DatasetError(f"{where}/{split} has {len(found)} images, {self.title} has {n}; {mend}")

    def _read_original(self, *, train: bool) -> Split:
        files = self._original.train_list if train else self._original.test_list
        batches = [read_batch(self.files / name, md5=md5) for name, md5 in files]
        labels = torch.tensor([label for _, labels in batches for label in labels])
        return Split(torch.from_numpy(np.concatenate([pixels for pixels, _ in batches])), labels)


class Cifar100(Cifar10):
    """50,000 + 10,000 small photographs in a hundred classes: root/cifar-100-python, root/cifar100, root/cifar100.tgz.

    Args are those of `Cifar10`.

    Source: A. Krizhevsky, "Learning multiple layers of features from tiny images", 2009.
    """

    num_classes = 100
    statistics = Statistics((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762))
    title = "CIFAR-100"
    stem = "cifar100"
    original = "CIFAR100"
    sha256 = "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7"
    classes = tuple(_HUNDRED.split())


def fetch_archive(original: Any, folder: Path, *, sha256: str) -> None:
    """Download the archive, compare it with its sum, and take the files of the data out of it.

    The data set of torchvision says where the archive is and what lies in it; sha256 is that of the archive.

    Raises:
        OSError: if the archive cannot be had, or is not the original.
    """
    from torchvision.datasets.utils import download_url  # noqa: PLC0415 - as `torchvision_dataset`

    archive = folder / original.filename
    download_url(original.url, folder, original.filename)
    with archive.open("rb") as file:
        actual = hashlib.file_digest(file, "sha256").hexdigest()
    if actual != sha256:
        raise OSError(f"{original.filename} is not the original: its sha256 is {actual[:16]}..., not {sha256[:16]}...")
    names = [name for name, _ in (*original.train_list, *original.test_list)]
    unpack_files(archive, folder / original.base_folder, {*names, original.meta["filename"]})
    archive.unlink()


def unpack_files(archive: Path, folder: Path, names: Collection[str]) -> None:
    """Unpack files by their names from the folder of a .tar.gz that has the name of `folder`.

    Only their bytes are read: links, devices, paths that lead elsewhere and all other members are passed over.
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

    Returns:
        The pixels (n, 3, 32, 32), bytes, and the n labels.

    Raises:
        DatasetError: if the file is missing, is not the original, or holds anything else.
    """
    mend = f"delete {path.parent} and start again to download"
    try:
        content = read_file(path)
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
