"""What a batch holds, whoever made it: a dict of ours, or the list that PyTorch's default collate makes of tuples."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor

FORM = "a dict with 'input' and an int64 'label', or a list [input, label, ...]"


def inputs_of(batch: Any) -> Any:
    """Return the inputs of a batch: the entry "input" of a dict, the first one of a list, or the batch itself.

    Raises:
        ValueError: if a dict has no such entry.

    Example:
        >>> inputs_of([1, 2]), inputs_of({"input": 3}), inputs_of(torch.ones(1))
        (1, 3, tensor([1.]))
    """
    if isinstance(batch, Mapping):
        if "input" not in batch:
            raise ValueError(f"batches must be {FORM}, got {describe_batch(batch)}")
        return batch["input"]
    return batch[0] if isinstance(batch, list | tuple) else batch


def labels_of(batch: Any) -> Int64[Tensor, "batch *tokens"] | None:
    """Return the labels of a batch: the entry "label" of a dict, or the second one of a list; None if it has none.

    Labels are int64, one a sample, or one a token where the inputs are (batch, tokens) or (batch, tokens, features).

    Example:
        >>> labels_of([torch.ones(1), torch.zeros(1, dtype=torch.int64)]), labels_of({"input": 3})
        (tensor([0]), None)
        >>> labels_of({"input": torch.ones(2, 3, 8), "label": torch.ones(2, 3, dtype=torch.int64)}).shape
        torch.Size([2, 3])
    """
    labels = None
    if isinstance(batch, Mapping):
        labels = batch.get("label")
    elif isinstance(batch, list | tuple) and len(batch) > 1:
        labels = batch[1]
    if not isinstance(labels, Tensor) or labels.dtype != torch.int64:
        return None
    inputs = inputs_of(batch) if labels.ndim == 2 else None
    by_token = isinstance(inputs, Tensor) and inputs.shape[:2] == labels.shape
    return labels if labels.ndim == 1 or by_token else None


def describe_batch(batch: Any) -> str:
    """Describe a batch in a few words.

    Example:
        >>> describe_batch({"image": 1, "labels": 2})
        "a dict with 'image', 'labels'"
    """
    keys = f" with {', '.join(map(repr, batch))}" if isinstance(batch, Mapping) and batch else ""
    return f"a {type(batch).__name__}{keys}"


def split_names(datamodule: Any, *, default: str, num_loaders: int) -> list[str]:
    """Name the splits of the loaders of a loop: by the datamodule's `eval_splits`, else val, val2, ...

    Example:
        >>> split_names(None, default="val", num_loaders=2)
        ['val', 'val2']
    """
    names = list(getattr(datamodule, "eval_splits", ()))
    numbered = [default, *(f"{default}{number}" for number in range(2, num_loaders + 1))]
    return [*names, *numbered[len(names) :]][:num_loaders]
