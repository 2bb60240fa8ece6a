"""The ReLUs of a network, or other modules that are chosen by name: which there are, and how often each unit fires."""

import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, distributed, nn

from noisereg.metrics.layer_names import short_names
from noisereg.metrics.sparsity import ActivationSparsity

RELUS = (nn.ReLU, nn.ReLU6)
# Their outputs have the sign of their inputs, so that an output > 0 says that the pre-activation is > 0.
KEEP_SIGN = (
    nn.GELU,
    nn.SiLU,
    nn.Mish,
    nn.Hardswish,
    nn.LeakyReLU,
    nn.RReLU,
    nn.PReLU,
    nn.ELU,
    nn.SELU,
    nn.CELU,
    nn.Tanh,
    nn.Hardtanh,
    nn.Softsign,
)


def find_relus(module: nn.Module, layers: Sequence[str] | None = None) -> dict[str, nn.Module]:
    """Find the modules of a network whose firings are counted, by name: its ReLUs, or what is chosen.

    A pattern chooses among the ReLUs (nn.ReLU and nn.ReLU6). If it matches none, it chooses among the other activations
    that keep the sign of their input, such as nn.GELU, nn.SiLU or nn.LeakyReLU. If it matches none of these either, it
    must be the whole name of a module of any kind: the layer before a call of `torch.nn.functional.relu`, say, as its
    output is > 0 exactly where that of the call is. A unit of a chosen module is active where the module's output is
    > 0; for an activation that keeps signs that is where its input is > 0.

    Args:
        module: any module.
        layers: patterns (`*`, `?`, `[abc]`) of the names to keep; None keeps all ReLUs and nothing else.

    Returns:
        The modules by their short names (see `short_names`), in the module's order.

    Raises:
        ValueError: if a pattern matches nothing.

    Example:
        >>> net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.ReLU(), nn.GELU())
        >>> list(find_relus(net)), list(find_relus(net, ["2", "3", "0"]))
        (['1', '2'], ['0', '2', '3'])
    """
    if layers is None:
        return _find_kinds(module, RELUS)
    chosen = {name: child for pattern in layers for name, child in _match_pattern(module, pattern).items()}
    place = {child: number for number, child in enumerate(module.modules())}
    return dict(sorted(chosen.items(), key=lambda named: place[named[1]]))


def why_no_relus(module: nn.Module) -> str | None:
    """Return in one line why a network has nothing to watch, and what to do about it; None if it has ReLUs.

    Example:
        >>> print(why_no_relus(nn.Sequential(nn.Linear(2, 2), nn.GELU())).partition(";")[0])
        Sequential has no nn.ReLU, by whose output > 0 a unit is called active, but 1 GELU
    """
    if _find_kinds(module, RELUS):
        return None
    name, others = type(module).__name__, _find_kinds(module, KEEP_SIGN)
    if not others:
        return (
            f"{name} has no nn.ReLU and no other activation module, and calls of torch.nn.functional.relu are not "
            "seen; make these nn.ReLU modules, or name the layers whose outputs they take: layers=['name', ...]"
        )
    kinds = Counter(type(child).__name__ for child in others.values())
    first = next(iter(others))
    return (
        f"{name} has no nn.ReLU, by whose output > 0 a unit is called active, but "
        f"{', '.join(f'{number} {kind}' for kind, number in kinds.items())}; to count where the outputs of these are "
        f"> 0, choose them by name: layers=['{first}'], or ['*'] for all"
    )


class ReluCounter:
    """Count the firings of ReLUs, or where the outputs of other modules are > 0, while the `with` block lasts.

    The outputs must be tensors whose first axis is the batch: what a transformer hands on with the tokens first is not
    understood. A module that is called more than once in a batch gives one layer a call: "relu", "relu:2" and so on.
    Compiled networks run eagerly inside the block, as torch.compile does not see hooks that come after it.

    Args:
        relus: the modules by name, see `find_relus`.
        num_classes: how many classes to tell apart in batches that come with labels; None: none.

    Example:
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
        if "torch._dynamo" in sys.modules:  # else nothing is compiled, and set_stance would import it for seconds
            self._open.enter_context(torch.compiler.set_stance("force_eager"))
        for name, relu in self._relus.items():
            self._open.callback(relu.register_forward_hook(self._hook(name)).remove)
        return self

    def __exit__(self, *exception: object) -> None:
        self._open.close()

    def start_batch(self, labels: Tensor | None = None) -> None:
        """Start the counts of a new batch, whose clean labels may be given."""
        self._labels = labels
        self._calls.clear()

    def gathered(self, device: torch.device | str = "cpu") -> dict[str, ActivationSparsity]:
        """Return one metric a layer with the counts of all processes; all processes must call it.

        Args:
            device: for the counts of a process that has seen no batch.
        """
        metrics: dict[str, ActivationSparsity] = {}
        for known in _gather_layers({layer: metric.num_classes for layer, metric in self.metrics.items()}):
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


def _find_kinds(module: nn.Module, kinds: tuple[type[nn.Module], ...]) -> dict[str, nn.Module]:
    relus = RELUS if kinds is not RELUS else ()  # nn.ReLU6 is an nn.Hardtanh
    found = {
        name: child
        for name, child in module.named_modules()
        if isinstance(child, kinds) and not isinstance(child, relus)
    }
    return {short: found[name] for name, short in short_names(found).items()}


def _match_pattern(module: nn.Module, pattern: str) -> Mapping[str, nn.Module]:
    known = {"ReLUs": _find_kinds(module, RELUS), "activations": _find_kinds(module, KEEP_SIGN)}
    for named in known.values():
        if found := {name: child for name, child in named.items() if fnmatchcase(name, pattern)}:
            return found
    whole = dict(module.named_modules())
    every = {short: whole[name] for name in whole for short in short_names([name]).values()}
    if pattern in every | whole:
        return {pattern: (every | whole)[pattern]}
    kind, named = next(((kind, named) for kind, named in known.items() if named), ("modules", every))
    raise ValueError(f"layers must match names of {kind}, got {pattern!r}; there are: {', '.join(filter(None, named))}")


def _gather_layers(known: dict[str, int | None]) -> list[dict[str, int | None]]:
    if not (distributed.is_available() and distributed.is_initialized()):
        return [known]
    every: list[dict[str, int | None]] = [{} for _ in range(distributed.get_world_size())]
    distributed.all_gather_object(every, known)
    return every
