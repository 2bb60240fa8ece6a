"""Count how often the units of a network fire, wherever it calls its activations: as modules or as functions.

While the block lasts, hooks on the modules tell where in the network a call is made, and a function mode of torch sees
the calls of functions; fused kernels, which would hide them, are not taken under such a mode. An activation is counted
at once, as what comes later may write into its output. If the output then goes into a product with a tensor of its
shape before anything else, as in SwiGLU, or is raised to a power, as in ReLU squared, the count of the product takes
the place of the first one. A weight is no gate, though that of the features has the shape of a batch of one sample.
"""

import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from contextvars import ContextVar
from typing import Any, NamedTuple, no_type_check

import torch
from jaxtyping import Int64, Shaped
from torch import Tensor, distributed, nn
from torch.overrides import TorchFunctionMode
from torch.utils.module_tracker import ModuleTracker

from noisereg.metrics.activations import (
    FUNCTIONS,
    Kind,
    choose_layers,
    describe_no_match,
    describe_none,
    find_named,
    kind_of,
    kind_of_call,
    name_calls,
)
from noisereg.metrics.batch_rows import BatchRows
from noisereg.metrics.layer_names import short_names
from noisereg.metrics.layer_values import collect_layer_values
from noisereg.metrics.made_of_weights import MadeOfWeights
from noisereg.metrics.processes import num_processes
from noisereg.metrics.sparsity import ActivationSparsity
from noisereg.metrics.threshold import Threshold
from noisereg.metrics.units import UNITS, find_batch_first, find_spellings

_PRODUCTS = find_spellings("mul", "multiply", "__mul__", "__rmul__", "__imul__")
_POWERS = find_spellings("pow", "square", "__pow__", "__ipow__")
_CASTS = (Tensor.to, Tensor.float, Tensor.half, Tensor.bfloat16, Tensor.double, Tensor.type_as, Tensor.contiguous)

_COUNTING = ContextVar("_COUNTING", default=False)  # then torch is called by a counter, and not by a network


class _Frame(NamedTuple):
    """A module that is being called: what stands before the names of its calls, its kind, and its layout."""

    prefix: str
    kind: Kind | None
    batch_first: bool | None


class _Open(NamedTuple):
    """An output that was counted, and may yet go into a product: the counts of its layer before it, and its layout."""

    output: Tensor
    layer: str
    before: dict[str, Tensor] | None
    features_last: bool
    batch_first: bool | None


class _Eager:
    """Keep what is compiled from running, while at least one block is open; they may end in any order.

    torch's own context puts back what it found as it began: of two that overlap, the later one would leave everything
    uncompiled for ever.
    """

    def __init__(self) -> None:
        self._open, self._block = 0, ExitStack()

    def __enter__(self) -> None:
        if not self._open:
            self._block.enter_context(torch.compiler.set_stance("force_eager"))
        self._open += 1

    def __exit__(self, *exception: object) -> None:
        self._open -= 1
        if not self._open:
            self._block.close()


_EAGER = _Eager()


class ActivationCounter:
    """Count where the outputs of a network's activations are above a threshold, while the `with` block lasts.

    Any activation counts, whether it is a module or a call of a function such as `torch.relu`: the ReLUs, or where a
    network calls none the others that are small on one side, such as GELU; or what `layers` chooses. A module is a
    layer of its name, a function one of the name of the module that calls it: "blocks.0.mlp.relu". Called more than
    once in a pass, it is a layer a call: "relu", "relu:2" and so on. A gated layer is counted after the gate.

    Units are features, and rows samples or tokens: an output (batch, tokens, features) of a linear layer has as many
    units as features, whatever the number of tokens and which of the two axes is first. A convolution's units are its
    C * H * W positions. What is computed again in a backward pass, as under gradient checkpointing, is not counted, nor
    what is made of weights alone, as a bias of positions.
    Compiled networks run eagerly inside the block, and torch's fused layers call their parts.

    Args:
        module: the network; one that is wrapped for several processes or compiled has the names of what it wraps.
        layers: patterns of names to keep; each chooses among the ReLUs, else among the other activations, else it must
            be the whole name of a module of any kind. None: see above.
        num_classes: how many classes to tell apart in batches that come with labels; None: none.
        threshold: above which output a unit is active, see `Threshold.parse`; None: above 0.
        magnitude: whether the absolute output is compared.
        dormant: tau of dormant units, see `ActivationSparsity`; None: they are not looked for.
        units: "features" or "positions", for all layers; None: as above.
        batch_first: whether tokens are laid out as (batch, tokens); False for (tokens, batch). None: as the
            `batch_first` of the attention around a layer says, else as the labels fit.
        ignore_index: a label that marks tokens or samples to leave out.
        required: whether it is an error to leave the block without having counted what was asked for.
        root_is_step: whether the outermost call of the module is a whole step, whose own calls of functions belong to
            the loss.

    Raises:
        ValueError: if an argument is out of range, a pattern can match nothing, or a part is compiled by torch.jit;
            when the block is left, if a pattern has matched nothing or nothing was counted.

    Example:
        >>> net = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
        >>> with ActivationCounter(net) as counter:
        ...     _ = net(torch.ones(5, 2))
        >>> counter.metrics["1"].firing_rate.shape
        torch.Size([3])
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        layers: Sequence[str] | None = None,
        num_classes: int | None = None,
        threshold: float | str | Threshold | None = None,
        magnitude: bool = False,
        dormant: float | None = None,
        units: str | None = None,
        batch_first: bool | None = None,
        ignore_index: int | None = -100,
        required: bool = True,
        root_is_step: bool = False,
    ) -> None:
        if isinstance(layers, str):
            raise ValueError(f"layers must be a list of patterns, got the string {layers!r}: write [{layers!r}]")
        if units not in (None, *UNITS):
            raise ValueError(f"units must be one of {', '.join(UNITS)}, or None, got {units!r}")
        if layers is None and (scripted := _find_scripted(_unwrap(module))):
            raise ValueError(
                f"module must show the calls of its parts, got {scripted}, which torch.jit has compiled: give the "
                "network that it was made of, or choose layers of the other parts with layers=[...]"
            )
        self.threshold = Threshold.parse(threshold, magnitude=magnitude)
        self._how: dict[str, Any] = {"threshold": self.threshold, "dormant": dormant}
        self._new_metric(None)  # which checks them
        self._module, self._layers, self._num_classes = _unwrap(module), layers, num_classes
        self._batch_first, self._required, self._root_is_step = batch_first, required, root_is_step
        self._frames = {
            child: _Frame(prefix, kind_of(child), find_batch_first(child))
            for child, prefix in name_calls(self._module).items()
        }
        self._names = self._name_modules()
        self._weights = MadeOfWeights(self._module)
        self._rows = BatchRows(
            units=units,
            batch_first=batch_first,
            ignore_index=ignore_index,
            has_classes=num_classes is not None,
            has_tokens_first=any(frame.batch_first is False for frame in self._frames.values()),
        )
        self._tracker = ModuleTracker()  # tells forward from backward
        self._block = ExitStack()
        self._has_batches = False
        self.reset()

    def __enter__(self) -> "ActivationCounter":
        if "torch._dynamo" in sys.modules:  # else nothing is compiled, and set_stance would import it for seconds
            self._block.enter_context(_EAGER)
        for module in self._frames:
            if isinstance(module, torch.jit.ScriptModule):
                continue  # it takes no hooks
            for handle in (
                module.register_forward_pre_hook(self._enter_module),
                module.register_forward_hook(self._count_module),
                module.register_forward_hook(self._leave_module, always_call=True),
            ):
                self._block.callback(handle.remove)
        self._block.enter_context(_Calls(self))
        self._weights = MadeOfWeights(self._module)
        return self

    def __exit__(self, kind: object, *exception: object) -> None:
        self._block.close()
        self._stack.clear()
        self._finish_pass()
        if kind is None and self._required:
            self.check()
            if not self._counts:
                raise ValueError(self.describe_nothing())

    def reset(self) -> None:
        """Forget all counts."""
        self._counts: dict[str, ActivationSparsity] = {}
        self._seen: dict[str, Kind] = {}  # without the number of a call
        self._rows.forget()
        self._stack: list[_Frame] = []
        self._dropped: set[str] = set()
        self.has_run = False
        self._start_pass(None, None)

    def start_batch(
        self,
        labels: Int64[Tensor, "batch *_"] | None = None,
        *,
        mask: Shaped[Tensor, "_ *_"] | None = None,
    ) -> None:
        """Start the counts of a new batch; without these, each call of the network starts one.

        Args:
            labels: clean ones, a number a sample or a token.
            mask: true, or 1, where a token counts and is no padding: (batch, tokens), also where the network has the
                tokens first; or one a sample.

        Raises:
            ValueError: if the mask holds other numbers than 0 and 1.
        """
        self._has_batches = True
        self._start_pass(labels, mask)

    @property
    def metrics(self) -> dict[str, ActivationSparsity]:
        """The counts of each layer, by name."""
        self._finish_pass()
        return self._counts

    def compute(self) -> dict[str, Tensor]:
        """Compute the values of all layers together and of each, as `collect_layer_values` names them.

        Raises:
            ValueError: if nothing was counted.
        """
        if not self.metrics:
            raise ValueError(self.describe_nothing())
        return collect_layer_values(self.metrics)

    def check(self) -> None:
        """Check that each pattern has matched something, if the network was called.

        Raises:
            ValueError: naming the pattern that has not, and what there is.
        """
        if self.has_run:
            for pattern in self._layers or ():
                if not choose_layers(self._seen, [pattern]) - self._named() and pattern not in self._named():
                    raise ValueError(describe_no_match(self._module, pattern, self._seen))

    def gathered(self, device: torch.device | str = "cpu") -> dict[str, ActivationSparsity]:
        """Return one metric a layer with the counts of all processes; all processes must call it.

        Args:
            device: for the counts of a process that has seen no batch.
        """
        metrics: dict[str, ActivationSparsity] = {}
        for known in _gather_layers({layer: metric.num_classes for layer, metric in self.metrics.items()}):
            metrics |= {layer: self._new_metric(number).to(device) for layer, number in known.items()}
        return {layer: metric.gathered() for layer, metric in (metrics | self.metrics).items()}

    def describe_nothing(self) -> str:
        """Return in one line why nothing was counted."""
        if not self.has_run:
            return f"{type(self._module).__name__} was not called, so nothing was counted: call it inside the block"
        return describe_none(self._module)

    def _named(self) -> set[str]:
        return {name for name, kind in self._seen.items() if kind is Kind.CHOSEN}

    def _name_modules(self) -> dict[nn.Module, tuple[str, Kind]]:
        """Name the modules whose outputs are counted."""
        named = {child: (name, Kind.CHOSEN) for child, name in find_named(self._module, self._layers).items()}
        found = {name: child for name, child in self._module.named_modules() if self._frames[child].kind}
        relus = {name for name, child in found.items() if self._frames[child].kind is Kind.RELU}
        for some in (relus, found.keys() - relus):  # a name is short among those of its kind
            named |= {found[name]: (short, self._frames[found[name]].kind) for name, short in short_names(some).items()}
        return named

    def _new_metric(self, num_classes: int | None) -> ActivationSparsity:
        return ActivationSparsity(num_classes, **self._how)

    def _start_pass(self, labels: Tensor | None, mask: Tensor | None) -> None:
        self._finish_pass()
        self._rows.start(labels, mask)
        self._calls: Counter[str] = Counter()

    def _finish_pass(self) -> None:
        """Close what may have gone into a product, and drop what is not chosen among all that was seen."""
        self._open: dict[int, _Open] = {}
        self._weights.clear()
        chosen = choose_layers(self._seen, self._layers)
        self._dropped = self._seen.keys() - chosen
        self._counts = {name: metric for name, metric in self._counts.items() if name.partition(":")[0] in chosen}

    def _enter_module(self, module: nn.Module, _inputs: Any) -> None:
        if not self._stack and not self._has_batches and not self._tracker.is_bw:
            self._start_pass(None, None)
        self._stack.append(self._frames[module])

    def _leave_module(self, _module: nn.Module, _inputs: Any, _output: Any) -> None:
        if self._stack:
            self._stack.pop()

    def _count_module(self, module: nn.Module, inputs: Any, output: Any) -> None:
        self.has_run = True
        if module in self._names and not self._tracker.is_bw:
            name, kind = self._names[module]
            if kind is Kind.CHOSEN or not self._weights.note(inputs, output):
                self._rows.note_module(module, inputs, output)
                self._count_call(name, kind, output)

    @property
    def called(self) -> set[str]:
        """The names of all activations that were called, whether they are counted or not."""
        return set(self._seen)

    @property
    def is_inside(self) -> bool:
        """Whether a module of the network is being called."""
        return bool(self._stack)

    def see_call(
        self, function: Callable[..., Any], arguments: tuple[Any, ...], named: Mapping[str, Any], output: Any
    ) -> None:
        """Count the call of a function that a module has just made, if it is that of an activation."""
        if self._tracker.is_bw:
            return
        every = _flatten((*arguments, *named.values()))
        is_of_weights = self._weights.note(every, output)
        self._rows.note(function, every, output, is_constant=self._weights.holds)
        if self._open:
            self._follow_outputs(function, every, output)
        frame = self._stack[-1]
        is_of_step = self._root_is_step and len(self._stack) == 1
        if function in FUNCTIONS and frame.kind is None and not is_of_step and not is_of_weights:
            name = FUNCTIONS[function][0]
            self._count_call(f"{frame.prefix}{name}", kind_of_call(function, arguments, named), output)

    def _follow_outputs(self, function: Callable[..., Any], arguments: Sequence[Any], output: Any) -> None:
        """Count a product, or a power, in place of the activation that went into it."""
        used = [self._open[id(value)] for value in arguments if id(value) in self._open]
        if not used or not any(isinstance(value, Tensor) for value in _flatten((output,))):
            return  # who asks for a shape uses nothing
        for first in used:
            self._open.pop(id(first.output), None)
        first = used[0]
        if function in _CASTS:
            self._open[id(output)] = first._replace(output=output)
        elif _is_refined(function, arguments, output) and not any(self._weights.holds([one]) for one in arguments):
            if first.before is None:
                del self._counts[first.layer]
            else:
                for key, value in first.before.items():
                    setattr(self._counts[first.layer], key, value)
            self._count(first.layer, output, features_last=first.features_last, batch_first=first.batch_first)

    def _count_call(self, name: str, kind: Kind, output: Any) -> None:
        if not isinstance(output, Tensor):
            raise ValueError(f"layer {name!r} must give a tensor to be counted, got a {type(output).__name__}")
        if name in self._dropped:
            return
        self._seen.setdefault(name, kind)
        self._calls[name] += 1
        layer = name if self._calls[name] == 1 else f"{name}:{self._calls[name]}"
        found = (frame.batch_first for frame in reversed(self._stack) if frame.batch_first is not None)
        batch_first = next(found, None) if self._batch_first is None else self._batch_first
        last = self._rows.layouts.features_last(output)
        self._count(layer, output, features_last=last, batch_first=batch_first)

    def _count(self, layer: str, output: Tensor, *, features_last: bool, batch_first: bool | None) -> None:
        """Add a batch to the counts of a layer; torch's calls in here are not those of the network."""
        token = _COUNTING.set(True)
        try:
            metric = self._counts.get(layer)
            before = None
            if metric is not None:
                before = {key: getattr(metric, key) for key in metric.metric_state}
            else:
                metric = self._new_metric(self._num_classes if self._rows.has_labels else None).to(output.device)
            rows, labels = self._rows.split(layer, output, features_last=features_last, batch_first=batch_first)
            metric.update(rows, labels)
            self._counts[layer] = metric
            self._open[id(output)] = _Open(output, layer, before, features_last, batch_first)
        except Exception as error:  # of a RuntimeError too, as where the network is called under torch.func.vmap
            error.add_note(f"while counting the firings of layer {layer!r}")
            raise
        finally:
            _COUNTING.reset(token)


class _Calls(TorchFunctionMode):
    """Show a counter each call of a function of torch."""

    def __init__(self, counter: ActivationCounter) -> None:
        super().__init__()
        self._counter = counter

    @no_type_check  # torch calls it at every turn, and checks of types in tests would take longer than all else
    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        named = kwargs or {}
        output = func(*args, **named)
        if self._counter.is_inside and not _COUNTING.get():
            token = _COUNTING.set(True)  # for the counter of a block around
            try:
                self._counter.see_call(func, args, named, output)
            finally:
                _COUNTING.reset(token)
        return output


def _unwrap(module: nn.Module) -> nn.Module:
    wrappers = (nn.parallel.DistributedDataParallel, nn.DataParallel)
    return module.module if isinstance(module, wrappers) else module


def _find_scripted(module: nn.Module) -> str | None:
    """Return the first part that is compiled by torch.jit, whose calls nothing sees."""
    scripted = (name for name, part in module.named_modules() if isinstance(part, torch.jit.ScriptModule))
    return next((f"{name or 'all of it'!r}" for name in scripted), None)


def _flatten(arguments: Sequence[Any]) -> list[Any]:
    lists = [value if isinstance(value, list | tuple) else [value] for value in arguments]
    return [value for values in lists for value in values]


def _is_refined(function: Callable[..., Any], arguments: Sequence[Any], output: Any) -> bool:
    """Return whether a call makes the units of a layer of an activation: a product of two tensors alike, or a power."""
    tensors = [value for value in arguments if isinstance(value, Tensor)]
    if function in _PRODUCTS:
        return len(tensors) == 2 and all(t.is_floating_point() and t.shape == output.shape for t in tensors)
    return function in _POWERS and all(isinstance(value, int | float) and value > 0 for value in arguments[1:])


def _gather_layers(known: dict[str, int | None]) -> list[dict[str, int | None]]:
    every = [known] * num_processes()
    if len(every) > 1:
        distributed.all_gather_object(every, known)
    return every
