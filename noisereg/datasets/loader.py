"""Batches of a split in an order that is a function of (seed, epoch), by tensor indexing on the split's device."""

import math
from collections.abc import Callable, Iterator
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float32, Int64, Shaped
from torch import Tensor

from noisereg import rng
from noisereg.datasets.split import Split
from noisereg.errors import require_positive
from noisereg.rng import Stream

ORDERS = ("shuffle", "replacement", "sequential")
Batch = dict[str, Tensor]
_ROWS_AT_ONCE = 256


@runtime_checkable
class Transform(Protocol):
    """What is done to stored inputs when a batch is made: a function of each sample, its draw and its index alone."""

    def __call__(
        self, inputs: Shaped[Tensor, "batch *shape"], *, draw: Int64[Tensor, " batch"], index: Int64[Tensor, " batch"]
    ) -> Float32[Tensor, "batch *shape"]: ...


class BatchLoader:
    """Iterate over the batches {"input", "label", "index", "draw"} of one epoch: exactly n draws, the last batch short.

    `index` is the row in the split, and (draw, index) names the draw for any batch size and number of processes:
    the noise and the augmentation are functions of it. Both are int64 tensors (batch,). The epoch is set with
    `set_epoch`, which Lightning calls; within an epoch `state_dict` holds the place, so that a resumed run goes on
    with the next batch.

    Args:
        data: the split, or a function that gives the split of an epoch; all epochs are of one length.
        batch_size: over all processes together.
        order: "shuffle" visits every sample once an epoch; "replacement" draws each uniformly, whatever came before;
            "sequential" goes from first to last.
        seed: of the order.
        transform: from the stored inputs to those of the batch; None for none.
        rank: of this process, which takes the rows rank, rank + world, ... of every batch.
        world: number of processes. All see the same number of batches, but a share may be smaller, or empty.
        even: refuse batches that the processes cannot share evenly, as training must: a process that averages over
            fewer rows would count them for more.

    Raises:
        ValueError: for a batch size or an order out of range, and for batches that `world` does not divide if it must.

    Example:
        >>> split = Split(torch.eye(3), torch.tensor([0, 1, 1]))
        >>> [batch["label"].tolist() for batch in BatchLoader(split, 2, order="sequential")]
        [[0, 1], [1]]
    """

    def __init__(
        self,
        data: Split | Callable[[int], Split],
        batch_size: int,
        *,
        order: str = "shuffle",
        seed: int = 0,
        transform: Transform | None = None,
        rank: int = 0,
        world: int = 1,
        even: bool = False,
    ) -> None:
        self._data = (lambda epoch: data) if isinstance(data, Split) else data
        self.n = len(self._data(0))
        self.batch_size, self.order, self.seed = batch_size, order, seed
        self.transform, self.rank, self.world = transform, rank, world
        self.epoch, self._start, self._batches = 0, 0, 0
        require_positive(batch_size=batch_size)
        if order not in ORDERS:
            raise ValueError(f"order must be one of {', '.join(ORDERS)}, got {order}")
        if even:
            check_shares(self.n, batch_size, world=world)

    def __len__(self) -> int:
        return math.ceil(self.n / self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        start, self._start = self._start, 0
        self._batches = start
        split = self._data(self.epoch)
        device = split.labels.device
        index, draw = (t.to(device) for t in epoch_order(self.order, self.n, seed=self.seed, epoch=self.epoch))
        at_once = max(1, _ROWS_AT_ONCE // self.batch_size) if self.world == 1 else 1
        for first in range(start, len(self), at_once):
            rows = slice(first * self.batch_size, (first + at_once) * self.batch_size)
            mine = slice(self.rank, None, self.world)
            for batch in self._make_batches(split, index[rows][mine], draw[rows][mine]):
                self._batches += 1
                yield batch

    @property
    def sampler(self) -> "BatchLoader":
        """Where Lightning looks for `set_epoch`."""
        return self

    @property
    def batch_sampler(self) -> None:
        """None: Lightning asks for it of everything that has a sampler."""

    def set_epoch(self, epoch: int) -> None:
        """Move to the epoch that the next iteration goes through. The place in a resumed epoch is kept."""
        if epoch != self.epoch:
            self.epoch, self._start, self._batches = epoch, 0, 0

    def state_dict(self) -> dict[str, Any]:
        """Return the place in the epoch, and what must be the same for it to mean anything."""
        return {"epoch": self.epoch, "batches": self._batches, **self._identity()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Move behind the batches that `state` counts.

        Raises:
            ValueError: if the order of the samples would not be that of the run which made the checkpoint.
        """
        for key, mine in self._identity().items():
            if state[key] != mine:
                raise ValueError(
                    f"cannot resume: the checkpoint was made with {key}={state[key]}, this run has {key}={mine}; "
                    f"give the same values, or start a new run"
                )
        whole_epochs, start = divmod(state["batches"], len(self))
        self.epoch, self._start, self._batches = state["epoch"] + whole_epochs, start, start

    def _identity(self) -> dict[str, Any]:
        return {"seed": self.seed, "n": self.n, "batch_size": self.batch_size, "order": self.order}

    def _make_batches(
        self, split: Split, index: Int64[Tensor, " rows"], draw: Int64[Tensor, " rows"]
    ) -> Iterator[Batch]:
        rows = split.select(index)
        inputs = rows.inputs if self.transform is None else self.transform(rows.inputs, draw=draw, index=index)
        parts = (part.split(self.batch_size) for part in (inputs, rows.labels, index, draw))
        for x, y, i, t in zip(*parts, strict=True):
            yield {"input": x, "label": y, "index": i, "draw": t}


def check_shares(n: int, batch_size: int, *, world: int) -> None:
    """Raise ValueError for training batches that the processes cannot share evenly.

    Args:
        n: number of draws in an epoch.
        batch_size: over all processes together.
        world: number of processes.

    Raises:
        ValueError: if they cannot, with what to change.

    Example:
        >>> check_shares(10, 4, world=2)
    """
    last = n % batch_size
    if batch_size % world or last % world:
        raise ValueError(
            f"every training batch must divide among {world} processes, got batches of {batch_size} "
            f"and a last one of {last}; change batch_size, train_size or the number of processes"
        )


def epoch_order(order: str, n: int, *, seed: int, epoch: int) -> tuple[Int64[Tensor, " n"], Int64[Tensor, " n"]]:
    """Return the index and the draw of each of the n draws of an epoch.

    "replacement" has draw = epoch * n + place in the epoch, as one index may come twice; else draw = epoch.

    Example:
        >>> epoch_order("sequential", 3, seed=0, epoch=5)
        (tensor([0, 1, 2]), tensor([5, 5, 5]))
    """
    index, draw = epoch_orders(order, n, seeds=torch.tensor([seed]), epochs=torch.tensor([epoch]))
    return index[0], draw


def epoch_orders(
    order: str, n: int, *, seeds: Int64[Tensor, " runs"], epochs: Int64[Tensor, " epochs"]
) -> tuple[Int64[Tensor, "runs draws"], Int64[Tensor, " draws"]]:
    """Return what `epoch_order` does for several epochs, one after the other, and for several runs at once.

    Example:
        >>> epoch_orders("sequential", 2, seeds=torch.tensor([0, 1]), epochs=torch.tensor([5, 6]))
        (tensor([[0, 1, 0, 1],
                [0, 1, 0, 1]]), tensor([5, 5, 6, 6]))
    """
    place, draw = torch.arange(n), epochs.repeat_interleave(n)
    if order == "sequential":
        return place.repeat(len(seeds), len(epochs)), draw
    random = rng.uniform(seeds[:, None, None], Stream.ORDER, epochs[:, None], place)
    if order == "replacement":
        return (n * random).long().flatten(1), draw * n + place.repeat(len(epochs))
    return random.argsort(dim=2, stable=True).flatten(1), draw
