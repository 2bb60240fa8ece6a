"""Units that fire alike, counted once."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

_CONSTANT = 1e-6  # spread of a unit over its mean, below which it is rounding


class Distinct(NamedTuple):
    """The units of a layer that are left when those that say the same thing are merged.

    Attributes:
        units: the first unit of each group, by its place in the layer.
        neurons: how many groups there are.
        active_neurons: mean over the samples of the number of `units` that fire.
        active_fraction: `active_neurons` over `neurons`; nan if there are none.
    """

    units: Int64[Tensor, " groups"]
    neurons: int
    active_neurons: float
    active_fraction: float


class UnitCorrelation:
    """The correlations between the units of a layer over samples that come in batches.

    The state is a square matrix in float64, so a layer of 4,096 units takes 134 MB, whatever the number of samples.
    Products are of float32, of activations less the means of the first batch, which keeps their small differences.

    Example:
        >>> layer = UnitCorrelation()
        >>> layer.update(torch.tensor([[1.0, 2.0, 1.0, 0.0], [0.0, 0.0, 3.0, 0.0], [2.0, 4.0, 0.0, 0.0]]))
        >>> layer.distinct()
        Distinct(units=tensor([0, 2]), neurons=2, active_neurons=1.3333333333333333, active_fraction=0.6666666666666666)
    """

    def __init__(self) -> None:
        self.num_samples = 0

    def update(self, activations: Float[Tensor, "batch *units"]) -> None:
        """Add a batch.

        Args:
            activations: outputs after ReLU; the axes behind the first are flattened to units.
        """
        batch = activations.detach().flatten(start_dim=1)
        if not len(batch):
            return
        if not self.num_samples:
            self._allocate(batch)
        shifted = (batch - self._origin).float()
        with torch.autocast(batch.device.type, enabled=False):
            self._products += shifted.T @ shifted
        self._sums += shifted.sum(dim=0, dtype=torch.float64)
        ones = torch.empty_like(batch, dtype=torch.float32)  # comparisons and sums of bool take several times as long
        self._fires += torch.gt(batch, 0, out=ones).sum(dim=0).long()
        self.num_samples += len(batch)

    def correlation(self) -> Float64[Tensor, "units units"]:
        """Compute the correlation of every two units; 0 where one of them does not vary.

        Raises:
            ValueError: if there was no batch.
        """
        self._check_seen()
        mean = self._sums / self.num_samples
        matrix = (self._products / self.num_samples).addr_(mean, mean, alpha=-1)
        spread = matrix.diagonal().clamp(min=0).sqrt()
        constant = spread <= _CONSTANT * (mean + self._origin).abs()
        scale = torch.where(constant, 0.0, 1 / spread)
        return matrix.mul_(scale).mul_(scale[:, None])

    def live(self) -> Bool[Tensor, " units"]:
        """Return which units fired at all.

        Raises:
            ValueError: if there was no batch.
        """
        self._check_seen()
        return self._fires > 0

    def distinct(self, threshold: float = 0.95) -> Distinct:
        """Merge the live units that correlate, and count what is left.

        Two units are in one group if a chain of correlations above the threshold leads from one to the other. A unit
        that fires always alike is live, and in a group of its own.

        Args:
            threshold: of the correlation, in [0, 1).

        Raises:
            ValueError: if the threshold is out of range, or there was no batch.
        """
        live = self.live().nonzero().squeeze(1)
        units = live[first_of_groups(self.correlation()[live[:, None], live], threshold)]
        neurons, active = len(units), int(self._fires[units].sum()) / self.num_samples
        return Distinct(units, neurons, active, active / neurons if neurons else float("nan"))

    def _allocate(self, batch: Float[Tensor, "batch units"]) -> None:
        units = batch.shape[1]
        origin = batch.mean(dim=0, dtype=torch.float64)  # any place near the mean will do
        self._origin = origin.to(torch.promote_types(batch.dtype, torch.float32))
        self._products = batch.new_zeros(units, units, dtype=torch.float64)
        self._sums = batch.new_zeros(units, dtype=torch.float64)
        self._fires = batch.new_zeros(units, dtype=torch.int64)

    def _check_seen(self) -> None:
        if not self.num_samples:
            raise ValueError("no activations were seen: call update with a batch first")


def first_of_groups(correlation: Float[Tensor, "units units"], threshold: float = 0.95) -> Int64[Tensor, " groups"]:
    """Merge units into groups that chains of correlations above a threshold connect.

    Args:
        correlation: symmetric; the diagonal plays no part.
        threshold: in [0, 1).

    Returns:
        The first unit of each group, in order.

    Raises:
        ValueError: if the threshold is out of range.

    Example:
        >>> first_of_groups(torch.tensor([[1.0, 0.0, 0.99], [0.0, 1.0, 0.2], [0.99, 0.2, 1.0]]))
        tensor([0, 1])
    """
    if not 0 <= threshold < 1:
        raise ValueError(f"threshold must be in [0, 1), got {threshold}")
    one, other = (correlation > threshold).triu(diagonal=1).nonzero(as_tuple=True)
    first = torch.arange(len(correlation), device=correlation.device)
    while True:  # each unit takes over the first one that a unit linked to it knows, and then what that one knows
        earlier = first.scatter_reduce(0, other, first[one], "amin").scatter_reduce(0, one, first[other], "amin")
        earlier = earlier[earlier]
        if torch.equal(earlier, first):
            return first.unique()
        first = earlier
