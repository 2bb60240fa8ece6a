"""Sums that several processes share: how a checkpoint keeps the part of each, and who takes it up."""

import torch
from jaxtyping import Num
from torch import Tensor, distributed
from torchmetrics.utilities.distributed import gather_all_tensors


def gather_parts(part: Num[Tensor, "*shape"]) -> Num[Tensor, "processes *shape"]:
    """Stack what each process has of a sum, in the order of their ranks; all processes must call it.

    A checkpoint is to hold these parts and not their sum: a sum that goes on from its parts is rounded as if it had
    never been interrupted.

    Args:
        part: of this process, on the device that processes speak through.

    Example:
        >>> gather_parts(torch.tensor([1.0, 2.0]))
        tensor([[1., 2.]])
    """
    return torch.stack(gather_all_tensors(part)) if num_processes() > 1 else part.unsqueeze(0)


def own_part(parts: Num[Tensor, "processes *shape"]) -> Num[Tensor, "*shape"]:
    """Return this process's part of a sum that `gather_parts` has stacked.

    If the number of processes is another one now, the first takes up the whole sum and the others begin at zero.

    Example:
        >>> own_part(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
        tensor([4., 6.])
    """
    rank = distributed.get_rank() if num_processes() > 1 else 0
    if len(parts) == num_processes():
        return parts[rank]
    return parts.sum(dim=0) if rank == 0 else torch.zeros_like(parts[0])


def num_processes() -> int:
    """Return how many processes train together."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1
