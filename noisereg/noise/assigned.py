"""Labels that belong to samples one by one, in place of a law that they are drawn from."""

from dataclasses import dataclass

import torch
from jaxtyping import Float64, Int64
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Assigned:
    """The label of each of some samples, beside the clean one.

    Args:
        labels: of the samples that are trained on, by their index.
        clean: of the same samples.
        counts: how many samples of class y, in row y, have the label of each column; they may be more samples.

    Example:
        >>> assigned = Assigned(torch.tensor([1, 1]), torch.tensor([0, 1]), counts=torch.tensor([[0, 1], [0, 3]]))
        >>> assigned.rate, assigned.law().tolist()
        (0.25, [[0.0, 1.0], [0.0, 1.0]])
    """

    labels: Int64[Tensor, " samples"]
    clean: Int64[Tensor, " samples"]
    counts: Int64[Tensor, "classes classes"]

    @property
    def rate(self) -> float:
        """The share of the counted labels that are not the clean ones."""
        return 1 - float(self.counts.trace() / self.counts.sum())

    def law(self) -> Float64[Tensor, "classes classes"]:
        """Estimate the law of a label given the clean one, row by row; a class without samples keeps its label."""
        is_empty = self.counts.sum(dim=1) == 0
        counts = self.counts.double() + torch.diag(is_empty.double())
        return counts / counts.sum(dim=1, keepdim=True)
