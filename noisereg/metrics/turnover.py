"""Which units have died and revived since the last measurement, over all layers and in each."""

from collections.abc import Mapping

import torch
from jaxtyping import Bool
from torch import Tensor

from noisereg.metrics.counts import count_turnover
from noisereg.metrics.sparsity import ActivationSparsity


class Turnover:
    """Keep which units were alive, and compare each measurement with the one before.

    Attributes:
        live: which units of each layer fired at least once in the last measurement; it is all there is to keep.

    Example:
        >>> relu, changes = ActivationSparsity(), Turnover()
        >>> for outputs in (torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 0.0]])):
        ...     relu.reset()
        ...     relu.update(outputs)
        ...     changes.measure({"relu": relu})["died_neurons"]
        tensor(0.)
        tensor(1.)
    """

    def __init__(self) -> None:
        self.live: dict[str, Bool[Tensor, " units"]] = {}

    def measure(self, metrics: Mapping[str, ActivationSparsity]) -> dict[str, Tensor]:
        """Return `died_neurons` and `revived_neurons`, of all layers and, if there are several, also of each.

        A layer that was not there before, or had another number of units, has not changed. One of which a unit was nan
        is nan, and what was alive in it before stays. A threshold other than 0 stands behind the names.
        """
        suffix = next((metric.threshold.suffix for metric in metrics.values()), "")
        known = {layer: metric.is_known for layer, metric in metrics.items()}
        before = {layer: self._before(layer, ~metric.dead) for layer, metric in metrics.items()}
        live = {layer: torch.where(known[layer], ~metric.dead, before[layer]) for layer, metric in metrics.items()}
        self.live = live
        all_layers = count_turnover(torch.cat(list(before.values())), torch.cat(list(live.values())))
        are_known = torch.stack(list(known.values())).all()
        values = {f"{key}{suffix}": number.where(are_known, torch.nan) for key, number in all_layers.items()}
        if len(live) > 1:
            for layer, units in live.items():
                changes = count_turnover(before[layer], units)
                own = {key: number.where(known[layer], torch.nan) for key, number in changes.items()}
                values |= {f"{key}{suffix}/{layer}": number for key, number in own.items()}
        return values

    def _before(self, layer: str, units: Bool[Tensor, "units"]) -> Bool[Tensor, "units"]:
        before = self.live.get(layer, units)
        return before.to(units.device) if before.shape == units.shape else units
