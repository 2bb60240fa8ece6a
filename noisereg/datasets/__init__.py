"""Data sets, in memory on the training device or streamed from disk, that give batches in a counter-based order."""

from noisereg.datasets.augment import crop_flip
from noisereg.datasets.characters import Characters
from noisereg.datasets.cifar import Cifar10, Cifar100
from noisereg.datasets.gaussian import Gaussian
from noisereg.datasets.hypercube import Hypercube
from noisereg.datasets.image_folder import ImageFolder
from noisereg.datasets.in_memory import InMemory
from noisereg.datasets.loader import BatchLoader, check_shares, epoch_order
from noisereg.datasets.mnist import FashionMnist, Mnist
from noisereg.datasets.parity import Parity
from noisereg.datasets.resized_crop import resized_crop
from noisereg.datasets.split import Split
from noisereg.datasets.standard_basis import StandardBasis
from noisereg.datasets.streamed import Pictures, StreamLoader
from noisereg.errors import DatasetError

__all__ = [
    "BatchLoader",
    "Characters",
    "Cifar10",
    "Cifar100",
    "DatasetError",
    "FashionMnist",
    "Gaussian",
    "Hypercube",
    "ImageFolder",
    "InMemory",
    "Mnist",
    "Parity",
    "Pictures",
    "Split",
    "StandardBasis",
    "StreamLoader",
    "check_shares",
    "crop_flip",
    "epoch_order",
    "resized_crop",
]
