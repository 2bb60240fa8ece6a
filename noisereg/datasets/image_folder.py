"""Any image classification data in class folders, in memory or streamed from disk."""

import math
import os
import re
import weakref
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import torch

from noisereg.datasets.image_files import (
    DECODING,
    EXTENSIONS,
    SPLITS,
    FileList,
    decode_images,
    describe_left_out,
    fingerprint_images,
    list_subfolders,
    list_tree,
    tree_identity,
)
from noisereg.datasets.images import Images, Sized, build_splits, channel_statistics
from noisereg.datasets.loader import BatchLoader
from noisereg.datasets.split import Split
from noisereg.datasets.streamed import Pictures, StreamLoader
from noisereg.errors import DatasetError, require_positive
from noisereg.files.cache import Arrays, cached

RESIZED_CROP = "resized_crop"
_MOST_BYTES = 4 << 30  # of memory, which may be that of a GPU, or be shared with other processes of the run
_MOST_NAMED = 5  # of classes in an error, and of folders
_MOST_COUNTED = 100  # of classes in a fingerprint, which every record and checkpoint holds
_NO_STATISTICS = "normalize=standard needs all images in memory; set normalize=imagenet, or stream=False"


class ImageFolder(Images):
    """Images in root/{train,test}/<class>/*: small data decoded once into memory, large data read batch by batch.

    Classes are the sorted names of the folders in root/train. An image is turned upright as its EXIF orientation says,
    scaled until it covers the square, and its centre is taken. Gray levels of 16 bits are scaled by their whole range;
    pixels of 32 bits, signed ones and floats are refused, as nothing says which of them is white. What is transparent
    keeps its colour. Both ways give the same batches, bit for bit. Files that are not read as images (by their suffix,
    hidden, or not directly in the folder of a class) are counted in `source`, and other folders of root named there.

    Args:
        root: folder that holds train and test.
        image_size: height and width of the decoded images, in pixels.
        normalize: see `Images`; the statistics of "standard" are measured on the training images, in memory.
        augment: see `Images`; or "resized_crop", for photos larger than `image_size`: a random part of each training
            image, 8 to 100 % of its area, scaled to the square and flipped at random, as `resized_crop` has it.
        stream: True to read images from disk as they are needed; False to decode all of them at the start, once, and
            keep them in memory and in the cache; "auto" to stream what would take more than 4 GiB, or more than a
            quarter of the memory that is free, and what is augmented by resized crops.
        workers: processes that read streamed images, for training and as many for an evaluation; 0 to read in the
            training process.
        common: see `InMemory`. In a stream, `splits` hold the number of each file in place of its pixels.

    Attributes:
        streamed: whether the images are streamed.

    Raises:
        ValueError: for an option that is unknown, or cannot be had the way that `stream` says.
        DatasetError: if root/train or root/test is missing, their classes differ or are fewer than two; from `setup`
            on if a class has no images, or one cannot be read.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as root:
        ...     for place in ("train/ant", "train/bee", "test/ant", "test/bee"):
        ...         Path(root, place).mkdir(parents=True)
        ...         Image.new("RGB", (8, 6), "white").save(f"{root}/{place}/1.png")
        ...     data = ImageFolder(root, image_size=4, stream=True, batch_size=2)
        ...     data.setup()
        ...     data.classes, [batch["input"].shape for batch in data.train_dataloader()]
        (('ant', 'bee'), [torch.Size([2, 3, 4, 4])])
    """

    def __init__(
        self,
        root: str | Path = "data",
        *,
        image_size: int = 64,
        normalize: str = "imagenet",
        augment: bool | str = False,
        stream: bool | str = "auto",
        workers: int = 0,
        **common: Unpack[Sized],
    ) -> None:
        require_positive(image_size=image_size)
        _check_options(augment=augment, stream=stream, normalize=normalize, workers=workers)
        self.image_size, self.input_shape = image_size, (3, image_size, image_size)
        super().__init__(root, normalize=normalize, augment=augment is True, **common)
        self.resized_crop, self.workers, self._stream = augment == RESIZED_CROP, workers, stream
        self.classes = _find_classes(self.root)
        self.num_classes, self.source = len(self.classes), f"images of {self.root.resolve()}"
        self._loaders: weakref.WeakSet[StreamLoader] = weakref.WeakSet()

    @cached_property
    def streamed(self) -> bool:
        """Whether the images are read from disk as they are needed."""
        if self._stream != "auto":
            return bool(self._stream)
        return self.resized_crop or self._decoded_bytes > memory_limit()

    @property
    def varies(self) -> bool:
        """Whether a training image is augmented each time that it is drawn."""
        return self.augment or self.resized_crop

    def prepare_data(self) -> None:
        """Decode images that are kept in memory, so that they are in the cache before other processes ask for them."""
        if not self.streamed:
            self._decoded  # noqa: B018

    def fingerprint(self) -> dict[str, Any]:
        """Return how many images there are of each class, and a fingerprint of the files.

        Raises:
            DatasetError: if a class has no images, or a file cannot be read.
        """
        labels, num_train = self._files.labels, self._files.num_train
        counts = dict(zip(self.classes, np.bincount(labels, minlength=self.num_classes).tolist(), strict=True))
        return {
            "train_images": num_train,
            "test_images": len(labels) - num_train,
            "classes": counts if len(counts) <= _MOST_COUNTED else len(counts),
            **fingerprint_images(self.root, self._files.names.tolist()),
        }

    def training_names(self) -> list[str]:
        """Return class/file of each training image, in the order of their numbers."""
        names = self._files.names[: self._files.num_train].tolist()
        return [os.fsdecode(name).removeprefix("train/") for name in names]

    def load(self) -> tuple[Split, Split]:
        """Read both splits from the cache, or decode them; of streamed images, number the files."""
        if self._files.left_out:
            self.source += f", {describe_left_out(self._files.left_out)}"
        if others := _find_other_folders(self.root):
            self.source += f", {_name_some(others)} beside {' and '.join(SPLITS)} not read"
        if self.streamed:
            self.source += f", streamed from disk ({self._decoded_bytes / 1e9:.3g} GB decoded)"
            n, k = len(self._files.labels), self._files.num_train
            everything = Split(torch.arange(n), torch.from_numpy(self._files.labels))
            return everything.select(torch.arange(k)), everything.select(torch.arange(k, n))
        train, test = build_splits(self._decoded)
        del self._decoded
        self.statistics = channel_statistics(train.inputs)
        return train, test

    def setup(self, stage: str = "fit") -> None:
        """Load the images, or list their files, if that is not done; move what is in memory to the trainer's device.

        Raises:
            ValueError: if "standard" normalisation is asked for and the images are too large for memory.
            DatasetError: if images in memory do not decode; streamed ones say so when they are read.
        """
        if self.streamed and self.normalize == "standard":
            raise ValueError(_NO_STATISTICS)
        super().setup(stage)

    def train_dataloader(self) -> BatchLoader:
        """Return the loader of the training batches."""
        if not self.streamed:
            return super().train_dataloader()
        return self._open_loader(
            self.splits["train"],
            self.batch_size,
            crop_seed=self.seed if self.resized_crop else None,
            keep=True,
            order=self.order,
            seed=self.seed,
            transform=self.train_transform,
            even=True,
        )

    def teardown(self, stage: str) -> None:
        """End the worker processes."""
        for loader in list(self._loaders):
            loader.close()

    def on_exception(self, exception: BaseException) -> None:
        """End the worker processes of a run that fails or is stopped."""
        self.teardown("fit")

    def _eval_loader(self, split: Split) -> BatchLoader:
        if not self.streamed:
            return super()._eval_loader(split)
        return self._open_loader(split, self.eval_batch_size, order="sequential", transform=self.eval_transform)

    def _open_loader(
        self, split: Split, batch_size: int, *, crop_seed: int | None = None, **settings: Any
    ) -> StreamLoader:
        rank, world = self._rank_and_world()
        pictures = Pictures(self.root, self._files.names, size=self.image_size, crop_seed=crop_seed)
        loader = StreamLoader(
            split, batch_size, pictures=pictures, workers=self.workers, rank=rank, world=world, **settings
        )
        self._loaders.add(loader)
        return loader

    @cached_property
    def _files(self) -> FileList:
        files = list_tree(self.root, self.classes)
        _check_classes_have_images(files, self.classes, self.root)
        return files

    @property
    def _decoded_bytes(self) -> int:
        return len(self._files.names) * math.prod(self.input_shape)

    @cached_property
    def _decoded(self) -> Arrays:
        trees = (tree_identity(self.root / split) for split in SPLITS)

        def build() -> Arrays:
            files = self._files.image_files(self.root)
            return decode_images(files, self.classes, where=self.root, size=self.image_size, resize=True)

        return cached("image_folder", (DECODING, *trees, self.image_size), build)


def memory_limit() -> int:
    """Return how many bytes of decoded images are kept in memory unless something else is asked for.

    They are 4 GiB, or a quarter of the memory that is free where the system tells (Linux does), if that is less.

    Example:
        >>> 0 < memory_limit() <= 2**32
        True
    """
    try:
        free = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text())
    except OSError:
        free = None
    return min(_MOST_BYTES, int(free[1]) * 1024 // 4) if free else _MOST_BYTES


def _check_options(*, augment: bool | str, stream: bool | str, normalize: str, workers: int) -> None:
    if not isinstance(augment, bool) and augment != RESIZED_CROP:
        raise ValueError(f"augment must be True, False or {RESIZED_CROP}, got {augment}")
    if not isinstance(stream, bool) and stream != "auto":
        raise ValueError(f"stream must be True, False or auto, got {stream}")
    if workers < 0:
        raise ValueError(f"workers must be at least 0, got {workers}")
    if augment == RESIZED_CROP and stream is False:
        raise ValueError(f"augment={RESIZED_CROP} takes parts of whole photos; set stream=True")
    if normalize == "standard" and stream is True:
        raise ValueError(_NO_STATISTICS)


def _find_classes(root: Path) -> tuple[str, ...]:
    train, test = list_subfolders(root / "train"), list_subfolders(root / "test")
    if not train:
        raise DatasetError(f"{root}/train has no class folders; put root/train/<class>/<image> there")
    if wrong := sorted(set(train) ^ set(test)):
        raise DatasetError(f"{root}/train and {root}/test must have the same classes, differ in {', '.join(wrong)}")
    if len(train) < 2:
        raise DatasetError(f"root={root} has one class, {train[0]}, and at least 2 are needed; add root/train/<class>")
    return tuple(train)


def _find_other_folders(root: Path) -> list[str]:
    """List the folders in root that nothing is read from, such as one of validation images."""
    try:
        folders = [path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")]
    except OSError:  # it may be entered and not listed
        return []
    return sorted(name for name in folders if name not in SPLITS)


def _name_some(names: Sequence[str]) -> str:
    return ", ".join(names[:_MOST_NAMED]) + f" and {len(names) - _MOST_NAMED} more" * (len(names) > _MOST_NAMED)


def _check_classes_have_images(files: FileList, classes: tuple[str, ...], root: Path) -> None:
    empty = [
        f"{split}/{classes[label]}"
        for split, labels in zip(SPLITS, np.split(files.labels, [files.num_train]), strict=True)
        for label in np.flatnonzero(np.bincount(labels, minlength=len(classes)) == 0)
    ]
    if empty:
        named = _name_some(empty)
        found = f"; {describe_left_out(files.left_out)}" if files.left_out else ""
        raise DatasetError(
            f"root={root} has no images in {named}{found}; put some of {', '.join(EXTENSIONS)} there, "
            f"or remove these classes from {' and '.join(SPLITS)}"
        )
