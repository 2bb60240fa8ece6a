"""The last layers of a network: its last ReLU, and the linear layer whose outputs are the logits."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from noisereg.metrics.activations import find_relus


class LastLayers(NamedTuple):
    """The last layers of a network.

    Attributes:
        layer: name of the last ReLU that is called, as `ActivationCounter` has it: "relu:2" at a second call; "" if
            none is.
        relu: that ReLU; None if there is none.
        num_units: of that ReLU.
        linear: the linear layer whose outputs are the logits; None if the network ends otherwise.
    """

    layer: str
    relu: nn.Module | None
    num_units: int
    linear: nn.Linear | None


@dataclass
class LastBatch:
    """What the last layers saw of the last batch; empty before the first one, and for a layer that is not there.

    Attributes:
        features: what the linear layer took.
        activations: what the ReLU gave, at its last call.
    """

    features: Float[Tensor, "batch features"] = field(default_factory=lambda: torch.empty(0, 0))
    activations: Float[Tensor, "batch *units"] = field(default_factory=lambda: torch.empty(0, 0))


def find_last_layers(
    module: nn.Module, inputs: Float[Tensor, "batch *shape"], *, run: Callable[[Tensor], Tensor] | None = None
) -> LastLayers:
    """Find the last layers of a network, by watching what it calls.

    Args:
        module: in the mode that it has.
        inputs: a batch of at least one sample.
        run: calls the module on the inputs and gives the logits; None: as it is.

    Example:
        >>> net = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 3))
        >>> find_last_layers(net, torch.zeros(1, 2))
        LastLayers(layer='1', relu=ReLU(), num_units=4, linear=Linear(in_features=4, out_features=3, bias=True))
    """
    relus = find_relus(module)
    names = {relu: name for name, relu in relus.items()}
    calls: list[tuple[nn.Module, int]] = []
    outputs: list[tuple[nn.Linear, Tensor]] = []
    with ExitStack() as hooks:
        for relu in relus.values():
            hook = relu.register_forward_hook(lambda called, _, output: calls.append((called, output[0].numel())))
            hooks.callback(hook.remove)
        for layer in (part for part in module.modules() if isinstance(part, nn.Linear)):
            hook = layer.register_forward_hook(lambda called, _, output: outputs.append((called, output.clone())))
            hooks.callback(hook.remove)
        logits = (run or module)(inputs)
    linear = None
    if outputs and outputs[-1][1].shape == logits.shape and torch.equal(outputs[-1][1], logits):
        linear = outputs[-1][0]
    if not calls:
        return LastLayers("", None, 0, linear)
    relu, num_units = calls[-1]
    times = sum(called is relu for called, _ in calls)
    return LastLayers(names[relu] if times == 1 else f"{names[relu]}:{times}", relu, num_units, linear)


@contextmanager
def watch_last_layers(last_layers: LastLayers) -> Iterator[LastBatch]:
    """Record what the last layers see of each batch, while the `with` block lasts.

    Example:
        >>> net = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 3))
        >>> with watch_last_layers(find_last_layers(net, torch.zeros(1, 2))) as last:
        ...     logits = net(torch.ones(5, 2))
        >>> bool((last.activations == last.features).all())
        True
    """
    last = LastBatch()

    def keep_features(_layer: nn.Module, inputs: tuple[Tensor, ...], named: dict[str, Tensor]) -> None:
        (features,) = (*inputs, *named.values())
        last.features = features.clone()  # a later layer may write into it

    def keep_activations(_layer: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        last.activations = output.clone()

    with ExitStack() as hooks:
        if last_layers.linear is not None:
            hooks.callback(last_layers.linear.register_forward_pre_hook(keep_features, with_kwargs=True).remove)
        if last_layers.relu is not None:
            hooks.callback(last_layers.relu.register_forward_hook(keep_activations).remove)
        yield last
