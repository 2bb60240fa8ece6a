"""Chunks of training steps: many at a time, so that what surrounds a step costs little."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from noisereg.engine.sgd import STEPS_IN_A_PASS

_REPLICA_DRAWS = 200_000  # of a chunk: what surrounds a chunk costs about a millisecond
_MANY_REPLICAS = 400  # from here on a replica has no fewer: its weights and inputs come anew into the caches each time
_MOST_DRAWS = 2**20  # of a chunk, all the same


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """How long a training is and where it stops for a measurement. A draw is one sample; n draws are an epoch.

    Args:
        num_epochs: length of the training.
        every_n_epochs: a measurement follows every so many epochs, and the last one.
        n: draws of an epoch.
        batch_size: draws of a step; the last step of an epoch may have fewer.
        max_steps: the training ends after so many steps, if that comes first; None for no limit.

    Example:
        >>> timeline = Timeline(num_epochs=5, every_n_epochs=2, n=100)
        >>> timeline.num_legs, timeline.leg(2)
        (3, (400, 500))
    """

    num_epochs: int
    every_n_epochs: int
    n: int
    batch_size: int = 1
    max_steps: int | None = None

    @property
    def num_draws(self) -> int:
        """Draws of the whole training."""
        if self.max_steps is None:
            return self.num_epochs * self.n
        epochs, steps = divmod(self.max_steps, self.steps(self.n))
        return min(self.num_epochs * self.n, epochs * self.n + steps * self.batch_size)

    @property
    def num_legs(self) -> int:
        """Number of stretches between measurements."""
        return math.ceil(self.num_draws / (self.every_n_epochs * self.n))

    def leg(self, number: int) -> tuple[int, int]:
        """Return the first draw of a stretch, and the one after its last."""
        length = self.every_n_epochs * self.n
        return number * length, min((number + 1) * length, self.num_draws)

    def steps(self, draws: int) -> int:
        """Count the steps that the first `draws` draws make."""
        epochs, rest = divmod(draws, self.n)
        return epochs * math.ceil(self.n / self.batch_size) + math.ceil(rest / self.batch_size)


class ChunkLoader:
    """Iterate over the chunks of one stretch between measurements, which is an epoch to Lightning.

    A chunk is what `make` returns for a range of draws. No chunk crosses the end of an epoch if batches are of more
    than one sample, as the last of an epoch may be short, or if the engine asks for that. The stretch is set with
    `set_epoch`, which Lightning calls; within it `state_dict` holds the place, so that a resumed run goes on with the
    next chunk.

    Args:
        make: from the first draw and the one after the last to a batch.
        timeline: of the training.
        replicas: that share a chunk; the more, the fewer draws it has.
        width: draws of a chunk at most; None for as many as are worth it.
        crosses_epochs: whether a chunk may go through the end of an epoch.

    Example:
        >>> timeline = Timeline(num_epochs=4, every_n_epochs=2, n=10)
        >>> list(ChunkLoader(lambda first, stop: {"range": (first, stop)}, timeline, replicas=1, width=8))
        [{'range': (0, 8)}, {'range': (8, 16)}, {'range': (16, 20)}]
    """

    def __init__(
        self,
        make: Callable[[int, int], dict[str, Any]],
        timeline: Timeline,
        *,
        replicas: int,
        width: int | None = None,
        crosses_epochs: bool = True,
    ) -> None:
        self._make, self._timeline = make, timeline
        self._crosses_epochs = crosses_epochs and timeline.batch_size == 1
        few = min(_REPLICA_DRAWS // _MANY_REPLICAS, _MOST_DRAWS // replicas)
        most, part = max(1, _REPLICA_DRAWS // replicas, few), max(STEPS_IN_A_PASS, timeline.batch_size)
        self._width = max(1, min(most, width or most) // part) * part
        self._leg, self._start, self._chunks = 0, 0, 0

    def __len__(self) -> int:
        return len(self._ranges())

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        start, self._start = self._start, 0
        self._chunks = start
        for first, stop in self._ranges()[start:]:
            batch = self._make(first, stop)
            self._chunks += 1
            yield batch

    @property
    def sampler(self) -> "ChunkLoader":
        """Where Lightning looks for `set_epoch`."""
        return self

    @property
    def batch_sampler(self) -> None:
        """None: Lightning asks for it of everything that has a sampler."""

    def set_epoch(self, epoch: int) -> None:
        """Choose the stretch that the next iteration goes through. The place in a resumed one is kept."""
        if epoch != self._leg:
            self._leg, self._start, self._chunks = epoch, 0, 0

    def state_dict(self) -> dict[str, Any]:
        """Return the place in the stretch."""
        return {"leg": self._leg, "chunks": self._chunks, "width": self._width}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on after the chunks that `state` counts.

        Raises:
            ValueError: if the chunks of this run are of another width: Lightning has counted them before this call.
        """
        if state["width"] != self._width:
            raise ValueError(
                f"cannot resume: the checkpoint was made with chunks of {state['width']} draws, this run has chunks of "
                f"{self._width}; take the version of the program that made it, or start a new run"
            )
        self._leg = state["leg"]
        legs, self._start = divmod(state["chunks"], len(self))
        self._leg, self._chunks = self._leg + legs, self._start

    def _ranges(self) -> list[tuple[int, int]]:
        first, stop = self._timeline.leg(self._leg)
        n = stop - first if self._crosses_epochs else self._timeline.n
        ends = [*range(first + n, stop, n), stop]
        return [
            (begin, min(begin + self._width, end))
            for end, start in zip(ends, [first, *ends], strict=False)
            for begin in range(start, end, self._width)
        ]
