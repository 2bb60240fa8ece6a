"""From labels to targets: a rule bound to a number of classes and a seed."""

import torch
from jaxtyping import Float64, Int64, Shaped
from torch import Tensor

from noisereg import rng
from noisereg.noise.rule import Rule


class Corruption:
    """Turn clean labels into targets under a rule; the target of a sample depends on (seed, draw, index) alone.

    Two uniform numbers belong to each (seed, draw, index): the first decides whether the label is redrawn, the second
    which one it becomes. So what a small strength redraws, a greater one redraws too, to the same labels, and the
    results of the two can be compared in pairs.

    Args:
        rule: the noise rule.
        num_classes: C, at least 2.
        seed: of the run, in [0, 2**63).

    Raises:
        ValueError: if num_classes is below 2 or does not fit the rule.

    Example:
        >>> from noisereg.noise import Resample
        >>> labels = torch.zeros(4, dtype=torch.int64)
        >>> Corruption(Resample(p=0.0), num_classes=10, seed=0)(labels, draw=0, index=torch.arange(4))
        tensor([0, 0, 0, 0])
        >>> Corruption(Resample(p=0.5, expected=True), num_classes=2, seed=0)(labels[:1], draw=0, index=torch.arange(1))
        tensor([[0.7500, 0.2500]], dtype=torch.float64)
    """

    def __init__(self, rule: Rule, *, num_classes: int, seed: int) -> None:
        if num_classes < 2:
            raise ValueError(f"num_classes must be at least 2, got {num_classes}")
        self.rule = rule
        self.num_classes = num_classes
        self.seed = seed
        self._cumulative = cumulative_law(rule.redraw_law(num_classes))
        self._transition = rule.transition(num_classes)

    def __call__(
        self, labels: Int64[Tensor, "batch"], draw: int | Tensor, index: Int64[Tensor, "batch"]
    ) -> Shaped[Tensor, "batch *classes"]:
        """Give the targets of a batch.

        Args:
            labels: clean classes, 0 to C - 1; never written to.
            draw: which draw of the sample this is: the epoch, or the position in a run that samples with replacement.
            index: of each sample in its data set.

        Returns:
            Corrupted labels, int64 (batch,), or in expected mode their laws, float64 (batch, C).
        """
        if labels.device != self._cumulative.device:
            self._cumulative = self._cumulative.to(labels.device)
            self._transition = self._transition.to(labels.device)
        if self.rule.expected:
            return self._transition[labels]
        return sample(
            labels,
            p=self.rule.p,
            cumulative=self._cumulative,
            seed=self.seed,
            draw=0 if self.rule.frozen else draw,
            index=index,
        )


def sample(
    labels: Int64[Tensor, "*batch"],
    *,
    p: float | Tensor,
    cumulative: Float64[Tensor, "classes classes"],
    seed: int,
    draw: int | Tensor,
    index: Int64[Tensor, "*batch"],
) -> Int64[Tensor, "*batch"]:
    """Redraw each label y with probability p, by the inverse of the cumulative law in row y.

    Args:
        labels: clean classes.
        p: strength, in [0, 1]; a tensor of strengths broadcasts against the labels.
        cumulative: row y holds the running sums of the redraw law of y, the last one exactly 1.
        seed: of the run.
        draw: which draw of the sample this is; a tensor broadcasts against the labels.
        index: of each sample in its data set.

    Returns:
        The corrupted labels.
    """
    redrawn = rng.uniform(seed, rng.Stream.NOISE, draw, index) < p
    return torch.where(redrawn, redraw(labels, cumulative=cumulative, seed=seed, draw=draw, index=index), labels)


def redraw(
    labels: Int64[Tensor, "*batch"],
    *,
    cumulative: Float64[Tensor, "classes classes"],
    seed: int | Tensor,
    draw: int | Tensor,
    index: Int64[Tensor, "*batch"],
) -> Int64[Tensor, "*batch"]:
    """Draw a new label for each, by the inverse of the cumulative law in row y. Arguments are those of `sample`."""
    position = rng.uniform(seed, rng.Stream.REDRAW, draw, index)
    if len(cumulative) == 2:
        return (position >= cumulative[:, 0][labels]).long()
    return torch.searchsorted(cumulative[labels], position.unsqueeze(-1), right=True).squeeze(-1)


def cumulative_law(law: Float64[Tensor, "classes classes"]) -> Float64[Tensor, "classes classes"]:
    """Sum each row up to each class; it ends in exactly 1, above every uniform draw.

    Example:
        >>> cumulative_law(torch.tensor([[0.5, 0.5], [0.0, 1.0]]).double()).tolist()
        [[0.5, 1.0], [0.0, 1.0]]
    """
    sums = law.cumsum(dim=1)
    return sums / sums[:, -1:]
