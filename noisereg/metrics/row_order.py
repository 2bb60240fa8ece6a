"""Which rows of an earlier tensor the rows of a tensor are, where a network takes rows in an order of its own.

Experts take the tokens that a router sends them, and networks without padding the tokens that count: both index the
rows by a tensor. Whose row is whose is remembered from there on, so that labels and masks can be laid over them.
"""

import weakref
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, no_type_check

import torch
from jaxtyping import Int64
from torch import Tensor

_SELECTS = frozenset((torch.index_select, Tensor.index_select))
_WRITES = frozenset(
    getattr(place, spelling)
    for place in (torch, Tensor)
    for name in ("index_add", "index_copy", "index_put", "scatter", "scatter_add", "scatter_reduce", "masked_scatter")
    for spelling in (name, f"{name}_")
    if hasattr(place, spelling)
)  # of rows into others, which keep their order


class Order(NamedTuple):
    """Rows of an earlier tensor.

    Attributes:
        lead: sizes of its axes that were joined to rows.
        owners: the number of each row among them.
    """

    lead: torch.Size
    owners: Int64[Tensor, " rows"]


class RowOrder:
    """Follow the rows of tensors.

    Example:
        >>> rows, tokens, picked = RowOrder(), torch.ones(4, 2), torch.tensor([3, 0, 3])
        >>> rows.note(Tensor.__getitem__, (tokens, picked), chosen := tokens[picked])
        >>> rows.note(torch.relu, (chosen,), output := torch.relu(chosen))
        >>> rows.find(output)
        Order(lead=torch.Size([4]), owners=tensor([3, 0, 3]))
    """

    def __init__(self) -> None:
        self._found: dict[int, tuple[weakref.ref[Tensor], Order]] = {}

    def clear(self) -> None:
        """Forget all."""
        self._found.clear()

    def find(self, tensor: Tensor) -> Order | None:
        """Return which rows those of a tensor are; None where they were not taken by an index."""
        reference, order = self._found.get(id(tensor), (None, None))
        return order if reference is not None and reference() is tensor else None

    @no_type_check  # as it is called at every call of a function
    def note(
        self,
        function: Callable[..., Any],
        arguments: Sequence[Any],
        output: Any,
        *,
        is_constant: Callable[[Sequence[Any]], bool] = lambda _: False,
    ) -> None:
        """Remember the rows of the output of a call.

        Args:
            function: that was called.
            arguments: of the call, without lists in them.
            output: of it; a tensor, or several, as of a chunk.
            is_constant: whether tensors are the same for all inputs, as weights: their rows are nobody's.
        """
        every = output if isinstance(output, list | tuple) else [output]
        outputs = [value for value in every if isinstance(value, Tensor) and value.ndim]
        if not outputs or function in _WRITES:
            return
        order = _select(function, arguments)
        if order is not None:
            before = self.find(arguments[0]) if len(order.lead) == 1 else None
            if not is_constant(arguments[:1]):
                self._keep(output, order if before is None else Order(before.lead, before.owners[order.owners]))
            return
        tensors = [value for value in arguments if isinstance(value, Tensor) and value.ndim]
        orders = [order for tensor in tensors if (order := self.find(tensor)) is not None]
        for value in outputs if orders else ():
            if found := [order for order in orders if len(order.owners) in (len(value), _first_size(value))]:
                self._keep(value, found[0])

    def _keep(self, tensor: Tensor, order: Order) -> None:
        self._found[id(tensor)] = weakref.ref(tensor), order


@no_type_check
def _first_size(value: Tensor) -> int:
    """Return the size of the first axis that is longer than 1."""
    return next((size for size in value.shape if size > 1), 1)


@no_type_check
def _select(function: Callable[..., Any], arguments: Sequence[Any]) -> Order | None:
    """Return the rows that a call takes from its first argument by one tensor; None if it does not."""
    if function in _SELECTS:
        source, *others = arguments  # axis and index may be named, in any order
        axis = next(value for value in others if isinstance(value, int))
        index = next(value for value in others if isinstance(value, Tensor))
        return Order(source.shape[:1], index.long()) if axis in (0, -source.ndim) else None
    if function is not Tensor.__getitem__:
        return None
    source, *keys = arguments
    keys = [key for key in keys if key is not None]  # which adds an axis of one
    if len(keys) != 1 or not isinstance(keys[0], Tensor):
        return None
    key = keys[0]
    if key.dtype == torch.bool:
        return Order(source.shape[: key.ndim], key.flatten().nonzero().flatten()) if key.ndim else None
    return Order(source.shape[:1], key.long()) if key.ndim == 1 else None
