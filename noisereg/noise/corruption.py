"""From labels to targets: a rule bound to a number of classes and a seed, or those of many runs at once."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor
from torch.nn.functional import one_hot

from noisereg import rng
from noisereg.noise.rule import Rule, checked_law

_MOST_TOKENS = 2**20  # of a sample: the numbers of two samples never meet


class Corruption:
    """Turn clean labels into targets under a rule; the target of a sample depends on (seed, draw, index) alone.

    Two uniform numbers belong to each (seed, draw, index): the first decides whether the label is redrawn, the second
    which one it becomes. So what a small strength redraws, a greater one redraws too, to the same labels, and the
    results of the two can be compared in pairs.

    A rule that assigns labels to samples one by one, as those of a file, needs the first number alone.

    With a list of rules and one of seeds it does so for R replicas at once, for each as with its rule and seed alone.
    Replicas of one seed see the same samples in the same order, so they share their uniform draws, which are made once.

    Args:
        rule: the noise rule; or one for each replica, which differ in nothing but p, and for another seed in the labels
            that they assign to samples.
        num_classes: C, at least 2.
        seed: of the run, in [0, 2**63); or one for each replica.

    Raises:
        ValueError: if num_classes is below 2 or does not fit the rule, its matrix is no law, a seed is out of range, or
            the rules differ in more than p.

    Example:
        >>> from noisereg.noise import Resample
        >>> labels = torch.zeros(4, dtype=torch.int64)
        >>> Corruption(Resample(p=0.0), num_classes=10, seed=0)(labels, draw=0, index=torch.arange(4))
        tensor([0, 0, 0, 0])
        >>> Corruption(Resample(p=0.5, expected=True), num_classes=2, seed=0)(labels[:1], draw=0, index=torch.arange(1))
        tensor([[0.7500, 0.2500]], dtype=torch.float64)
        >>> replicas = Corruption([Resample(p=0.0), Resample(p=1.0)], num_classes=2, seed=[0, 0])
        >>> replicas(labels.expand(2, 4), draw=torch.arange(4), index=labels.expand(2, 4))[0]
        tensor([0, 0, 0, 0])
    """

    def __init__(self, rule: Rule | Sequence[Rule], *, num_classes: int, seed: int | Sequence[int]) -> None:
        if num_classes < 2:
            raise ValueError(f"num_classes must be at least 2, got {num_classes}")
        self.rule, self.num_classes, self.seed = rule, num_classes, seed
        self._rules = [rule] if isinstance(rule, Rule) else list(rule)
        seeds = [seed] if isinstance(seed, int) else list(seed)
        if len(self._rules) != len(seeds):
            raise ValueError(f"rules and seeds must be of one length, got {len(self._rules)} and {len(seeds)}")
        if outside := [value for value in seeds if not 0 <= value < 2**63]:
            raise ValueError(f"seed must be in [0, 2**63), got {outside[0]}")
        first = self._rules[0]
        for other in self._rules:
            if replace(other, p=first.p) != first:
                raise ValueError(f"the rules of a stack must differ in p alone, got {first} and {other}")
        self._law = checked_law(first, num_classes)
        self._transition = first.transition(num_classes)
        self._cumulative = cumulative_law(self._law)
        self._assignment = _Assignment.of(self._rules)
        distinct = list(dict.fromkeys(seeds))
        self._shared = len(distinct) < len(seeds)
        first_of_seed = {value: place for place, value in reversed([*enumerate(seeds)])}
        place_of_seed = {value: place for place, value in enumerate(distinct)}
        self._first_of_seed = torch.tensor([first_of_seed[value] for value in distinct])
        self._place_of_seed = torch.tensor([place_of_seed[value] for value in seeds])
        # A single rule has numbers for tensors: draws with a tensor of seeds take longer.
        self._p: float | Tensor = first.p
        self._seeds: int | Tensor = seeds[0]
        if not isinstance(rule, Rule):
            self._p = torch.tensor([[other.p] for other in self._rules], dtype=torch.float64)
            self._seeds = torch.tensor(distinct)[:, None]

    def __call__(
        self,
        labels: Int64[Tensor, "*replicas draws"],
        draw: int | Int64[Tensor, "draws"],
        index: Int64[Tensor, "*replicas draws"],
        *,
        factor: float | Float[Tensor, "draws"] = 1.0,
    ) -> Int64[Tensor, "*replicas draws"] | Float64[Tensor, "*replicas draws classes"]:
        """Return the targets of a batch, or of a chunk of draws of each replica.

        Args:
            labels: clean classes, 0 to C - 1; never written to. Rows of one seed are equal. A single rule takes labels
                of any shape, such as (batch, tokens) with the index of each token, see `token_index`.
            draw: which draw of the sample this is: the epoch, or the position in a run that samples with replacement.
            index: of each sample in its data set. Rows of one seed are equal.
            factor: of p, in [0, 1], for all or for each draw.

        Returns:
            Corrupted labels, int64, of the shape of `labels`; or in expected mode their laws, float64 (..., C).

        Raises:
            ValueError: if a rule assigns labels to samples one by one, and these are others (on a CPU).
        """
        self._move_to(labels.device)
        given = self._assignment.find(labels, index) if self._assignment else None
        if self._rules[0].expected:
            if given is not None:
                return self._mix(labels, self._p * factor, one_hot(given, self.num_classes).double())
            if isinstance(self.rule, Rule) and isinstance(factor, float) and factor == 1:
                return self._transition[labels]
            return self._mix(labels, self._p * factor, self._law[labels])
        when = 0 if self._rules[0].frozen else draw
        mine, place = (rows[self._first_of_seed] if self._shared else rows for rows in (labels, index))
        chance = rng.uniform(self._seeds, rng.Stream.NOISE, when, place)
        if given is None:
            drawn = redraw(mine, cumulative=self._cumulative, seed=self._seeds, draw=when, index=place)
        else:
            drawn = given[self._first_of_seed] if self._shared else given
        if self._shared:
            chance, drawn = (rows.index_select(0, self._place_of_seed) for rows in (chance, drawn))
        return torch.where(chance < self._p * factor, drawn, labels)

    def effective_rate(self) -> Float[Tensor, "*replicas"]:
        """Return the probability that a label changes if all classes are equally frequent; one for each replica."""
        rates = torch.tensor([rule.effective_rate(self.num_classes) for rule in self._rules])
        return rates[0] if isinstance(self.rule, Rule) else rates

    def _mix(
        self,
        labels: Int64[Tensor, "*batch"],
        p: float | Float64[Tensor, "..."],
        redrawn: Float64[Tensor, "*batch classes"],
    ) -> Float64[Tensor, "*batch classes"]:
        """Return the law of each target: (1 - p) for the label, and p times that of a redrawn one."""
        strength = p if isinstance(p, Tensor) else self._law.new_full((), p)
        strength = strength.expand(labels.shape).unsqueeze(-1)
        return (redrawn * strength).scatter_add_(-1, labels.unsqueeze(-1), 1 - strength)

    def _move_to(self, device: torch.device) -> None:
        if self._law.device != device:
            for name, value in vars(self).items():
                if isinstance(value, Tensor | _Assignment):
                    setattr(self, name, value.to(device))


class _Assignment(NamedTuple):
    """The labels that rules assign to samples one by one, those of different seeds one after the other.

    Attributes:
        labels: that a redraw gives.
        clean: of the same samples.
        offset: where those of each replica begin, (replicas, 1); 0 if all have the same.
        num_samples: of one seed.
    """

    labels: Int64[Tensor, " all"]
    clean: Int64[Tensor, " all"]
    offset: Int64[Tensor, "..."]
    num_samples: int

    @classmethod
    def of(cls, rules: Sequence[Rule]) -> "_Assignment | None":
        """Return that of the rules of all replicas; None if they draw from a law."""
        of_replicas = [rule.assigned for rule in rules if rule.assigned is not None]
        if not of_replicas:
            return None
        parts = list(dict.fromkeys(of_replicas))
        num_samples = len(parts[0].labels)
        slots = torch.tensor([parts.index(part) for part in of_replicas])
        offset = slots[:, None] * num_samples if len(parts) > 1 else torch.tensor(0)
        labels, clean = (torch.cat([getattr(part, name) for part in parts]) for name in ("labels", "clean"))
        return cls(labels, clean, offset, num_samples)

    def find(
        self, clean: Int64[Tensor, "*replicas draws"], index: Int64[Tensor, "*replicas draws"]
    ) -> Int64[Tensor, "*replicas draws"]:
        """Return the labels of some samples, whose clean ones must be those that they belong to.

        Raises:
            ValueError: if there is no sample of an index, or it has another clean label (on a CPU).
        """
        place = index + self.offset
        if place.device.type == "cpu":
            if len(outside := index[(index < 0) | (index >= self.num_samples)]):
                raise ValueError(f"index must be in [0, {self.num_samples}), as many as have labels, got {outside[0]}")
            if len(others := index[self.clean[place] != clean]):
                raise ValueError(f"the label of sample {others[0]} belongs to another class: is the index right?")
        return self.labels[place]

    def to(self, device: torch.device) -> "_Assignment":
        """Move the tensors."""
        return _Assignment(self.labels.to(device), self.clean.to(device), self.offset.to(device), self.num_samples)


def token_index(index: Int64[Tensor, " batch"], num_tokens: int) -> Int64[Tensor, "batch tokens"]:
    """Return a number for each token that is a function of the sample and of the place in it, and of no one else's.

    Args:
        index: of each sample in its data set, below 2**43.
        num_tokens: of the longest sample in the batch; padding changes no number.

    Raises:
        ValueError: if there are more than 2**20 tokens.

    Example:
        >>> token_index(torch.tensor([0, 2]), 3).tolist()
        [[0, 1, 2], [2097152, 2097153, 2097154]]
    """
    if num_tokens > _MOST_TOKENS:
        raise ValueError(f"num_tokens must be at most {_MOST_TOKENS}, got {num_tokens}")
    return index[:, None] * _MOST_TOKENS + torch.arange(num_tokens, device=index.device)


def redraw(
    labels: Int64[Tensor, "*batch"],
    *,
    cumulative: Float64[Tensor, "classes classes"],
    seed: int | Tensor,
    draw: int | Tensor,
    index: Int64[Tensor, "*batch"],
) -> Int64[Tensor, "*batch"]:
    """Draw a new label for each clean one y, by the inverse of the cumulative law in row y.

    Args:
        labels: clean classes.
        cumulative: row y holds the running sums of the redraw law of y, the last one exactly 1.
        seed: of the run; a tensor of many broadcasts against the labels.
        draw: which draw of the sample this is; a tensor broadcasts against the labels.
        index: of each sample in its data set.
    """
    position = rng.uniform(seed, rng.Stream.REDRAW, draw, index)
    if len(cumulative) == 2:
        return (position >= cumulative[:, 0][labels]).long()
    return torch.searchsorted(cumulative[labels], position.unsqueeze(-1), right=True).squeeze(-1)


def cumulative_law(law: Float64[Tensor, "classes classes"]) -> Float64[Tensor, "classes classes"]:
    """Compute the running sums of each row; the last one is exactly 1, above every uniform draw.

    Example:
        >>> cumulative_law(torch.tensor([[0.5, 0.5], [0.0, 1.0]]).double()).tolist()
        [[0.5, 1.0], [0.0, 1.0]]
    """
    sums = law.cumsum(dim=1)
    return sums / sums[:, -1:]
