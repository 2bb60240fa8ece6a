"""Any image classification data in class folders."""

from functools import cached_property
from pathlib import Path
from typing import Unpack

from noisereg.datasets.cache import Arrays, cached
from noisereg.datasets.error import DatasetError
from noisereg.datasets.image_files import decode, files_of_tree, subfolders, tree_identity
from noisereg.datasets.images import Images, Sized, channel_statistics, splits_of
from noisereg.datasets.in_memory import require_positive
from noisereg.datasets.split import Split


class ImageFolder(Images):
    """Images in root/{train,test}/<class>/*, decoded once to one size and kept in memory and in the cache.

    Classes are the sorted names of the folders in root/train. An image is scaled until it covers the square, and its
    centre is taken.

    Args:
        root: folder that holds train and test.
        image_size: height and width in memory, in pixels.
        normalize: see `Images`; the statistics of "standard" are measured on the training images.
        augment: see `Images`.
        common: see `InMemory`.

    Raises:
        DatasetError: if root/train or root/test is missing, or their classes differ.
    """

    def __init__(
        self,
        root: str | Path = "data",
        *,
        image_size: int = 64,
        normalize: str = "imagenet",
        augment: bool = False,
        **common: Unpack[Sized],
    ) -> None:
        require_positive(image_size=image_size)
        self.image_size, self.input_shape = image_size, (3, image_size, image_size)
        super().__init__(root, normalize=normalize, augment=augment, **common)
        self.classes = _classes(self.root)
        self.num_classes, self.source = len(self.classes), f"images of {self.root.resolve()}"

    def prepare_data(self) -> None:
        """Decode the images, so that they are in the cache before other processes ask for them."""
        self._decoded  # noqa: B018

    def load(self) -> tuple[Split, Split]:
        """Read both splits from the cache, or decode them."""
        train, test = splits_of(self._decoded)
        del self._decoded
        self.statistics = channel_statistics(train.inputs)
        return train, test

    @cached_property
    def _decoded(self) -> Arrays:
        identity = (tree_identity(self.root / "train"), tree_identity(self.root / "test"), self.image_size)
        return cached("image_folder", identity, self._decode)

    def _decode(self) -> Arrays:
        return decode(files_of_tree(self.root), self.classes, where=self.root, size=self.image_size, resize=True)


def _classes(root: Path) -> tuple[str, ...]:
    train, test = subfolders(root / "train"), subfolders(root / "test")
    if not train:
        raise DatasetError(f"{root}/train has no class folders; put root/train/<class>/<image> there")
    if wrong := sorted(set(train) ^ set(test)):
        raise DatasetError(f"{root}/train and {root}/test must have the same classes, differ in {', '.join(wrong)}")
    return tuple(train)
