"""A part of a data set, held whole in memory."""

from dataclasses import dataclass

import torch
from jaxtyping import Int64, Shaped
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Split:
    """Inputs and clean labels of the same samples, on the same device.

    Attributes:
        inputs: (n, *shape), float32, or uint8 for images as they are stored.
        labels: (n,), int64 class indices.

    Raises:
        ValueError: if the two differ in length.

    Example:
        >>> split = Split(torch.eye(3), torch.tensor([0, 1, 1]))
        >>> len(split), split.select(torch.tensor([2])).labels
        (3, tensor([1]))
    """

    inputs: Shaped[Tensor, "n *shape"]
    labels: Int64[Tensor, " num_labels"]

    def __post_init__(self) -> None:
        if len(self.inputs) != len(self.labels):
            raise ValueError(f"inputs and labels must be of one length, got {len(self.inputs)} and {len(self.labels)}")

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device | str) -> "Split":
        """Move both tensors; a split that is there already is not copied."""
        return Split(self.inputs.to(device), self.labels.to(device))

    def select(self, indices: Int64[Tensor, " k"]) -> "Split":
        """Copy the samples at `indices`, in that order."""
        there = indices.to(self.labels.device)
        return Split(_rows(self.inputs, there), self.labels.index_select(0, there))


def _rows(inputs: Shaped[Tensor, "n *shape"], indices: Int64[Tensor, " k"]) -> Shaped[Tensor, "k *shape"]:
    """Copy rows in the memory format they have: `index_select` is quick where a row is contiguous memory."""
    if inputs.ndim < 3 or inputs.is_contiguous():
        return inputs.index_select(0, indices)
    return inputs.movedim(1, -1).index_select(0, indices).movedim(-1, 1)
