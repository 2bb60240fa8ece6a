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
        ValueError: if one is no tensor, the inputs are complex, the two differ in length, or the labels are no vector
            of int64.

    Example:
        >>> split = Split(torch.eye(3), torch.tensor([0, 1, 1]))
        >>> len(split), split.select(torch.tensor([2])).labels
        (3, tensor([1]))
    """

    inputs: Shaped[Tensor, "n *shape"]
    labels: Int64[Tensor, " num_labels"]

    def __post_init__(self) -> None:
        for name, part in {"inputs": self.inputs, "labels": self.labels}.items():
            if not isinstance(part, Tensor):
                raise ValueError(f"{name} must be a tensor, got {type(part).__name__}; torch.as_tensor makes one of it")
        if self.inputs.is_complex():
            raise ValueError(
                "inputs must be real, got complex numbers; give their two parts, as torch.view_as_real does"
            )
        if len(self.inputs) != len(self.labels):
            raise ValueError(f"inputs and labels must be of one length, got {len(self.inputs)} and {len(self.labels)}")
        if self.labels.ndim != 1 or self.labels.dtype != torch.int64:
            kind, shape = str(self.labels.dtype).removeprefix("torch."), tuple(self.labels.shape)
            raise ValueError(
                f"labels must be class indices, int64 of shape ({len(self)},), got {kind} of shape {shape}"
            )

    def __len__(self) -> int:
        return len(self.labels)

    def check_labels(self, num_classes: int) -> None:
        """Raise ValueError if a label is not in [0, num_classes).

        Example:
            >>> Split(torch.eye(2), torch.tensor([0, 3])).check_labels(3)
            Traceback (most recent call last):
            ValueError: labels must be in [0, 3), got 3 for sample 1
        """
        outside = ((self.labels < 0) | (self.labels >= num_classes)).nonzero()
        if len(outside):
            sample = int(outside[0])
            raise ValueError(
                f"labels must be in [0, {num_classes}), got {int(self.labels[sample])} for sample {sample}"
            )

    def check_inputs(self) -> None:
        """Raise ValueError if an input is infinite or nan, or belongs to a graph that gradients go through.

        Example:
            >>> Split(torch.tensor([[1.0], [torch.nan]]), torch.tensor([0, 1])).check_inputs()
            Traceback (most recent call last):
            ValueError: inputs must be finite, got nan in sample 1
        """
        if self.inputs.requires_grad:
            raise ValueError("inputs must need no gradients; take inputs.detach()")
        if not self.inputs.is_floating_point() or bool(self.inputs.isfinite().all()):
            return
        sample, *place = (~self.inputs.isfinite()).nonzero()[0].tolist()
        raise ValueError(f"inputs must be finite, got {float(self.inputs[sample, *place])} in sample {sample}")

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
