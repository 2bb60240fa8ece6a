"""The base of image data sets: bytes in memory, floats in batches."""

from abc import abstractmethod
from pathlib import Path
from typing import NamedTuple, Unpack

import torch
from jaxtyping import Float32, Int64, UInt8
from torch import Tensor

from noisereg.datasets.augment import crop_flip
from noisereg.datasets.in_memory import Common, InMemory
from noisereg.datasets.split import Split
from noisereg.errors import DatasetError
from noisereg.files.cache import Arrays


class Sized(Common, total=False):
    """`Common` for data of which a part may be kept."""

    train_size: int | None
    test_size: int | None


class Statistics(NamedTuple):
    """Mean and standard deviation of each channel, for pixels scaled to [0, 1]."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


IMAGENET = Statistics((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
NORMALIZATIONS = ("unit", "standard", "imagenet")


class Images(InMemory):
    """Images kept as bytes and turned to floats, and augmented, a batch at a time.

    Args:
        root: folder of the data; what it holds is said by each data set.
        normalize: "unit" scales pixels to [0, 1]; "standard" then takes off the data set's mean and divides by its
            standard deviation, channel by channel, where a channel that is constant becomes 0; "imagenet" does so with
            those of ImageNet.
        augment: whether training images are cropped at random (4 pixels of zeros around) and flipped left to right.
        common: see `InMemory`.

    Attributes:
        source: where the pixels came from, to be printed with results.

    Raises:
        ValueError: for a normalisation that is unknown, or does not fit the number of channels, and for an `augment`
            that is neither True nor False.
    """

    source: str
    statistics: Statistics

    def __init__(self, root: str | Path, *, normalize: str, augment: bool, **common: Unpack[Sized]) -> None:
        if normalize not in NORMALIZATIONS:
            raise ValueError(f"normalize must be one of {', '.join(NORMALIZATIONS)}, got {normalize}")
        if not isinstance(augment, bool):
            raise ValueError(f"augment must be True or False, got {augment}")
        super().__init__(**common)
        self.root, self.normalize, self.augment = Path(root), normalize, augment
        if normalize == "imagenet" and self.input_shape[0] != len(IMAGENET.mean):
            raise ValueError(f"normalize=imagenet needs 3 channels, {type(self).__name__} has 1; use standard")

    def holds(self, path: Path) -> bool:
        """Return whether the root holds a path.

        Raises:
            DatasetError: if the root may not be read.
        """
        try:
            return path.exists()
        except OSError as error:
            raise DatasetError(
                f"{path} cannot be read ({error.strerror}); name a folder that can be with root=PATH"
            ) from error

    @property
    def varies(self) -> bool:
        """Whether a training image is augmented each time that it is drawn."""
        return self.augment

    @property
    def depends_on_seed(self) -> bool:
        """Whether another seed keeps other images."""
        return self.train_size is not None or self.test_size is not None or self.val_size > 0

    @abstractmethod
    def load(self) -> tuple[Split, Split]:
        """Read all training and test images, as bytes."""

    def setup(self, stage: str = "fit") -> None:
        """Load the images if they are not, and move them to the trainer's device."""
        super().setup(stage)
        known = {"unit": None, "standard": getattr(self, "statistics", None), "imagenet": IMAGENET}
        normalize = Normalize(known[self.normalize], self.input_shape, device=self.device)
        self.eval_transform = normalize
        self.train_transform = CropFlip(normalize, seed=self.seed) if self.augment else normalize

    def drawn_samples(self, index: Int64[Tensor, " k"], draw: Int64[Tensor, " k"], *, seed: int) -> Split:
        """Return training images as they are drawn under a seed, augmented if that is asked for."""
        if not isinstance(self.train_transform, CropFlip):
            return super().drawn_samples(index, draw, seed=seed)
        samples = self.splits["train"].select(index)
        augment = CropFlip(self.train_transform.normalize, seed=seed)
        return Split(augment(samples.inputs, draw=draw, index=index), samples.labels)


class Normalize:
    """Turn bytes to floats: x / 255, and then (x - mean) / std if there are statistics.

    A standard deviation of 0 counts as 1: a channel that is constant in training becomes 0 and says nothing, and one
    that is not so in the test images stays finite. Nothing else would be of use, and a blue channel that is always
    dark is no fault of the data.

    Example:
        >>> unit = Normalize(None, (1, 1, 2))
        >>> unit(torch.tensor([[[[0, 255]]]], dtype=torch.uint8))
        tensor([[[[0., 1.]]]])
    """

    def __init__(
        self, statistics: Statistics | None, shape: tuple[int, ...], *, device: torch.device | str = "cpu"
    ) -> None:
        mean, std = statistics or Statistics((0.0,) * shape[0], (1.0,) * shape[0])
        self.shift = _per_pixel(mean, shape).to(device) if statistics else None
        self.scale = _per_pixel(tuple(channel or 1.0 for channel in std), shape).to(device)

    def __call__(
        self,
        inputs: UInt8[Tensor, "batch c h w"],
        *,
        draw: Int64[Tensor, " batch"] | None = None,
        index: Int64[Tensor, " batch"] | None = None,
    ) -> Float32[Tensor, "batch c h w"]:
        """Compute the floats; `draw` and `index` play no part."""
        floats = inputs.float()
        return (floats if self.shift is None else floats.sub_(self.shift)).div_(self.scale)


class CropFlip:
    """Crop and flip training images, each as its draw and index say, and normalise them."""

    def __init__(self, normalize: Normalize, *, seed: int) -> None:
        self.normalize, self.seed = normalize, seed

    def __call__(
        self,
        inputs: UInt8[Tensor, "batch c h w"],
        *,
        draw: Int64[Tensor, " batch"],
        index: Int64[Tensor, " batch"],
    ) -> Float32[Tensor, "batch c h w"]:
        """Return the batch cropped, flipped and normalised."""
        return self.normalize(crop_flip(inputs, seed=self.seed, draw=draw, index=index))


def channel_statistics(images: UInt8[Tensor, "n c h w"]) -> Statistics:
    """Measure mean and standard deviation of each channel.

    Example:
        >>> channel_statistics(torch.tensor([[[[0, 255]]]], dtype=torch.uint8))
        Statistics(mean=(0.5,), std=(0.5,))
    """
    counts = torch.stack([torch.bincount(channel.flatten(), minlength=256) for channel in images.unbind(1)]).double()
    values = torch.arange(256, device=images.device).double() / 255
    shares = counts / counts.sum(dim=1, keepdim=True)
    mean = shares @ values
    std = (shares @ values**2 - mean**2).sqrt()  # exactly 0 where a channel is constant: its one share is 1
    return Statistics(tuple(mean.tolist()), tuple(std.tolist()))


def build_splits(arrays: Arrays) -> tuple[Split, Split]:
    """Build splits of (n, c, h, w), in channels-last memory, of decoded images, (n, h, w, c)."""

    def split(name: str) -> Split:
        pixels = torch.from_numpy(arrays[f"{name}_images"])
        return Split(pixels.permute(0, 3, 1, 2), torch.from_numpy(arrays[f"{name}_labels"]))

    return split("train"), split("test")


def _per_pixel(channels: tuple[float, ...], shape: tuple[int, ...]) -> Float32[Tensor, "1 c h w"]:
    """Return them for every pixel, in channels-last memory: one pass over whole images is five times as quick."""
    spread = (255 * torch.tensor(channels).double()).float()[None, :, None, None].expand(1, *shape)
    return spread.contiguous(memory_format=torch.channels_last)
