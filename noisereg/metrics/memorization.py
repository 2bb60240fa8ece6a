"""What a network does on samples whose given label is right, and on those whose given label is wrong."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from noisereg.metrics.counts import summarize_counts
from noisereg.metrics.own_type import OwnType
from noisereg.metrics.sparsity import ActivationSparsity

GROUPS = ("right", "wrong")  # what the label of a sample is, in the order of their numbers


class Memorization(OwnType):
    """Measure errors and losses on samples with a right and a wrong label apart, and how many wrong ones are learned.

    A given label is wrong where it is not the clean one, as frozen noise or labels that people gave may be. Errors are
    against the clean label, losses are those of the given one, as it is trained on.

    Example:
        >>> memorization = Memorization()
        >>> clean, given, predicted = torch.tensor([0, 1, 1]), torch.tensor([0, 0, 0]), torch.tensor([0, 0, 1])
        >>> memorization.update(predicted, clean, given, torch.tensor([0.5, 1.0, 3.0]))
        >>> memorization.compute()["memorized"]
        tensor(0.5000)

    Source: D. Arpit et al., "A closer look at memorization in deep networks", 2017; S. Liu, J. Niles-Weed, N. Razavian,
        C. Fernandez-Granda, "Early-learning regularization prevents memorization of noisy labels", 2020, figure 1.
    """

    full_state_update = False
    names: ClassVar = ("wrong_labels", "error_right", "error_wrong", "loss_right", "loss_wrong", "memorized")
    sums: Float[Tensor, "groups values"]

    def __init__(self) -> None:
        super().__init__()
        # of each group: samples, predictions that are not the clean label, that are the given one, sum of the losses
        self.add_state("sums", default=torch.zeros(len(GROUPS), 4, dtype=torch.float64), dist_reduce_fx="sum")

    def update(
        self,
        predicted: Int64[Tensor, " batch"],
        clean: Int64[Tensor, " batch"],
        given: Int64[Tensor, " batch"],
        losses: Float[Tensor, " batch"],
    ) -> None:
        """Add samples.

        Args:
            predicted: class of each.
            clean: its clean label.
            given: its given label.
            losses: of the given label.
        """
        values = [torch.ones_like(losses), predicted != clean, predicted == given, losses]
        columns = torch.stack([value.to(self.sums) for value in values], dim=1)
        self.sums.index_add_(0, is_wrong(clean, given).long(), columns)

    def compute(self) -> dict[str, Float[Tensor, ""]]:
        """Return the values by name: how many labels are wrong, and of each group what is not nan if it has samples."""
        counts, errors, learned, losses = self.sums.unbind(dim=1)
        values = (counts[1], *(errors / counts), *(losses / counts), learned[1] / counts[1])
        return {name: value.float() for name, value in zip(self.names, values, strict=True)}


def is_wrong(clean: Int64[Tensor, " n"], given: Int64[Tensor, " n"]) -> Bool[Tensor, " n"]:
    """Return which given labels are wrong; as a number it is the place of their group in `GROUPS`.

    Example:
        >>> is_wrong(torch.tensor([0, 1]), torch.tensor([0, 0]))
        tensor([False,  True])
    """
    return given != clean


def activity_by_group(metrics: Mapping[str, ActivationSparsity]) -> dict[str, Float[Tensor, ""]]:
    """Compute the active units of all layers together on the samples of each group.

    Args:
        metrics: one a layer, in which the classes are the groups.

    Returns:
        `active_neurons_right`, `active_fraction_right` and the same of the wrong ones; nan for a group without samples,
        and if a unit was nan on one.

    Example:
        >>> layer = ActivationSparsity(num_classes=2)
        >>> layer.update(torch.tensor([[1.0, 0.0], [1.0, 1.0]]), torch.tensor([0, 1]))
        >>> {key: float(value) for key, value in activity_by_group({"relu": layer}).items() if "neurons" in key}
        {'active_neurons_right': 1.0, 'active_neurons_wrong': 2.0}
    """
    units, suffix = sum(metric.num_units for metric in metrics.values()), next(iter(metrics.values())).threshold.suffix
    values: dict[str, Tensor] = {}
    for number, group in enumerate(GROUPS):
        own = [summarize_counts(metric.fires[[number]], metric.samples[[number]]) for metric in metrics.values()]
        neurons = torch.stack([summary["active_neurons"] for summary in own]).sum()
        values |= {f"active_neurons_{group}{suffix}": neurons, f"active_fraction_{group}{suffix}": neurons / units}
    return values
