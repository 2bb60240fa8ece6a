"""Count the firings of every ReLU of any network, through forward hooks that last as long as a `with` block."""

import sys
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, distributed, nn

from noisereg.metrics.sparsity import ActivationSparsity


class ReluCounter:
    """Count the firings of ReLUs, or where the outputs of other modules are > 0, while the `with` block lasts.

    The outputs must be tensors whose first axis is the batch: what a transformer hands on with the tokens first is not
    understood. A module that is called more than once in a batch gives one layer a call: "relu", "relu:2" and so on.
    Compiled networks run eagerly inside the block, as torch.compile does not see hooks that come after it.

    Args:
        relus: the modules by name, see `find_relus`.
        num_classes: how many classes to tell apart in batches that come with labels; None: none.

    Example:
        >>> from noisereg.metrics import find_relus
        >>> net = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
        >>> with ReluCounter(find_relus(net)) as counter:
        ...     counter.start_batch()
        ...     _ = net(torch.ones(5, 2))
        >>> counter.metrics["1"].firing_rate.shape
        torch.Size([3])
    """

    def __init__(self, relus: Mapping[str, nn.Module], *, num_classes: int | None = None) -> None:
        self.metrics: dict[str, ActivationSparsity] = {}
        self._relus = relus
        self._num_classes = num_classes
        self._labels: Tensor | None = None
        self._calls: Counter[str] = Counter()
        self._open = ExitStack()

    def __enter__(self) -> "ReluCounter":
        if "torch._dynamo" in sys.modules:
            self._open.enter_context(torch.compiler.set_stance("force_eager"))
        for name, relu in self._relus.items():
            self._open.callback(relu.register_forward_hook(self._hook(name)).remove)
        return self

    def __exit__(self, *exception: object) -> None:
        self._open.close()

    def start_batch(self, labels: Tensor | None = None) -> None:
        """Begin a new batch, whose clean labels may be given."""
        self._labels = labels
        self._calls.clear()

    def gathered(self, device: torch.device | str = "cpu") -> dict[str, ActivationSparsity]:
        """Return one metric a layer with the counts of all processes; all processes must call it.

        Args:
            device: for the counts of a process that has seen no batch.
        """
        metrics: dict[str, ActivationSparsity] = {}
        for known in _of_all_processes({layer: metric.num_classes for layer, metric in self.metrics.items()}):
            metrics |= {layer: ActivationSparsity(num_classes).to(device) for layer, num_classes in known.items()}
        return {layer: metric.gathered() for layer, metric in (metrics | self.metrics).items()}

    def _hook(self, name: str) -> Callable[[nn.Module, Any, Any], None]:
        def count(_module: nn.Module, _inputs: Any, activations: Any) -> None:
            if not isinstance(activations, Tensor):
                raise ValueError(f"layer {name!r} must give a tensor to be counted, got a {type(activations).__name__}")
            self._calls[name] += 1
            layer = name if self._calls[name] == 1 else f"{name}:{self._calls[name]}"
            if layer not in self.metrics:
                num_classes = None if self._labels is None else self._num_classes
                self.metrics[layer] = ActivationSparsity(num_classes).to(activations.device)
            try:
                self.metrics[layer].update(activations, self._labels)
            except ValueError as error:
                error.add_note(f"while counting the firings of layer {layer!r}")
                raise

        return count


def _of_all_processes(known: dict[str, int | None]) -> list[dict[str, int | None]]:
    if not (distributed.is_available() and distributed.is_initialized()):
        return [known]
    every: list[dict[str, int | None]] = [{} for _ in range(distributed.get_world_size())]
    distributed.all_gather_object(every, known)
    return every
