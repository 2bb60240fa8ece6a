"""Which layers of a network can lose units: what makes a unit, and what alone reads it.

A unit can go if it is a row of one linear map or a channel of one convolution, perhaps behind a batch norm, goes
through one ReLU, and is read by linear maps and convolutions alone. Only what keeps zeros may lie between, poolings,
means over positions and flattening: then a unit that does not fire adds exactly nothing. All this is found in the graph
of `torch.export`, whose nodes are torch's own operations, whatever modules and functions the network is written with.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node

_aten = torch.ops.aten
_RELUS = (_aten.relu.default, _aten.relu_.default)
_NORMS = (_aten.batch_norm.default,)
_CONVOLUTIONS = (_aten.conv1d.default, _aten.conv2d.default, _aten.conv3d.default)
_GROUPS = 6  # place of the argument of a convolution
_KEEP_ZEROS = (  # and leave every axis where it is
    *_RELUS,
    _aten.max_pool1d.default,
    _aten.max_pool2d.default,
    _aten.avg_pool1d.default,
    _aten.avg_pool2d.default,
    _aten.adaptive_avg_pool1d.default,
    _aten.adaptive_avg_pool2d.default,
    _aten.dropout.default,
    _aten.dropout_.default,
    _aten.feature_dropout.default,
    _aten.contiguous.default,
    _aten.clone.default,
    _aten.detach.default,
)
_FLATTEN = _aten.flatten.using_ints
_MEAN = _aten.mean.dim


class Reader(NamedTuple):
    """A weight that reads units along its second axis.

    Attributes:
        weight: its name.
        width: columns that each unit has there: positions that were flattened beside it.
    """

    weight: str
    width: int


@dataclass(frozen=True, eq=False)
class Layer:
    """A layer that can lose units.

    Attributes:
        name: of the linear map or convolution that makes them.
        size: number of units.
        rows: names of the parameters and buffers that have a row for each unit.
        readers: weights that read them.
        node: of the graph, whose output is that of the ReLU.
        axis: of the units there.
    """

    name: str
    size: int
    rows: Sequence[str]
    readers: Sequence[Reader]
    node: str
    axis: int


@dataclass(frozen=True)
class LayerMap:
    """What was found in a network.

    Attributes:
        graph: of its operations for batches of one size, as a module.
        layers: that can lose units, in the order in which they are computed.
        left_alone: why each other ReLU can lose none, by its place in the network.
    """

    graph: GraphModule
    layers: Sequence[Layer]
    left_alone: Mapping[str, str] = field(default_factory=dict)


class CannotPruneError(ValueError):
    """Why a layer, or a network, can lose no unit."""


def find_layers(module: nn.Module, inputs: Tensor) -> LayerMap:
    """Find the layers of a network that can lose units.

    Args:
        module: in eval mode.
        inputs: of the batches that the graph is to be run on, at least 2 of them; their values play no part.

    Raises:
        CannotPruneError: if `torch.export` cannot make a graph of the network.

    Example:
        >>> net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).eval()
        >>> (layer,) = find_layers(net, torch.zeros(2, 4)).layers
        >>> layer.name, layer.size, layer.rows, layer.readers
        ('0', 3, ['0.weight', '0.bias'], [Reader(weight='2.weight', width=1)])
    """
    try:
        graph = torch.export.export(module, (inputs,), strict=False).module()
    except Exception as error:
        reason = str(error).strip().splitlines()[:1] or [type(error).__name__]
        raise CannotPruneError(
            f"{type(module).__name__} has no graph that torch.export can make ({reason[0]})"
        ) from error
    tied = _tied_names(module)
    layers: list[Layer] = []
    left_alone: dict[str, str] = {}
    for node in graph.graph.nodes:
        if node.op == "call_function" and node.target in _RELUS:
            try:
                layers.append(_describe_layer(node, tied))
            except CannotPruneError as reason:
                left_alone[_place(node)] = str(reason)
    return LayerMap(graph, layers, left_alone)


def _describe_layer(relu: Node, tied: set[str]) -> Layer:
    source, rows = _only_input(relu), []
    if source.target in _NORMS:
        rows = [_name(node, tied) for node in source.args[1:5] if node is not None]
        source = _only_input(source)
    if source.target not in (_aten.linear.default, *_CONVOLUTIONS):
        raise CannotPruneError(f"its input is the outcome of {_operation(source)}, and no linear map or convolution")
    _check_groups(source)
    own = [_name(node, tied) for node in source.args[1:3] if node is not None]
    axis = 1 if source.target in _CONVOLUTIONS else len(_shape(relu)) - 1
    readers = list(_find_readers(relu, axis, 1, tied))
    if not readers:
        raise CannotPruneError("nothing reads its output")
    return Layer(own[0].rpartition(".")[0], _shape(relu)[axis], [*own, *rows], readers, relu.name, axis)


def _only_input(node: Node) -> Node:
    """Return the input of an operation, if nothing else reads it."""
    source = node.args[0]
    if not isinstance(source, Node) or source.op != "call_function":
        raise CannotPruneError("its input is that of the network")
    if len(source.users) > 1:
        raise CannotPruneError(f"the outcome of {_operation(source)} before it is read elsewhere too")
    return source


def _find_readers(node: Node, axis: int, width: int, tied: set[str]) -> Iterator[Reader]:
    """Yield the weights that read the units on an axis of a node's output, each of which is `width` long there."""
    for user in node.users:
        shape, target = _shape(node), user.target
        given: Any = user.args
        if target in _KEEP_ZEROS and given[0] is node:
            yield from _find_readers(user, axis, width, tied)
        elif target is _FLATTEN and axis == 1 and _argument(user, 1, 0) % len(shape) == 1:
            last = _argument(user, 2, -1) % len(shape)
            yield from _find_readers(user, 1, width * math.prod(shape[2 : last + 1]), tied)
        elif target is _MEAN and given[1] and axis not in (dims := [dim % len(shape) for dim in given[1]]):
            moved = 0 if _argument(user, 2, False) else sum(dim < axis for dim in dims)
            yield from _find_readers(user, axis - moved, width, tied)
        elif target in _CONVOLUTIONS and axis == 1 and given[0] is node:
            _check_groups(user)
            yield Reader(_name(given[1], tied), width)
        elif target is _aten.linear.default and axis == len(shape) - 1 and given[0] is node:
            yield Reader(_name(given[1], tied), width)
        else:
            raise CannotPruneError(f"its output is read by {_operation(user)}")


def _argument(node: Node, place: int, default: Any) -> Any:
    return node.args[place] if len(node.args) > place else default


def _check_groups(node: Node) -> None:
    if node.target in _CONVOLUTIONS and _argument(node, _GROUPS, 1) != 1:
        raise CannotPruneError("a convolution in groups ties its channels to others")


def _name(node: Any, tied: set[str]) -> str:
    """Return the name of a parameter or buffer that this operation alone uses as it is."""
    if not (isinstance(node, Node) and node.op == "get_attr"):
        raise CannotPruneError("a weight is the outcome of a computation")
    name = str(node.target)
    if len(node.users) > 1 or name in tied:
        raise CannotPruneError(f"{name} is used in several places")
    return name


def _tied_names(module: nn.Module) -> set[str]:
    """Return the names of parameters and buffers that have another name too."""
    parameters, buffers = module.named_parameters(remove_duplicate=False), module.named_buffers(remove_duplicate=False)
    named = [(name, id(tensor)) for name, tensor in (*parameters, *buffers)]
    times = Counter(tensor for _, tensor in named)
    return {name for name, tensor in named if times[tensor] > 1}


def _shape(node: Node) -> tuple[int, ...]:
    return tuple(node.meta["val"].shape)


def _operation(node: Node) -> str:
    """Return what an operation is called, as in relu, or what else a node is."""
    return str(node.target).split(".")[1].rstrip("_") if node.op == "call_function" else "the caller of the network"


def _place(node: Node) -> str:
    """Return the name of the module that calls an operation, and the operation if it is not that module's own."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    path = stack[-1][0] if stack else ""
    return path or node.name
