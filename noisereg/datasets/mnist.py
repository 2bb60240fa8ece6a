"""MNIST and Fashion-MNIST, read from the raw files that torchvision keeps."""

from pathlib import Path
from typing import Any, ClassVar, Unpack

from jaxtyping import UInt8
from torch import Tensor

from noisereg.datasets.download import download, torchvision_dataset
from noisereg.datasets.idx import read_idx
from noisereg.datasets.image_files import fingerprint_images
from noisereg.datasets.images import Images, Sized, Statistics
from noisereg.datasets.split import Split
from noisereg.errors import DatasetError


class Mnist(Images):
    """60,000 + 10,000 handwritten digits of 28 x 28 pixels: root/MNIST/raw, as torchvision has it.

    What is not there is downloaded. Every file is compared with the sum of the original before use.

    Args:
        root: folder that holds MNIST/raw.
        normalize: see `Images`; the paper's inputs are non-negative, "unit".
        augment: see `Images`; mind that it mirrors digits.
        common: see `InMemory`.

    Raises:
        DatasetError: from `setup`, if the folder is not there or a file is not the original.

    Example:
        >>> data = Mnist("data", train_size=1000, batch_size=128)  # setup reads, and prepare_data downloads
        >>> data.input_shape, data.num_classes
        ((1, 28, 28), 10)

    Source: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document recognition", 1998.
    """

    num_classes = 10
    input_shape = (1, 28, 28)
    source = "MNIST"
    statistics = Statistics((0.1307,), (0.3081,))
    folder: ClassVar[str] = "MNIST/raw"
    original: ClassVar[str] = "MNIST"  # among the data sets of torchvision
    counts: ClassVar[dict[str, int]] = {"train": 60_000, "t10k": 10_000}
    checksums: ClassVar[dict[str, str]] = {
        "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    }

    def __init__(
        self, root: str | Path = "data", *, normalize: str = "unit", augment: bool = False, **common: Unpack[Sized]
    ) -> None:
        super().__init__(root, normalize=normalize, augment=augment, **common)

    def prepare_data(self) -> None:
        """Download the files if their folder is not there."""
        if not self.holds(self.root / self.folder):
            original = torchvision_dataset(self.original)
            download(self.root, self.folder, lambda folder: original(folder, download=True))

    def fingerprint(self) -> dict[str, Any]:
        """Return the name of the data, whose files are compared with the originals, or else their fingerprint too.

        Raises:
            DatasetError: if a file is needed and cannot be read.
        """
        names = [f"{part}-{kind}-ubyte" for part in self.counts for kind in ("images-idx3", "labels-idx1")]
        unknown = [name for name in names if name not in self.checksums]
        return {"name": self.source, **(fingerprint_images(self._existing_folder(), unknown) if unknown else {})}

    def load(self) -> tuple[Split, Split]:
        """Read and verify the four files."""
        self._existing_folder()
        return self._read("train"), self._read("t10k")

    def _existing_folder(self) -> Path:
        folder = self.root / self.folder
        if not self.holds(folder):
            raise DatasetError(
                f"{folder} does not exist; name the folder that holds it with root=PATH, "
                f"or call prepare_data() to download"
            )
        return folder

    def _read(self, part: str) -> Split:
        images = self._read_file(f"{part}-images-idx3-ubyte")
        labels = self._read_file(f"{part}-labels-idx1-ubyte")
        n = self.counts[part]
        if images.shape != (n, *self.input_shape[1:]) or labels.shape != (n,) or labels.max() >= self.num_classes:
            folder = self.root / self.folder
            raise DatasetError(
                f"{folder}/{part}-* are not {n} images of 28x28 pixels with labels 0 to 9; "
                f"delete {folder} and start again to download"
            )
        return Split(images[:, None], labels.long())

    def _read_file(self, name: str) -> UInt8[Tensor, "..."]:
        return read_idx(self.root / self.folder / name, sha256=self.checksums.get(name))


class FashionMnist(Mnist):
    """60,000 + 10,000 pieces of clothing in the format of MNIST: root/FashionMNIST/raw, as torchvision has it.

    Header and length of each file are checked before use, its sum when it is downloaded.

    Args are those of `Mnist`.

    Source: H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST: a novel image dataset", 2017.
    """

    source = "Fashion-MNIST"
    statistics = Statistics((0.2860,), (0.3530,))
    folder: ClassVar[str] = "FashionMNIST/raw"
    original: ClassVar[str] = "FashionMNIST"
    checksums: ClassVar[dict[str, str]] = {}
