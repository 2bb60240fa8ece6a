"""What the units of a layer are: the features of its tokens, or the positions of its channels; and who owns each row.

A linear layer has its features on the last axis, and all axes before it count samples and tokens. A convolution has its
channels on the second axis and places behind it. Which of the two an activation follows is seen from the layers with
weights that were called before it, see `Layouts`; labels and masks are then laid over the rows.
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Bool, Float, Int64, Shaped
from torch import Tensor, nn
from torch.nn import functional

UNITS = ("features", "positions")


def find_spellings(*names: str) -> set[Callable[..., Any]]:
    """Find the functions of torch of some names, also those that write into their input and those of exported graphs.

    Example:
        >>> {torch.relu, Tensor.relu_, functional.relu, torch.ops.aten.relu.default} <= find_spellings("relu")
        True
    """
    places = (functional, torch, Tensor, torch.ops.aten)
    found = [getattr(place, name + ending, None) for place in places for name in names for ending in ("", "_")]
    graphs = [getattr(packet, name) for packet in found for name in getattr(packet, "overloads", list)()]
    return {function for function in (*found, *graphs) if function is not None}


_LAST = find_spellings("linear", "bilinear", "embedding", "addmm", "matmul", "bmm", "mm")
_SECOND = find_spellings("convolution", *(f"conv{kind}{n}d" for kind in ("", "_transpose") for n in (1, 2, 3)))
_OF_ONE_SAMPLE = {  # axes of an output without that of a batch
    **dict.fromkeys(find_spellings("linear"), 1),
    **{function: n + 1 for n in (1, 2, 3) for function in find_spellings(f"conv{n}d", f"conv_transpose{n}d")},
}


class Layouts:
    """Remember where the layers with weights of a pass have their features.

    Example:
        >>> layouts = Layouts()
        >>> layouts.note(functional.conv1d, torch.zeros(2, 16, 9))
        >>> layouts.features_last(torch.zeros(2, 16, 9)), layouts.features_last(torch.zeros(2, 9))
        (False, True)
    """

    def __init__(self) -> None:
        self._by_shape: dict[torch.Size, tuple[bool, bool]] = {}  # whether features are last, and of one sample
        self._by_axes: dict[int, tuple[bool, bool]] = {}

    def note(self, function: Callable[..., Any], output: Any) -> None:
        """Remember the outputs of a function, if it is one with weights."""
        last = function in _LAST
        if (last or function in _SECOND) and isinstance(output, Tensor):
            found = last, output.ndim == _OF_ONE_SAMPLE.get(function)
            self._by_shape[output.shape] = self._by_axes[output.ndim] = found

    def features_last(self, activations: Tensor) -> bool:
        """Return whether the features are on the last axis, and not on the second with places behind it.

        It is so if the last layer with weights and outputs of this shape has it so; if there was none, the last one
        with as many axes; if there was none either, three axes are those of tokens, and more those of images.
        """
        found = self._find(activations)
        return activations.ndim <= 3 if found is None else found[0]

    def as_batch(self, activations: Tensor) -> Tensor:
        """Return activations with an axis of the batch in front, where the layers with weights saw one sample alone.

        Example:
            >>> layouts = Layouts()
            >>> layouts.note(functional.linear, torch.zeros(16))
            >>> layouts.as_batch(torch.zeros(16)).shape
            torch.Size([1, 16])
        """
        _, is_single = self._find(activations) or (True, False)
        return activations[None] if is_single else activations

    def _find(self, activations: Tensor) -> tuple[bool, bool] | None:
        return self._by_shape.get(activations.shape, self._by_axes.get(activations.ndim))


def split_rows(
    activations: Float[Tensor, "*shape"], *, features_last: bool, units: str | None, batch_first: bool
) -> tuple[Float[Tensor, "rows *units"], torch.Size]:
    """Return activations as rows of units, and the sizes of the axes that were joined to rows.

    Args:
        activations: at least one axis.
        features_last: where the features are, see `Layouts`.
        units: "features" or "positions"; None for features of tokens and positions of channels.
        batch_first: whether the first axis is the batch; else the second is, where tokens have three axes.

    Example:
        >>> rows, lead = split_rows(torch.zeros(2, 7, 5), features_last=True, units=None, batch_first=True)
        >>> rows.shape, lead
        (torch.Size([14, 5]), torch.Size([2, 7]))
    """
    if activations.ndim <= 2:
        return activations, activations.shape[:1]
    if features_last and units == "positions":
        swapped = activations if batch_first else activations.transpose(0, 1)
        return (swapped.movedim(-1, 1) if swapped.ndim > 3 else swapped), swapped.shape[:1]
    if not features_last and units != "features":
        return activations, activations.shape[:1]
    last = activations if features_last else activations.movedim(1, -1)
    return last.reshape(-1, last.shape[-1]), last.shape[:-1]


def spread_labels(
    labels: Int64[Tensor, "batch *tokens"], lead: torch.Size, *, batch_first: bool, is_named: bool
) -> Int64[Tensor, " rows"]:
    """Return the label of each row.

    Args:
        labels: one a sample, or one a token in the layout of the network.
        lead: sizes of the axes that were joined to rows, see `split_rows`.
        batch_first: whether the batch comes before the tokens.
        is_named: whether the caller has said so, and not the modules around the layer.

    Raises:
        ValueError: if the labels fit the rows in no way, or in two.

    Example:
        >>> spread_labels(torch.tensor([3, 4]), torch.Size([2, 3]), batch_first=True, is_named=False)
        tensor([3, 3, 3, 4, 4, 4])
    """
    if labels.ndim == 1:
        return _spread_samples(labels, lead, batch_first=batch_first, name="labels")
    if labels.shape == lead:
        if not batch_first and not is_named and labels.ndim == 2 and lead[0] == lead[1]:
            raise ValueError(
                f"labels of shape {tuple(labels.shape)} may be (batch, tokens) or (tokens, batch): where the network "
                "has the tokens first, give labels as it has them and batch_first=False"
            )
        return labels.reshape(-1)
    if len(lead) == 2 and labels.shape == (lead[1], lead[0]):
        return labels.T.reshape(-1)
    if len(lead) == 1 and lead[0] == labels.numel():
        return labels.reshape(-1)
    raise ValueError(f"labels must be one a row of activations {tuple(lead)}, got {tuple(labels.shape)}")


def spread_mask(
    mask: Bool[Tensor, "batch *tokens"], lead: torch.Size, *, batch_first: bool
) -> Bool[Tensor, " rows"] | None:
    """Return which rows count; None for all, where a layer has one row a sample.

    Args:
        mask: True where a token counts, (batch, tokens) whatever the layout of the network; or one a sample.
        lead: sizes of the axes that were joined to rows, see `split_rows`.
        batch_first: whether the network has the batch before the tokens.

    Raises:
        ValueError: if the mask does not fit the rows.

    Example:
        >>> mask = torch.tensor([[True, True], [True, False]])
        >>> spread_mask(mask, torch.Size([2, 2]), batch_first=False)
        tensor([ True,  True,  True, False])
    """
    if mask.ndim == 1:
        return _spread_samples(mask, lead, batch_first=batch_first, name="mask")
    wanted = mask if batch_first else mask.transpose(0, 1)
    if wanted.shape == lead or (len(lead) == 1 and lead[0] == mask.numel()):
        return wanted.reshape(-1)
    if len(lead) == 1 and lead[0] == len(mask):
        return None
    raise ValueError(
        f"mask must be one a token, (batch, tokens), got {tuple(mask.shape)} for activations {tuple(lead)}: choose "
        "layers of these tokens with layers=[...], or give no mask"
    )


def find_batch_first(module: nn.Module) -> bool | None:
    """Return the `batch_first` of a module or of one of its children, such as its attention; None if none has one.

    Example:
        >>> find_batch_first(nn.TransformerEncoderLayer(4, 1)), find_batch_first(nn.Linear(1, 1))
        (False, None)
    """
    for part in (module, *module.children()):
        if isinstance(found := getattr(part, "batch_first", None), bool):
            return found
    return None


def unpad_labels(labels: Int64[Tensor, "batch *_"], mask: Bool[Tensor, "batch tokens"]) -> Int64[Tensor, " rows"]:
    """Return the label of each token that counts, sample after sample, as networks lay out tokens without padding.

    Example:
        >>> unpad_labels(torch.tensor([3, 4]), torch.tensor([[True, True], [True, False]]))
        tensor([3, 3, 4])
    """
    return (labels[:, None].expand_as(mask) if labels.ndim == 1 else labels)[mask]


def _spread_samples(
    values: Shaped[Tensor, " batch"], lead: torch.Size, *, batch_first: bool, name: str
) -> Shaped[Tensor, " rows"]:
    """Repeat the values of the samples over their tokens."""
    size, rows = len(values), lead.numel()
    first, second = lead[0] == size, len(lead) > 1 and lead[1] == size
    if first and (batch_first or not second):
        return values.repeat_interleave(rows // size) if rows > size else values
    if second:
        return values.view(1, size, *[1] * (len(lead) - 2)).expand(lead).reshape(-1)
    if size and rows % size == 0 and lead[0] % size == 0:  # tokens, or windows of them, were joined with the samples
        return values.repeat_interleave(rows // size) if batch_first else values.repeat(rows // size)
    raise ValueError(f"{name} must have shape ({rows},), one a row of activations, got {tuple(values.shape)}")
