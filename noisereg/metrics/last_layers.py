"""The last layers of a network: its last ReLU, and the linear layer whose outputs are the logits."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, no_type_check

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from noisereg.metrics.activations import find_relus
from noisereg.metrics.units import Layouts, split_rows


class LastLayers(NamedTuple):
    """The last layers of a network.

    Attributes:
        layer: name of the last ReLU that is called, as `ActivationCounter` has it: "relu:2" at a second call; "" if
            none is.
        relu: that ReLU; None if there is none.
        features_last: whether the units of that ReLU are on the last axis, as those of tokens, see `Layouts`.
        num_units: of that ReLU: features of tokens, positions of channels.
        linear: the linear layer whose outputs are the logits; None if the network ends otherwise.
    """

    layer: str
    relu: nn.Module | None
    features_last: bool
    num_units: int
    linear: nn.Linear | None


@dataclass
class LastBatch:
    """What the last layers saw of the last batch; empty before the first one, and for a layer that is not there.

    Attributes:
        features: what the linear layer took.
        activations: what the ReLU gave, at its last call: a row a sample or token.
    """

    features: Float[Tensor, "batch features"] = field(default_factory=lambda: torch.empty(0, 0))
    activations: Float[Tensor, "rows *units"] = field(default_factory=lambda: torch.empty(0, 0))


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
        >>> find_last_layers(net, torch.zeros(1, 2))  # doctest: +ELLIPSIS
        LastLayers(layer='1', relu=ReLU(), features_last=True, num_units=4, linear=Linear(in_features=4, ...))
    """
    relus = find_relus(module)
    names = {relu: name for name, relu in relus.items()}
    calls: list[tuple[nn.Module, Tensor, bool]] = []
    outputs: list[tuple[nn.Linear, Tensor]] = []
    layouts = Layouts()

    def note_call(called: nn.Module, _inputs: Any, output: Tensor) -> None:
        calls.append((called, output, layouts.features_last(output)))

    with ExitStack() as hooks:
        hooks.enter_context(_NoteLayouts(layouts))
        for relu in relus.values():
            hooks.callback(relu.register_forward_hook(note_call).remove)
        for layer in (part for part in module.modules() if isinstance(part, nn.Linear)):
            hook = layer.register_forward_hook(lambda called, _, output: outputs.append((called, output.clone())))
            hooks.callback(hook.remove)
        logits = (run or module)(inputs)
    linear = None
    if outputs and outputs[-1][1].shape == logits.shape and torch.equal(outputs[-1][1], logits):
        linear = outputs[-1][0]
    if not calls:
        return LastLayers("", None, True, 0, linear)
    relu, output, features_last = calls[-1]
    times = sum(called is relu for called, *_ in calls)
    name = names[relu] if times == 1 else f"{names[relu]}:{times}"
    return LastLayers(name, relu, features_last, _rows(output, features_last)[0].numel(), linear)


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
        last.activations = _rows(output, last_layers.features_last).clone()

    with ExitStack() as hooks:
        if last_layers.linear is not None:
            hooks.callback(last_layers.linear.register_forward_pre_hook(keep_features, with_kwargs=True).remove)
        if last_layers.relu is not None:
            hooks.callback(last_layers.relu.register_forward_hook(keep_activations).remove)
        yield last


class _NoteLayouts(TorchFunctionMode):
    """Note where each layer with weights has its features."""

    def __init__(self, layouts: Layouts) -> None:
        super().__init__()
        self._layouts = layouts

    @no_type_check  # as for the mode of `ActivationCounter`
    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        self._layouts.note(func, output)
        return output


def _rows(output: Float[Tensor, "batch *shape"], features_last: bool) -> Float[Tensor, "rows *units"]:
    return split_rows(output, features_last=features_last, units=None, batch_first=True)[0]
