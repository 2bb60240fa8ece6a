"""Corruption of the labels of many runs at once."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor

from noisereg import rng
from noisereg.noise.corruption import cumulative_law, redraw
from noisereg.noise.rule import Rule


class StackedCorruption:
    """Turn the clean labels of R replicas into targets, those of replica r as `Corruption` does with its rule and seed.

    Replicas of one seed see the same samples in the same order, so they share their uniform draws, which are made once.

    Args:
        rules: of each replica. They differ in nothing but p.
        seeds: of each replica, in [0, 2**63).
        num_classes: C, at least 2.

    Raises:
        ValueError: if the rules differ in more than p, or do not fit the number of classes.

    Example:
        >>> from noisereg.noise import Resample
        >>> corruption = StackedCorruption([Resample(p=0.0), Resample(p=1.0)], [0, 0], num_classes=2)
        >>> labels = torch.zeros(2, 3, dtype=torch.int64)
        >>> corruption(labels, draw=torch.arange(3), index=labels)[0]
        tensor([0, 0, 0])
    """

    def __init__(self, rules: Sequence[Rule], seeds: Sequence[int], *, num_classes: int) -> None:
        if len(rules) != len(seeds):
            raise ValueError(f"rules and seeds must be of one length, got {len(rules)} and {len(seeds)}")
        for rule in rules:
            if replace(rule, p=rules[0].p) != rules[0]:
                raise ValueError(f"the rules of a stack must differ in p alone, got {rules[0]} and {rule}")
        if num_classes < 2:
            raise ValueError(f"num_classes must be at least 2, got {num_classes}")
        self.rules, self.num_classes = tuple(rules), num_classes
        self._p = torch.tensor([rule.p for rule in rules], dtype=torch.float64)
        distinct = list(dict.fromkeys(seeds))
        self._seeds = torch.tensor(distinct)[:, None]
        self._slot = torch.tensor([distinct.index(seed) for seed in seeds])
        self._first = torch.tensor([list(seeds).index(seed) for seed in distinct])
        self._law = rules[0].redraw_law(num_classes)
        self._cumulative = cumulative_law(self._law)

    def __call__(
        self,
        labels: Int64[Tensor, "replicas draws"],
        draw: Int64[Tensor, "draws"],
        index: Int64[Tensor, "replicas draws"],
        *,
        factor: Float[Tensor, "draws"] | float = 1.0,
    ) -> Shaped[Tensor, "replicas draws *classes"]:
        """Give the targets of a chunk of draws.

        Args:
            labels: clean classes, 0 to C - 1; never written to. Rows of one seed are equal.
            draw: which draw of its sample each is, as in `Corruption`.
            index: of each sample in its data set. Rows of one seed are equal.
            factor: of p, in [0, 1], for each draw.

        Returns:
            Corrupted labels, int64 (replicas, draws), or in expected mode their laws, float64 (..., C).
        """
        self._to(labels.device)
        p = self._p[:, None] * factor
        if self.rules[0].expected:
            clean = torch.nn.functional.one_hot(labels, self.num_classes).double()
            return torch.lerp(clean, self._law[labels], p.expand(labels.shape).unsqueeze(-1))
        when = torch.zeros_like(draw) if self.rules[0].frozen else draw
        mine, place = (rows if len(self._first) == len(rows) else rows[self._first] for rows in (labels, index))
        chance = rng.uniform(self._seeds, rng.Stream.NOISE, when, place)
        drawn = redraw(mine, cumulative=self._cumulative, seed=self._seeds, draw=when, index=place)
        if len(place) < len(labels):
            chance, drawn = (rows.index_select(0, self._slot) for rows in (chance, drawn))
        return torch.where(chance < p, drawn, labels)

    def effective_rate(self) -> Float[Tensor, "replicas"]:
        """Give the probability that a label of each replica changes, where all classes are equally frequent."""
        return torch.tensor([rule.effective_rate(self.num_classes) for rule in self.rules])

    def _to(self, device: torch.device) -> None:
        if self._p.device != device:
            for name in ("_p", "_seeds", "_slot", "_first", "_law", "_cumulative"):
                setattr(self, name, getattr(self, name).to(device))
