"""How much each unit of a network does on some samples."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Float64, Int64, Shaped
from torch import Tensor
from torch.fx import Interpreter, Node

from noisereg.pruning.layers import LayerMap


@dataclass(frozen=True)
class UnitScores:
    """What the units of a layer did.

    Attributes:
        fires: how often each fired, over all samples and positions.
        mean: of its activation, over all samples and positions.
    """

    fires: Int64[Tensor, " units"]
    mean: Float64[Tensor, " units"]

    @property
    def relative(self) -> Float64[Tensor, " units"]:
        """The mean activation as a share of the layer's; 0 where the whole layer is silent.

        Source: Sokar, Agarwal, Castro, Evci, "The dormant neuron phenomenon in deep reinforcement learning", ICML 2023,
            definition 3.1.
        """
        layer = self.mean.mean()
        return self.mean / layer if layer > 0 else torch.zeros_like(self.mean)

    def kept(self, tau: float | None) -> Bool[Tensor, " units"]:
        """Return which units stay; at least one of a layer does, the one that is the most active.

        Args:
            tau: units whose relative mean is at most that go; None for those that never fire.
        """
        kept = self.fires > 0 if tau is None else self.relative > tau
        if not kept.any():
            kept[self.mean.argmax()] = True
        return kept


def score_units(
    found: LayerMap, batches: Iterable[Shaped[Tensor, "_ *shape"]]
) -> tuple[dict[str, UnitScores], Float[Tensor, "samples outputs"]]:
    """Run a network on samples, and measure what the units of its layers do there.

    Args:
        found: of the network.
        batches: of inputs, of which none is larger than those that the graph is of.

    Returns:
        The scores by the names of the layers, and the outputs.

    Example:
        >>> from torch import nn
        >>> from noisereg.pruning.layers import find_layers
        >>> net = nn.Sequential(nn.Linear(1, 2, bias=False), nn.ReLU(), nn.Linear(2, 1)).eval()
        >>> with torch.no_grad():
        ...     _ = net[0].weight.copy_(torch.tensor([[1.0], [-3.0]]))
        >>> scores, _ = score_units(find_layers(net, torch.zeros(4, 1)), [torch.tensor([[1.0], [2.0], [-1.0]])])
        >>> scores["0"].fires.tolist(), scores["0"].mean.tolist()
        ([2, 1], [1.0, 1.0])
    """
    counting = _Counting(found)
    with torch.no_grad():
        outputs = [counting.run_part(inputs) for inputs in batches]
    scores = {
        layer.name: UnitScores(counting.fires[layer.node], counting.sums[layer.node] / counting.rows[layer.node])
        for layer in found.layers
    }
    return scores, torch.cat(outputs)


class _Counting(Interpreter):
    """Run a graph, and count what comes out of its ReLUs at once: what follows may write there."""

    def __init__(self, found: LayerMap) -> None:
        super().__init__(found.graph)
        self._axes = {layer.node: layer.axis for layer in found.layers}
        self._size = next(node for node in found.graph.graph.nodes if node.op == "placeholder").meta["val"].shape[0]
        self._real = 0
        self.fires: dict[str, Tensor] = {}
        self.sums: dict[str, Tensor] = {}
        self.rows: dict[str, int] = {}

    def run_part(self, inputs: Tensor) -> Tensor:
        """Return the outputs of a batch; one that is smaller than those of the graph is filled up."""
        self._real = len(inputs)
        places = torch.arange(self._size).clamp(max=self._real - 1)
        return self.run(inputs[places])[: self._real]

    def run_node(self, n: Node) -> Any:
        outcome = super().run_node(n)
        if n.name in self._axes:
            units = outcome[: self._real].movedim(self._axes[n.name], -1).flatten(end_dim=-2)
            fires, sums = (units > 0).sum(dim=0), units.sum(dim=0, dtype=torch.float64)
            self.fires[n.name] = self.fires.get(n.name, 0) + fires
            self.sums[n.name] = self.sums.get(n.name, 0) + sums
            self.rows[n.name] = self.rows.get(n.name, 0) + len(units)
        return outcome
