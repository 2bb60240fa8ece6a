"""Which sample or token each row of a layer is: the labels and the mask of a batch, laid over the rows."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Int64, Shaped
from torch import Tensor, nn

from noisereg.metrics.row_order import Order, RowOrder
from noisereg.metrics.units import Layouts, split_rows, spread_labels, spread_mask, unpad_labels


class BatchRows:
    """Split the outputs of layers into rows of units, each with its label, and leave out those that do not count.

    Args:
        units: see `ActivationCounter`.
        batch_first: see `ActivationCounter`.
        ignore_index: see `ActivationCounter`.
        has_classes: whether rows have labels; else these only mark what to leave out.
        has_tokens_first: whether a part of the network has the tokens before the batch.

    Attributes:
        layouts: of the layers with weights that the batch has gone through.

    Example:
        >>> rows = BatchRows(units=None, batch_first=None, ignore_index=-100, has_classes=True, has_tokens_first=False)
        >>> rows.start(torch.tensor([3, 4]), None)
        >>> units, labels = rows.split("relu", torch.ones(2, 2, 5), features_last=True, batch_first=None)
        >>> units.shape, labels
        (torch.Size([4, 5]), tensor([3, 3, 4, 4]))
    """

    def __init__(
        self,
        *,
        units: str | None,
        batch_first: bool | None,
        ignore_index: int | None,
        has_classes: bool,
        has_tokens_first: bool,
    ) -> None:
        self._units, self._batch_first, self._ignore_index = units, batch_first, ignore_index
        self._has_classes, self._has_tokens_first = has_classes, has_tokens_first
        self._order = RowOrder()
        self.forget()
        self.start(None, None)

    def forget(self) -> None:
        """Forget which axes of the layers were that of the batch."""
        self._firsts: dict[str, bool] = {}  # of layers whose sizes have shown it

    def start(self, labels: Int64[Tensor, "batch *_"] | None, mask: Shaped[Tensor, "_ *_"] | None) -> None:
        """Start a batch.

        Raises:
            ValueError: if the mask holds other numbers than 0 and 1.
        """
        self._labels, self._mask = labels, None if mask is None else _check_mask(mask)
        self.layouts = Layouts()
        self._order.clear()

    @property
    def has_labels(self) -> bool:
        """Whether the batch has labels."""
        return self._labels is not None

    def note(
        self,
        function: Callable[..., Any],
        arguments: Sequence[Any],
        output: Any,
        *,
        is_constant: Callable[[Sequence[Any]], bool],
    ) -> None:
        """Remember what the call of a function makes of the rows, see `RowOrder.note`."""
        if self._labels is not None or self._mask is not None:
            self._order.note(function, arguments, output, is_constant=is_constant)
        self.layouts.note(function, output)

    def note_module(self, module: nn.Module, inputs: Sequence[Any], output: Any) -> None:
        """Remember the rows of what a module has made by a function of its own, whose call torch does not show."""
        if isinstance(output, Tensor) and self._order.find(output) is None:
            self._order.note(type(module).forward, inputs, output)

    def split(
        self, layer: str, output: Tensor, *, features_last: bool, batch_first: bool | None
    ) -> tuple[Tensor, Tensor | None]:
        """Return the rows of a layer's output that count, and their labels.

        Args:
            layer: name of it.
            output: of it.
            features_last: see `Layouts`.
            batch_first: as the attention around the layer says; None if there is none.

        Raises:
            ValueError: if the labels or the mask do not fit the rows, or fit them in two ways.
        """
        first = batch_first is not False
        batch = self.layouts.as_batch(output.detach())
        rows, lead = split_rows(batch, features_last=features_last, units=self._units, batch_first=first)
        labels, mask, keep = self._labels, self._mask, None
        if labels is not None and not self._has_classes and labels.ndim == 1:
            labels = None  # those of tokens may mark what to leave out
        given = labels if mask is None else mask
        if given is None:
            return rows, None
        order = self._find_order(output, lead, size=len(given))
        lead = lead if order is None else order.lead
        is_unpadded = mask is not None and mask.ndim > 1 and _is_unpadded(lead, mask)
        if self._batch_first is None and not is_unpadded:
            first = self._is_batch_first(layer, lead, size=len(given), found=batch_first)
        if labels is not None:
            if mask is not None and is_unpadded:
                labels = unpad_labels(labels, mask)
            else:
                is_named = self._batch_first is not None
                labels = spread_labels(labels, lead, batch_first=first, is_named=is_named)
            labels = labels if order is None else labels[order.owners]
            if self._ignore_index is not None:
                keep = labels != self._ignore_index
        if mask is not None and not is_unpadded:
            if self._units == "positions" and mask.ndim > 1:
                raise ValueError("mask needs units that are features, got units='positions'")
            inside = spread_mask(mask, lead, batch_first=first)
            inside = inside if inside is None or order is None else inside[order.owners]
            keep = inside if keep is None else keep if inside is None else keep & inside
        if keep is not None and not keep.all():  # else a copy of all outputs, for nothing
            rows = rows[keep]
            labels = None if labels is None else labels[keep]
        return rows, labels if self._has_classes else None

    def _find_order(self, output: Tensor, lead: torch.Size, *, size: int) -> Order | None:
        """Return which rows of the batch those of an output are, if they were taken by an index; None if in order."""
        order = self._order.find(output)
        if order is None or lead.numel() != len(order.owners) or not size:
            return None
        num_rows = order.lead.numel()
        fits = num_rows == size if lead.numel() == size else num_rows % size == 0
        return order if fits else None  # else the rows are not those of the batch, as where a constant is indexed by it

    def _is_batch_first(self, layer: str, lead: torch.Size, *, size: int, found: bool | None) -> bool:
        """Return which of the axes that were joined to rows is the batch, where the caller has not named it.

        It is the one of the batch's size. If both are, it is the one that it was before, or that the attention around
        the layer has there. If nothing is known of it, or the tokens were joined with the samples before, it is the
        first, unless a part of the network has the tokens first.

        Raises:
            ValueError: if it may be either.
        """
        if lead.numel() == size:
            return True
        first, second = lead[0] == size, len(lead) > 1 and lead[1] == size
        if first != second:
            self._firsts[layer] = first
            return first
        known = self._firsts.get(layer, found) if first else found or None
        if known is None and self._has_tokens_first:
            raise ValueError(
                f"labels and masks of {size} samples fit activations {tuple(lead)} in two ways, as a part of the "
                "network has the tokens first: give batch_first=False if this layer has, else batch_first=True"
            )
        return known is not False


def _is_unpadded(lead: torch.Size, mask: Bool[Tensor, "batch tokens"]) -> bool:
    """Return whether rows are the tokens that count and no others."""
    return len(lead) == 1 and lead[0] not in (mask.numel(), len(mask)) and lead[0] == int(mask.sum())


def _check_mask(mask: Tensor) -> Bool[Tensor, "batch *tokens"]:
    found = mask.bool()
    if mask.dtype != torch.bool and not torch.equal(found.to(mask.dtype), mask):
        raise ValueError("mask must hold True or 1 where a token counts and False or 0 where not, got other numbers")
    return found
