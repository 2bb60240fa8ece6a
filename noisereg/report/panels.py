"""Which quantities of a run a figure shows."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

_MOST_NORMS = 4


@dataclass(frozen=True)
class Panel:
    """One quantity of a figure.

    Args:
        title: what it is, with its unit.
        metrics: columns it comes from; of several, the square root of the sum of their squares is taken.
        factor: that turns the column's unit into the title's.

    Example:
        >>> rows = pd.DataFrame({"norm/hidden": [3.0], "norm/output": [4.0]})
        >>> Panel("norm of all weights", ("norm/hidden", "norm/output")).values(rows).tolist()
        [5.0]
    """

    title: str
    metrics: tuple[str, ...]
    factor: float = 1.0

    def values(self, frame: pd.DataFrame) -> pd.Series:
        """Compute the quantity for each row."""
        if len(self.metrics) == 1:
            return self.factor * frame[self.metrics[0]]
        return self.factor * np.sqrt((frame[list(self.metrics)] ** 2).sum(axis=1, skipna=False))


_PANELS = (
    Panel("test error (%)", ("test/error",), 100),
    Panel("train error, clean labels (%)", ("train/error",), 100),
    Panel("active neurons, train", ("train/active_neurons",)),
    Panel("active neurons, test", ("test/active_neurons",)),
)


def curve_panels(frame: pd.DataFrame) -> list[Panel]:
    """Name the panels of `curves`: errors, active neurons and norms, as far as the rows have them.

    Each layer's norm has a panel; of more than four layers, one panel has the norm of all weights together.

    Example:
        >>> rows = pd.DataFrame({"test/error": [0.5], "train/error": [None], "norm/hidden": [3.0]})
        >>> [panel.title for panel in curve_panels(rows)]
        ['test error (%)', 'weight norm, hidden']
    """
    norms = [column for column in frame if column.startswith("norm/") and frame[column].notna().any()]
    if len(norms) > _MOST_NORMS:
        return [*_present(frame, _PANELS), Panel("norm of all weights", tuple(norms))]
    titles = (f"weight norm, {column.removeprefix('norm/')}" for column in norms)
    return [*_present(frame, _PANELS), *(Panel(title, (norm,)) for title, norm in zip(titles, norms, strict=True))]


def strength_panels(replicas: pd.DataFrame) -> list[Panel]:
    """Name the panels of `against_p`, as far as the rows have them.

    Example:
        >>> [panel.title for panel in strength_panels(pd.DataFrame({"train/error": [0.5]}))]
        ['train error, clean labels (%)']
    """
    return _present(replicas, _PANELS[:3])


def _present(frame: pd.DataFrame, panels: Sequence[Panel]) -> list[Panel]:
    return [panel for panel in panels if panel.metrics[0] in frame and frame[panel.metrics[0]].notna().any()]
