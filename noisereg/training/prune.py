"""Take out of a trained network the units that never fire on its training data, and measure what that changes."""

import time
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from noisereg.files.atomic import write_atomically
from noisereg.metrics import predictions
from noisereg.pruning import Layer, LayerMap, UnitScores, find_layers, keep_units, score_units
from noisereg.training.engines import count_multiplications

_ROUNDINGS = 1000  # of the largest output, which sums in another order may differ by
_TIMED_SAMPLES, _TIMED_ROUNDS, _UNTIMED_ROUNDS = 256, 21, 3

Batches = Iterable[Mapping[str, Any]]


@dataclass(frozen=True, eq=False)
class Change:
    """What pruning changes on the samples of a split.

    Args:
        before: outputs of the whole network.
        after: of the pruned one.
        labels: clean ones.
    """

    before: Float[Tensor, "samples outputs"]
    after: Float[Tensor, "samples outputs"]
    labels: Int64[Tensor, " samples"]

    @cached_property
    def largest_difference(self) -> float:
        """The largest difference of an output."""
        return float((self.before - self.after).abs().max())

    @property
    def tolerance(self) -> float:
        """The difference that rounding can make: 1,000 units in the last place of the largest output."""
        return _ROUNDINGS * torch.finfo(self.before.dtype).eps * float(self.before.abs().max())

    @property
    def num_differing(self) -> int:
        """How many samples have an output that differs by more than rounding."""
        return int(((self.before - self.after).abs().amax(dim=1) > self.tolerance).sum())

    @property
    def num_classes_changed(self) -> int:
        """How many samples are put in another class."""
        return int((predictions(self.before) != predictions(self.after)).sum())

    @property
    def errors(self) -> tuple[float, float]:
        """The error before and after."""
        before, after = (float((predictions(out) != self.labels).double().mean()) for out in (self.before, self.after))
        return before, after


@dataclass(frozen=True, eq=False)
class Pruned:
    """A network without some of its units, beside what it was.

    Attributes:
        whole: the network as it was trained.
        network: the pruned one.
        found: which layers can lose units, and which not.
        scores: of the units of each layer on the training samples.
        kept: the numbers of the units of each layer that stayed.
        train: what changed on the training samples.
        test: what changed on the test samples.
    """

    whole: nn.Module
    network: nn.Module
    found: LayerMap
    scores: Mapping[str, UnitScores]
    kept: Mapping[str, Int64[Tensor, " units"]]
    train: Change
    test: Change

    def num_parameters(self) -> tuple[int, int]:
        """Count the parameters before and after."""
        before, after = (sum(p.numel() for p in net.parameters()) for net in (self.whole, self.network))
        return before, after

    def num_multiplications(self, inputs: Float[Tensor, "batch *shape"]) -> tuple[float, float]:
        """Count the multiplications for a sample, before and after."""
        return count_multiplications(self.whole, inputs), count_multiplications(self.network, inputs)

    def seconds(self, inputs: Float[Tensor, "batch *shape"]) -> list[tuple[float, float]]:
        """Measure the seconds for a sample, before and after, in rounds in which the two networks take turns."""
        inputs = inputs[:_TIMED_SAMPLES]
        times: tuple[list[float], list[float]] = ([], [])
        with torch.no_grad():
            for number in range(_UNTIMED_ROUNDS + _TIMED_ROUNDS):
                for network, found in zip((self.whole, self.network), times, strict=True):
                    began = time.perf_counter()
                    network(inputs)
                    if number >= _UNTIMED_ROUNDS:
                        found.append((time.perf_counter() - began) / len(inputs))
        return list(zip(*times, strict=True))

    def check_equal(self) -> None:
        """Check that the outputs on the training samples are equal up to rounding.

        Raises:
            ArithmeticError: if they are not, which a unit that never fires cannot bring about.
        """
        if not self.train.largest_difference <= self.train.tolerance:
            raise ArithmeticError(
                f"outputs on the training samples differ by {self.train.largest_difference:.3g}, and rounding makes at "
                f"most {self.train.tolerance:.3g}: the network reads its units in a way that was not seen"
            )


def prune(network: nn.Module, split: Callable[[str], Batches], *, tau: float | None = None) -> Pruned:
    """Take units out of a copy of a network, and compare it with the network.

    Args:
        network: in eval mode, on the CPU.
        split: returns the batches of all samples of the train or the test split.
        tau: also take out units whose mean activation is at most this share of the mean of their layer; None for those
            alone that fire for no training sample. Of each layer at least one unit stays.

    Raises:
        CannotPruneError: if the network cannot be looked into.
        ArithmeticError: if units that never fire are all that was taken out, and outputs on the training samples
            differ by more than rounding.
    """
    dtype = next(network.parameters()).dtype
    first = next(iter(split("train")))["input"].to(dtype)
    found = find_layers(network, first if len(first) > 1 else first.repeat(2, *[1] * (first.ndim - 1)))
    labels: dict[str, list[Tensor]] = {"train": [], "test": []}

    def inputs(name: str) -> Iterable[Tensor]:
        labels[name].clear()
        for batch in split(name):
            labels[name].append(batch["label"])
            yield batch["input"].to(dtype)

    scores, before = score_units(found, inputs("train"))
    masks: dict[Layer, Tensor] = {layer: scores[layer.name].kept(tau) for layer in found.layers}
    pruned = deepcopy(network)
    keep_units(pruned, masks)
    outputs = {("train", 0): before}
    with torch.no_grad():
        for name, number, net in (("train", 1, pruned), ("test", 0, network), ("test", 1, pruned)):
            outputs[name, number] = torch.cat([net(batch) for batch in inputs(name)])
    changes = {name: Change(outputs[name, 0], outputs[name, 1], torch.cat(labels[name])) for name in ("train", "test")}
    kept = {layer.name: mask.nonzero().flatten() for layer, mask in masks.items()}
    done = Pruned(network, pruned, found, scores, kept, **changes)
    if tau is None:
        done.check_equal()
    return done


def save_pruned(pruned: Pruned, path: Path, **about: Any) -> None:
    """Write a pruned network: its weights, by their names in the whole network, and which units were kept.

    It is loaded as tensors and plain values, see `noisereg.pruning.load_pruned`.

    Raises:
        FileExistsError: if there is one already.
    """
    content = {"state_dict": pruned.network.state_dict(), "kept": dict(pruned.kept), **about}
    write_atomically(path, lambda file: torch.save(content, file), is_new=True)
