"""The engines `fused` and `blocked`: stacked networks of one hidden layer, or single neurons, under SGD."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int64, Shaped
from torch import Tensor, nn

from noisereg.engine.blocked import Blocked
from noisereg.engine.engine import Given, SharedData
from noisereg.engine.forward import begin_compiling_reader
from noisereg.engine.fused import Fused
from noisereg.engine.measure import score_all, sizes
from noisereg.engine.stack import Stack
from noisereg.losses import Loss
from noisereg.metrics import count_turnover


class TwoLayerEngine:
    """Train a `Stack` by compiled loops or by blocks of steps, and measure it by a matrix product a layer.

    Args:
        networks: the stack.
        steps: `Fused` or `Blocked`.
        loss: that it minimises, and that is measured on clean labels.
    """

    def __init__(self, networks: Stack, steps: Fused | Blocked, loss: Loss) -> None:
        self.networks = networks
        self.name = steps.name
        self.threads = steps.threads if isinstance(steps, Fused) else 0
        self.crosses_epochs = steps.batch_size == 1
        self._steps, self._loss = steps, loss
        self._momenta = steps.start(networks) if isinstance(steps, Fused) else None
        hidden = 0 if networks.hidden is None else networks.hidden.shape[2]
        self._fires = torch.zeros(len(networks), max(networks.output.shape[1], 2), hidden, dtype=torch.int64)

    def __len__(self) -> int:
        return len(self.networks)

    def prepare(self, inputs: Float[Tensor, "n *shape"]) -> Float[Tensor, "n features"]:
        """Return the inputs as rows of features."""
        return self.networks.prepare(inputs)

    def begin_compiling(self, inputs: Float[Tensor, "n features"]) -> None:
        """Compile what such inputs need in threads of their own, some seconds of work.

        Args:
            inputs: some of those to come, as `prepare` made them.
        """
        if isinstance(self._steps, Fused):
            begin_compiling_reader(self.networks)  # the first to be needed
            self._steps.prepare(self.networks, inputs)

    def train(
        self,
        inputs: Float[Tensor, "n features"],
        *,
        index: Int64[Tensor, "k draws"],
        targets: Shaped[Tensor, "k draws *classes"],
        rates: Float[Tensor, " k"],
        replicas: Int64[Tensor, " k"],
    ) -> None:
        """Train k of the replicas in place, see `Engine`."""
        wholes = [stack for stack in (self.networks, self._momenta) if stack is not None]
        parts = wholes if len(replicas) == len(self) else [stack.select(replicas) for stack in wholes]
        moving = {"momenta": parts[1]} if self._momenta is not None else {}
        self._steps(parts[0], inputs, index=index, targets=targets, rates=rates, **moving)
        if parts is not wholes:
            for whole, part in zip(wholes, parts, strict=True):
                whole.put(replicas, part)

    def measure(
        self,
        data: Iterable[SharedData],
        running: Sequence[bool],
        *,
        num_classes: int,
        first: bool,
        given: Given | None = None,
    ) -> dict[str, Float[Tensor, " replicas"]]:
        """Measure the running replicas, see `Engine`."""
        before = self._fires.any(dim=1)
        how: dict[str, Any] = {"loss": self._loss, "num_classes": num_classes, "threads": self.threads}
        how["compiled"] = isinstance(self._steps, Fused)
        values, fires = score_all(self.networks, data, running, given=given, **how)
        for replicas, counts in fires:
            self._fires[replicas] = counts.cpu()
        if self._fires.shape[2]:
            after = self._fires.any(dim=1)
            changes = count_turnover(after if first else before, after)
            values |= {f"train/{key}": units for key, units in changes.items()}
        return values | sizes(self.networks)

    def finite(self) -> Bool[Tensor, " replicas"]:
        """Return which replicas have finite weights only."""
        return self.networks.finite()

    def copy_to(self, model: nn.Module, replica: int) -> None:
        """Write the weights of one replica into a network."""
        self.networks.copy_to(model, replica)

    def fires(self) -> Int64[Tensor, "replicas classes units"] | None:
        """Return how often each hidden neuron fired for each class; None for single neurons."""
        return self._fires if self._fires.shape[2] else None

    def state(self) -> dict[str, Any]:
        """Return the counts of the last measurement, and the momenta."""
        momenta = {} if self._momenta is None else {"momenta": self._momenta.state_dict()}
        return {"fires": self._fires.clone(), **momenta}

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore the counts and the momenta of the run that is resumed."""
        self._fires = state["fires"]
        if self._momenta is not None:
            self._momenta.load_state_dict(state["momenta"])
