"""The base of all data sets: whole in memory, on the training device, batches in a counter-based order."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar, TypedDict

import torch
from jaxtyping import Int64
from lightning import LightningDataModule
from torch import Tensor

from noisereg import rng
from noisereg.datasets.loader import BatchLoader, Transform
from noisereg.datasets.split import Split
from noisereg.errors import require_positive
from noisereg.noise import Samples
from noisereg.rng import Stream


class Common(TypedDict, total=False):
    """The keywords that every data set of a fixed size takes; `InMemory` says what they mean."""

    val_size: int
    train_eval_size: int | None
    batch_size: int
    eval_batch_size: int
    order: str
    seed: int


class InMemory(LightningDataModule, ABC):
    """A data set that is loaded once, moved once to the training device, and indexed there.

    A subclass sets `num_classes` and `input_shape` and defines `load`. One whose samples are fresh each epoch also
    defines `epoch_samples`. Subsets are drawn by sample from the stream SUBSET: a smaller one is part of a larger one,
    and the validation samples stay the same when `train_size` grows.

    Args:
        train_size: training samples kept, validation included; None for all.
        test_size: test samples kept; None for all.
        val_size: of the training samples kept, how many are set aside for validation.
        train_eval_size: how many training samples, evenly spread, are evaluated; None for all.
        batch_size: of training, over all processes together.
        eval_batch_size: of evaluation, over all processes together.
        order: "shuffle", or "replacement" for draws that do not depend on those before.
        seed: of the order, of the subsets and of synthetic samples.

    Attributes:
        splits: "train", "test" and, if asked for, "val", after `setup`.
        source: where the samples came from, in words, to be printed with results; by default the name of the class.
        train_transform: from stored inputs to those of a training batch, such as random crops of this seed; set by a
            subclass, at the latest in its `setup`. None for the inputs as they are.
        eval_transform: the same for batches of evaluation.

    Raises:
        ValueError: for a size that is no positive number, or larger than the data.

    Example:
        >>> class Corners(InMemory):
        ...     num_classes, input_shape = 2, (2,)
        ...     def load(self):
        ...         split = Split(torch.eye(2), torch.tensor([0, 1]))
        ...         return split, split
        >>> data = Corners(batch_size=2)
        >>> data.setup()
        >>> [sorted(batch["label"].tolist()) for batch in data.train_dataloader()]
        [[0, 1]]
    """

    source: str = ""
    num_classes: int
    input_shape: tuple[int, ...]
    fresh_each_epoch: ClassVar[bool] = False
    train_transform: Transform | None = None
    eval_transform: Transform | None = None

    def __init__(
        self,
        *,
        train_size: int | None = None,
        test_size: int | None = None,
        val_size: int = 0,
        train_eval_size: int | None = None,
        batch_size: int = 1,
        eval_batch_size: int = 1000,
        order: str = "shuffle",
        seed: int = 0,
    ) -> None:
        super().__init__()
        require_positive(batch_size=batch_size, eval_batch_size=eval_batch_size)
        given = {"train_size": train_size, "test_size": test_size, "train_eval_size": train_eval_size}
        require_positive(**{name: size for name, size in given.items() if size is not None})
        if order not in ("shuffle", "replacement"):
            raise ValueError(f"order must be shuffle or replacement, got {order}")
        if not 0 <= seed < 2**63:
            raise ValueError(f"seed must be in [0, 2**63), got {seed}")
        _check_val_size(val_size, train_size)
        self.train_size, self.test_size, self.val_size = train_size, test_size, val_size
        self.train_eval_size = train_eval_size
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.order, self.seed = order, seed
        self.source = self.source or type(self).__name__
        self.splits: dict[str, Split] = {}
        self._all_labels: Int64[Tensor, " n"] | None = None  # of all training samples
        self._train_rows: Int64[Tensor, " k"] | None = None  # which of them are trained on; None for all

    @abstractmethod
    def load(self) -> tuple[Split, Split]:
        """Read or make all training and test samples, on the CPU."""

    def fingerprint(self) -> dict[str, Any]:
        """Return what tells these data from others wherever they lie, as plain values; nothing if the arguments do.

        It can be asked for before `load`, and does not depend on the seed. A run goes on with the same data only, and a
        report puts runs of the same data together. Where it is empty, as here, data are the same if all arguments are,
        `root` included.
        """
        return {}

    def training_names(self) -> Sequence[str] | None:
        """Return the name of the file of each training sample that there is, such as cat/1.png; None if there are none.

        A name is the path below the folder of the training data; a sample that is not trained on has one too.
        """
        return None

    def training_samples(self) -> Samples:
        """Return all training samples that there are, and which of them are trained on; to be asked for after `setup`.

        Raises:
            ValueError: if each epoch has others, so that there is no sample to name.
        """
        if self.fresh_each_epoch or self._all_labels is None:
            raise ValueError(f"each epoch has other samples ({self.source}), so none has a label of its own")
        of_seed = f"{self.source} of seed {self.seed}" if self.depends_on_seed else self.source
        return Samples(self._all_labels, self._train_rows, names=self.training_names(), source=of_seed)

    def epoch_samples(self, epoch: int) -> Split:
        """Return the training samples of an epoch, on the training device: here the same ones every time."""
        return self.splits["train"]

    @cached_property
    def epoch_size(self) -> int:
        """The number of training samples of an epoch; to be asked for after `setup`."""
        return len(self.epoch_samples(0))

    def setup(self, stage: str = "fit") -> None:
        """Load the data if they are not, and move them to the trainer's device.

        Raises:
            ValueError: if `load` returns no two splits, a label is not in [0, num_classes), inputs are not finite, or
                a size is larger than the data.
        """
        if not self.splits:
            with rng.library_generator(self.seed):  # one that knows nothing of its seed draws from what libraries share
                loaded = self.load()
            self._check_loaded(loaded)
            self._all_labels = loaded[0].labels
            self.splits = self._divide_splits(*loaded)
        self.splits = {name: split.to(self.device) for name, split in self.splits.items()}

    @property
    def varies(self) -> bool:
        """Whether a training sample may have another input each time that it is drawn; known after `setup`."""
        return self.fresh_each_epoch or self.train_transform is not self.eval_transform

    @property
    def depends_on_seed(self) -> bool:
        """Whether another seed has other samples, and not only another order of them."""
        return True

    def drawn_samples(self, index: Int64[Tensor, " k"], draw: Int64[Tensor, " k"], *, seed: int) -> Split:
        """Return training samples as they are drawn under a seed, transformed for training.

        The seed is that of the data, unless `depends_on_seed` is false: such a subclass with a `train_transform` of its
        own defines this too.

        Raises:
            ValueError: if the transform may be that of another seed.
        """
        samples = self.splits["train"].select(index)
        if self.train_transform is None:
            return samples
        if seed != self.seed and self.train_transform is not self.eval_transform:
            raise ValueError(f"{type(self).__name__} must define drawn_samples, as its transform is that of one seed")
        return Split(self.train_transform(samples.inputs, draw=draw, index=index), samples.labels)

    @property
    def device(self) -> torch.device:
        """The trainer's device, or the CPU without a trainer."""
        return self.trainer.strategy.root_device if self.trainer else torch.device("cpu")

    @property
    def eval_splits(self) -> tuple[str, ...]:
        """Names of the loaders that `val_dataloader` returns, in their order."""
        return ("val", "test", "train") if self.val_size else ("test", "train")

    def train_dataloader(self) -> BatchLoader:
        """Return the loader of the training batches."""
        rank, world = self._rank_and_world()
        return BatchLoader(
            self.epoch_samples,
            self.batch_size,
            order="sequential" if self.fresh_each_epoch else self.order,
            seed=self.seed,
            transform=self.train_transform,
            rank=rank,
            world=world,
            even=True,
        )

    def val_dataloader(self) -> list[BatchLoader]:
        """Return a loader for each of `eval_splits`, of batches that are clean and not augmented."""
        return [self.eval_loader(name) for name in self.eval_splits]

    def eval_loader(self, name: str) -> BatchLoader:
        """Return the loader of the samples of a split that are evaluated."""
        return self._eval_loader(self.eval_samples(name))

    def whole_loader(self, name: str) -> BatchLoader:
        """Return a loader of all samples of a split, of batches that are clean and not augmented."""
        return self._eval_loader(self.splits[name])

    def test_dataloader(self) -> list[BatchLoader]:
        """Return the loaders of `val_dataloader`."""
        return self.val_dataloader()

    def eval_samples(self, name: str) -> Split:
        """Return the samples of a split that are evaluated."""
        index = self.eval_index(name)
        return self.splits[name] if index is None else self.splits[name].select(index)

    def eval_index(self, name: str) -> Int64[Tensor, " k"] | None:
        """Return the rows of a split that are evaluated, evenly spread; None for all."""
        k = self.train_eval_size if name == "train" else None
        return _spread(len(self.splits[name]), k)

    def spread_loader(self, name: str, num_samples: int) -> BatchLoader:
        """Return a loader of at most so many samples of a split, evenly spread, that are clean and not augmented."""
        split = self.eval_samples(name)
        index = _spread(len(split), num_samples)
        return self._eval_loader(split if index is None else split.select(index))

    def _eval_loader(self, split: Split) -> BatchLoader:
        rank, world = self._rank_and_world()
        size, transform = self.eval_batch_size, self.eval_transform
        return BatchLoader(split, size, order="sequential", transform=transform, rank=rank, world=world)

    def _check_loaded(self, loaded: Any) -> None:
        """Raise ValueError for what a data set of the user's own has loaded, if it is not what the class says."""
        require_positive(at_least=2, num_classes=getattr(self, "num_classes", None))
        parts = loaded if isinstance(loaded, tuple | list) else [loaded]
        if len(parts) != 2 or not all(isinstance(part, Split) for part in parts):
            found = ", ".join(type(part).__name__ for part in parts)
            raise ValueError(f"{type(self).__name__}.load must return two splits, train and test, got {found}")
        if not all(map(len, parts)):
            sizes = " and ".join(str(len(part)) for part in parts)
            raise ValueError(f"{type(self).__name__}.load must return samples to train and to test on, got {sizes}")
        for split in parts:
            split.check_labels(self.num_classes)
            split.check_inputs()

    def _divide_splits(self, train: Split, test: Split) -> dict[str, Split]:
        kept = self._choose_subset("train_size", self.train_size, n=len(train), step=0)
        _check_val_size(self.val_size, len(kept))
        rows = kept[self.val_size :]
        self._train_rows = None if len(rows) == len(train) else rows.sort().values
        splits = {
            "train": _select_sorted(train, rows),
            "test": _select_sorted(test, self._choose_subset("test_size", self.test_size, n=len(test), step=1)),
        }
        return splits | ({"val": _select_sorted(train, kept[: self.val_size])} if self.val_size else {})

    def _choose_subset(self, key: str, size: int | None, *, n: int, step: int) -> Int64[Tensor, " size"]:
        if size is not None and size > n:
            raise ValueError(f"{key} must be at most {n}, all that {type(self).__name__} has, got {size}")
        return rng.permutation(self.seed, Stream.SUBSET, step, n)[:size]

    def _rank_and_world(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)


def _check_val_size(val_size: int, train_size: int | None) -> None:
    if val_size < 0 or (train_size is not None and val_size >= train_size):
        most = "" if train_size is None else f" and below train_size={train_size}, from which it is taken"
        raise ValueError(f"val_size must be at least 0{most}, got {val_size}")


def _select_sorted(split: Split, indices: Int64[Tensor, " k"]) -> Split:
    return split if len(indices) == len(split) else split.select(indices.sort().values)


def _spread(n: int, k: int | None) -> Int64[Tensor, " k"] | None:
    """Return k of the numbers below n at even distances; None for all, if there are not more."""
    return None if k is None or k >= n else torch.arange(k) * n // k
