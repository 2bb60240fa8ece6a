"""The data of many replicas at once: chunks of draws to train on, and splits to measure on."""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from lightning import LightningDataModule
from torch import Tensor

from noisereg.datasets.in_memory import InMemory
from noisereg.datasets.loader import epoch_orders
from noisereg.datasets.split import Split
from noisereg.engine.chunks import ChunkLoader, Timeline
from noisereg.files.aside import SetAside

_CHUNK_BYTES = 2**26  # of inputs that are made for one chunk alone
_KEPT_BYTES = 2**26  # of the data of several seeds; of what goes beyond, the evaluated samples are kept on disk
_FEW = 10  # samples that tell what the others are like
_ROWS_AT_ONCE = 512  # what is made of these stays in a core's cache


class ReplicaData(LightningDataModule):
    """The data of R replicas, each with the samples and the order that its seed alone would give it.

    Replicas of one seed share both, so two that differ in p alone can be compared in pairs.

    Args:
        make: makes the data set of a seed, set up on the CPU.
        seeds: of each replica, (R,).
        timeline: how long to train, and how often to stop for a measurement.
        prepare: from the inputs of samples to what the engine takes, such as rows of features.
        crosses_epochs: whether a chunk may go through the end of an epoch.
        chunked_as: seeds of the replicas that a chunk is as long for as if it were theirs, as the sums over a chunk are
            rounded: those of a run that these replicas are a part of. None for `seeds`.

    Attributes:
        num_classes: of the data.
        source: where the samples came from, in words.

    Example:
        >>> from noisereg.datasets import Hypercube
        >>> def make(seed):
        ...     data = Hypercube(d=3, train_size=4, test_size=2, seed=seed)
        ...     data.setup()
        ...     return data
        >>> data = ReplicaData(make, [0, 0, 1], Timeline(num_epochs=2, every_n_epochs=1, n=4), prepare=lambda x: x)
        >>> [chunk["label"].shape for chunk in data.train_dataloader()]
        [torch.Size([3, 4])]
    """

    def __init__(
        self,
        make: Callable[[int], InMemory],
        seeds: Sequence[int],
        timeline: Timeline,
        *,
        prepare: Callable[[Tensor], Float[Tensor, "n *features"]],
        crosses_epochs: bool = True,
        chunked_as: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        first = make(seeds[0])
        self._chunked_as = list(chunked_as or seeds)
        self.num_classes, self.source = first.num_classes, first.source
        self._timeline, self._prepare, self._crosses_epochs = timeline, prepare, crosses_epochs
        self._is_fresh = first.fresh_each_epoch
        self._order = "sequential" if self._is_fresh else first.order
        self._varies = first.varies
        self._distinct = list(dict.fromkeys(seeds))
        places = {seed: place for place, seed in enumerate(self._distinct)}
        self._slot = torch.tensor([places[seed] for seed in seeds])
        self._makers = self._distinct if first.depends_on_seed else self._distinct[:1]
        self._eval_splits, self._eval_index = first.eval_splits, first.eval_index("train")
        size = sum(split.inputs.nbytes for split in first.splits.values()) * len(self._makers)
        self._sets_aside = size > _KEPT_BYTES and len(self._makers) > 1
        self._aside: SetAside | None = None
        keep = 1 if self._sets_aside else None  # groups take turns: of a few that are kept none would be asked for
        self._data = lru_cache(keep)(lambda group: make(self._makers[group]))
        self._evaluated = lru_cache(keep)(self._prepare_splits)
        self._pool: Split | None = None
        self._last_order: tuple[int, Tensor, Tensor] | None = None

    def data_of(self, replica: int) -> InMemory:
        """Return the data set of a replica."""
        return self._data(self._group_of(replica))

    def _group_of(self, replica: int) -> int:
        """Return which of the data sets a replica has."""
        return int(self._slot[replica]) if len(self._makers) > 1 else 0

    def train_dataloader(self) -> ChunkLoader:
        """Return the loader of the chunks of draws."""
        width = None
        if self._varies:
            one = torch.zeros(1, dtype=torch.int64)
            sample = self._prepare(self._data(0).drawn_samples(one, one, seed=self._distinct[0]).inputs)
            width = max(1, _CHUNK_BYTES // (sample.nbytes * len({*self._chunked_as})))
        return ChunkLoader(
            self.chunk,
            self._timeline,
            replicas=len(self._chunked_as),
            width=width,
            crosses_epochs=self._crosses_epochs,
        )

    def groups(self) -> Iterator[tuple[list[int], dict[str, Split]]]:
        """Yield the replicas that share their data, and the splits to measure them on, with prepared inputs."""
        group_of = self._slot if len(self._makers) > 1 else torch.zeros_like(self._slot)
        for group in range(len(self._makers)):
            yield (group_of == group).nonzero().flatten().tolist(), self._evaluated(group)

    @property
    def has_given_labels(self) -> bool:
        """Whether a training sample is trained on more than once, so that it may have a label that stays."""
        return not self._is_fresh

    def evaluated_training(self, replica: int) -> tuple[Int64[Tensor, " n"], Int64[Tensor, " n"]]:
        """Return the clean labels and the indices of the training samples that a replica is measured on."""
        n = self._timeline.n
        index = torch.arange(n) if self._eval_index is None else self._eval_index
        if self._varies:
            labels = self.data_of(replica).splits["train"].labels
        else:
            labels = self._all_training().labels[self._rows_of(self._group_of(replica))]
        index = index.to(labels.device)
        return labels[index].to(self._device), index.to(self._device)

    def first_rows(self) -> Float[Tensor, "n *features"]:
        """Return the prepared inputs of a few training samples, which tell whether inputs are mostly zero."""
        data = self._data(0)
        few = data.splits["train"].select(torch.arange(min(_FEW, len(data.splits["train"]))))
        return self.rows(data, few)[0]

    def rows(self, data: InMemory, split: Split) -> tuple[Float[Tensor, "n *features"], Int64[Tensor, " n"]]:
        """Return the prepared inputs of a split and its labels, made a part at a time.

        Args:
            data: that the split is of.
            split: some of its samples.
        """
        transform, rows = data.eval_transform, torch.empty(0)
        for first in range(0, len(split), _ROWS_AT_ONCE):
            part = split.inputs[first : first + _ROWS_AT_ONCE]
            place = torch.arange(len(part))
            made = self._prepare(part if transform is None else transform(part, draw=place, index=place))
            if first == 0:  # by numpy, which asks the system for huge pages
                rows = torch.from_numpy(np.empty((len(split), *made.shape[1:]), made.numpy().dtype))
            rows[first : first + len(part)] = made
        return rows, split.labels

    def chunk(self, first: int, stop: int) -> dict[str, Tensor]:
        """Return the draws from `first` to `stop` - 1, counted over all epochs."""
        n = self._timeline.n
        epochs = torch.arange(first // n, (stop - 1) // n + 1)
        index, draw = self._order_epochs(epochs)
        cut = slice(first - int(epochs[0]) * n, stop - int(epochs[0]) * n)
        index, draw, epoch = index[:, cut], draw[cut], epochs.repeat_interleave(n)[cut]
        make_rows = self._fresh_rows if self._varies else self._pooled_rows
        samples, rows = make_rows(index, draw, epochs=epochs, cut=cut)
        of_seeds = {"row": rows, "index": index, "label": samples.labels[rows.to(self._device)]}
        there = {key: self._of_replicas(value.to(self._device)) for key, value in of_seeds.items()}
        return {"input": samples.inputs, "draw": draw.to(self._device), "epoch": epoch.to(self._device), **there}

    def _order_epochs(
        self, epochs: Int64[Tensor, " epochs"]
    ) -> tuple[Int64[Tensor, "runs draws"], Int64[Tensor, " draws"]]:
        """Return `epoch_orders` of all seeds; that of the last epoch is kept for a chunk that begins in it."""
        n, found = self._timeline.n, []
        if self._last_order and self._last_order[0] == int(epochs[0]):
            found, epochs = [self._last_order[1:]], epochs[1:]
        if len(epochs):
            found.append(epoch_orders(self._order, n, seeds=torch.tensor(self._distinct), epochs=epochs))
            index, draw = found[-1]
            self._last_order = int(epochs[-1]), index[:, -n:].clone(), draw[-n:].clone()
        index, draw = (torch.cat(parts, dim=-1) for parts in zip(*found, strict=True))
        return index, draw

    def _of_replicas(self, values: Int64[Tensor, "runs k"]) -> Int64[Tensor, "replicas k"]:
        return values if len(values) == len(self._slot) else values.index_select(0, self._slot.to(values.device))

    @property
    def _device(self) -> torch.device:
        return self.trainer.strategy.root_device if self.trainer else torch.device("cpu")

    def _pooled_rows(self, index: Int64[Tensor, "runs k"], draw: Tensor, **where: Any) -> tuple[Split, Tensor]:
        """Return all training samples, which are kept, and the row of each draw among them."""
        offset = torch.arange(len(index))[:, None] * self._timeline.n if len(self._makers) > 1 else 0
        return self._all_training(), index + offset

    def _all_training(self) -> Split:
        """Return the training samples of every seed, one data set after the other."""
        if self._pool is None:
            first = self._training_rows(0)
            pool = first if len(self._makers) == 1 else self._join_training(first)
            self._pool = pool.to(self._device)
        return self._pool

    def _training_rows(self, group: int) -> Split:
        data = self._data(group)
        return Split(*self.rows(data, data.splits["train"]))

    def _join_training(self, first: Split) -> Split:
        """Return the training samples of all groups in one split, which begins with those of the first."""
        rows, count = self._timeline.n, len(self._makers)
        # whole at once: small tensors kept among large ones that come and go scatter the heap
        pool = Split(*(tensor.new_empty((count * rows, *tensor.shape[1:])) for tensor in _parts(first)))
        for group in range(count):
            made = self._training_rows(group) if group else first
            for kept, part in zip(_parts(pool), _parts(made), strict=True):
                kept[self._rows_of(group)] = part
            if self._sets_aside:  # while its data are there
                self._beside_pool(group)
        return pool

    def _rows_of(self, group: int) -> slice:
        """Return where the training samples of a group stand among those of all."""
        return slice(group * self._timeline.n, (group + 1) * self._timeline.n)

    def _fresh_rows(
        self, index: Int64[Tensor, "runs k"], draw: Int64[Tensor, " k"], *, epochs: Tensor, cut: slice
    ) -> tuple[Split, Tensor]:
        """Make the samples of this chunk, which no other has, and return the row of each draw among them."""
        inputs, labels = [], []
        for slot, mine in enumerate(index):
            data = self._data(slot if len(self._makers) > 1 else 0)
            if data.fresh_each_epoch:
                streams = [data.epoch_samples(epoch) for epoch in epochs.tolist()]
                samples = Split(*(torch.cat(tensors) for tensors in zip(*map(_parts, streams), strict=True)))
                samples = samples.select(torch.arange(len(samples))[cut])
                if data.train_transform is not None:
                    samples = Split(data.train_transform(samples.inputs, draw=draw, index=mine), samples.labels)
            else:
                samples = data.drawn_samples(mine, draw, seed=self._distinct[slot])
            inputs.append(self._prepare(samples.inputs))
            labels.append(samples.labels)
        rows = torch.arange(index.numel()).view_as(index)
        return Split(torch.cat(inputs), torch.cat(labels)).to(self._device), rows

    def _prepare_splits(self, group: int) -> dict[str, Split]:
        others = self._beside_pool(group)
        return {
            name: others[name].to(self._device)
            if name in others
            else Split(*(tensor[self._rows_of(group)] for tensor in _parts(self._all_training())))
            for name in self._eval_splits
        }

    def _beside_pool(self, group: int) -> dict[str, Split]:
        """Return the evaluated splits of a group but for one that is in `_all_training`, on the CPU."""
        if self._aside and (kept := self._aside.get(group)) is not None:
            return {name: Split(*map(torch.from_numpy, arrays)) for name, arrays in kept.items()}
        data, prepared = self._data(group), {}
        for name in self._eval_splits:
            split = data.eval_samples(name)
            if split is data.splits["train"] and not self._varies:
                continue
            prepared[name] = Split(*self.rows(data, split))
            if split is data.splits[name]:
                data.splits[name] = _kept_once(split, prepared[name])
        if self._sets_aside:
            arrays = {name: tuple(tensor.numpy() for tensor in _parts(split)) for name, split in prepared.items()}
            size = sum(array.nbytes for pair in arrays.values() for array in pair)
            self._aside = self._aside or SetAside(size * len(self._makers))
            self._aside.put(group, arrays)
        return prepared


def _kept_once(split: Split, prepared: Split) -> Split:
    """Return a split whose inputs are a part of the prepared ones where these begin with them, and it is no more."""
    inputs = split.inputs.flatten(start_dim=1)
    beginning = prepared.inputs[:, : inputs.shape[1]]
    if inputs.dtype != beginning.dtype or not torch.equal(inputs, beginning):
        return split
    return Split(beginning.view_as(split.inputs), split.labels)


def _parts(split: Split) -> tuple[Tensor, Tensor]:
    return split.inputs, split.labels
