"""What an engine measures of the replicas that it trains, and who is told of it."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float


class Measurement(NamedTuple):
    """Values of k of a run's replicas after so many steps.

    One evaluation may come in parts: measurements of the same step and replicas belong together.

    Attributes:
        step: steps of the optimiser that each of these replicas has made.
        epoch: whole epochs that they have made.
        replicas: numbers of the k replicas, in the order of the run's grid.
        values: by the name of a metric, (k,), float64.

    Example:
        >>> Measurement(step=240, epoch=1, replicas=[0, 2], values={"test/error": np.array([0.5, 0.25])}).replicas
        [0, 2]
    """

    step: int
    epoch: int
    replicas: Sequence[int]
    values: Mapping[str, Float[np.ndarray, " k"]]


@runtime_checkable
class Observer(Protocol):
    """What takes measurements: curves, a dashboard, a progress display."""

    def observe(self, measurement: Measurement) -> None:
        """Take one measurement."""
