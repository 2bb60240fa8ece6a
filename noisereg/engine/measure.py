"""What is measured of a stack of networks on a set of samples."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain, product
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn.functional import one_hot

from noisereg.datasets import Split
from noisereg.engine.engine import Given, SharedData
from noisereg.engine.forward import Passed, run_networks
from noisereg.engine.stack import Stack
from noisereg.losses import Loss
from noisereg.metrics import (
    GROUPS,
    Memorization,
    bias_quantiles,
    frobenius_norm,
    is_wrong,
    predictions,
    summarize_counts,
)

_LOGITS_AT_ONCE = 2**20  # of several replicas, for fewer and longer operations
_ACTIVE_APART = tuple(f"active_{unit}_{group}" for unit in ("neurons", "fraction") for group in GROUPS)
_SCORED_BYTES = 2**25  # of data at a time, as all of them may not fit into memory; one group a thread may take more


class Scores(NamedTuple):
    """Of k replicas, each on samples of its own.

    Attributes:
        error: share of wrong predictions, (k,).
        loss: mean loss, (k,).
        largest_output: greatest absolute value of an output on any of the samples, (k,).
        fires: how often each hidden unit fired for each class, (k, classes, hidden), int64; no units for neurons.
        samples: how many samples of each class there were, (k, classes).
        gradients: mean squared norm of the gradient of the outputs in the weights of each trained layer, (k, layers);
            no layers where it is not asked for.
        apart: what is measured of samples with a right and with a wrong label, (k, values): those of `Memorization` and
            for networks the active units; nan for a replica without labels that stay, no values if none has any.
    """

    error: Float[Tensor, " k"]
    loss: Float[Tensor, " k"]
    largest_output: Float[Tensor, " k"]
    fires: Int64[Tensor, "k classes hidden"]
    samples: Int64[Tensor, "k classes"]
    gradients: Float[Tensor, "k layers"]
    apart: Float[Tensor, "k values"]

    @classmethod
    def join(cls, parts: Iterable["Scores"]) -> "Scores":
        """Join the replicas of several parts, one after the other."""
        return cls(*map(torch.cat, zip(*parts, strict=True)))

    def by_metric(self, split: str, *, layers: Sequence[str]) -> dict[str, Float[Tensor, " k"]]:
        """Return all values by the names of metrics; largest output and gradients for the training split alone.

        Args:
            split: that was scored.
            layers: names of those that are trained.
        """
        loss = "train/clean_loss" if split == "train" else f"{split}/loss"
        values = {f"{split}/error": self.error, loss: self.loss}
        if self.fires.shape[2]:
            summary = summarize_counts(self.fires, self.samples)
            values |= {f"{split}/{key}": value for key, value in summary.items() if key != "sparsity"}
            if split == "train":  # theorem 3 bounds it there
                values["train/largest_output"] = self.largest_output
        if split == "train":
            values["train/gradient_norm_squared"] = self.gradients.sum(dim=1)
            for layer, gradients in zip(layers, self.gradients.unbind(dim=1), strict=True):
                values[f"train/gradient_norm_squared/{layer}"] = gradients
        if self.apart.shape[1]:
            names = (*Memorization.names, *_ACTIVE_APART)[: self.apart.shape[1]]
            values |= {f"{split}/{key}": value for key, value in zip(names, self.apart.unbind(dim=1), strict=True)}
        return values


@torch.no_grad()
def score(
    stack: Stack,
    replicas: Sequence[int],
    inputs: Float[Tensor, "n features"],
    labels: Int64[Tensor, " n"],
    *,
    loss: Loss,
    num_classes: int,
    given: Given | None = None,
    with_gradients: bool = True,
    compiled: bool = False,
) -> Scores:
    """Score replicas on the same samples.

    Args:
        stack: the networks.
        replicas: numbers of the k replicas to score.
        inputs: that were made by `stack.prepare`.
        labels: clean, in [0, num_classes).
        loss: of the logits and the labels.
        num_classes: C.
        given: the labels that a replica is trained on; see `Engine.measure`.
        with_gradients: whether the gradients are measured too.
        compiled: see `run_networks`.

    Raises:
        ValueError: if a label is out of range.
    """
    samples = torch.bincount(labels, minlength=num_classes)
    if len(samples) > num_classes:
        raise ValueError(f"labels must be in [0, {num_classes}), got {int(labels.max())}")
    # a norm takes one pass over the inputs, a square and a sum five times as long
    squares = torch.linalg.vector_norm(inputs, dim=1).square() if with_gradients else None
    at_once = max(1, _LOGITS_AT_ONCE // max(1, len(labels) * stack.output.shape[1]))
    how: dict[str, Any] = {"num_classes": num_classes, "compiled": compiled}
    by_sample = with_gradients or given is not None
    parts = []
    for first in range(0, len(replicas), at_once):
        some = replicas[first : first + at_once]
        passed = run_networks(stack, some, inputs, labels, by_sample=by_sample, **how)
        logits, fires = (torch.stack(tensors) for tensors in list(zip(*passed, strict=True))[:2])
        flat, clean = logits.flatten(end_dim=1), labels.repeat(len(some))
        per_sample = (predictions(flat) != clean).to(inputs.dtype), loss.per_sample(flat, clean)
        error, mean_loss = (values.view(len(some), len(labels)).mean(dim=1) for values in per_sample)
        largest = logits.abs().amax(dim=(1, 2))
        gradients = torch.stack([_gradients(stack, one, squares) for one in passed])
        apart = logits.new_empty(len(some), 0)
        if given:
            apart = torch.stack(
                [
                    _measure_apart(one, labels, given(replica), loss=loss)
                    for replica, one in zip(some, passed, strict=True)
                ]
            )
        of_classes = samples.expand(len(some), -1)
        parts.append(Scores(error, mean_loss, largest, fires, of_classes, gradients, apart))
    return Scores.join(parts)


def _gradients(stack: Stack, passed: Passed, squares: Float[Tensor, " n"] | None) -> Float[Tensor, " layers"]:
    """Compute `Scores.gradients` of one replica from the squared norms of the inputs; none without these.

    The gradient of an output in its weights is the activations, and 1 for its bias; that in the weights of a hidden
    unit is, where the unit fires, its output weight times the input, with the 1 at its end for the bias.
    """
    if squares is None:
        return passed.logits.new_empty(0)
    if stack.hidden is None:
        return squares.mean()[None]
    outputs = passed.logits.shape[1]
    by_layer = {
        "hidden": (squares * passed.reach).mean(),
        "output": outputs * (passed.activity.mean() + (stack.output_bias is not None)),
    }
    return torch.stack([by_layer[layer] for layer in stack.trained_layers()])


def _measure_apart(
    passed: Passed, labels: Int64[Tensor, " n"], given: Int64[Tensor, " n"] | None, *, loss: Loss
) -> Float[Tensor, " values"]:
    """Compute `Scores.apart` of one replica from the labels that it is given."""
    units = passed.fires.shape[1]
    if given is None:
        return passed.logits.new_full((len(Memorization.names) + (len(_ACTIVE_APART) if units else 0),), torch.nan)
    memorization = Memorization().to(labels.device)
    memorization.update(predictions(passed.logits), labels, given, loss.per_sample(passed.logits, given))
    values = torch.stack([*memorization.compute().values()])
    if not units:
        return values
    groups = one_hot(is_wrong(labels, given).long(), len(GROUPS)).to(passed.active.dtype)
    active = passed.active @ groups / groups.sum(dim=0)  # nan for a group without samples
    return torch.cat([values, active, active / units])


def score_all(
    stack: Stack,
    data: Iterable[SharedData],
    running: Sequence[bool],
    *,
    loss: Loss,
    num_classes: int,
    threads: int,
    given: Given | None = None,
    compiled: bool = False,
) -> tuple[dict[str, Float[Tensor, " replicas"]], list[tuple[Tensor, Tensor]]]:
    """Score the running replicas on every split of their data, each by one thread; the others have nan.

    Args:
        stack: the networks.
        data: replicas that share their data, and the splits, inputs made by `stack.prepare`.
        running: which replicas to score.
        threads: that share the work; 0 for as many as torch has.
        loss, num_classes, given, compiled: see `score`.

    Returns:
        The values by the names of metrics, and how often each hidden unit fired for each class on the training split:
        pairs of the numbers of k replicas and counts (k, classes, hidden).
    """
    device = stack.output.device
    threads = num_threads(threads, device)
    found: dict[str, list[tuple[list[int], Scores]]] = {}

    def score_one(task: tuple[list[int], str, Split]) -> Scores:
        share, name, split = task
        is_train = name == "train"  # the metrics of the gradients and of given labels are of this split alone
        how: dict[str, Any] = {"given": given if is_train else None, "with_gradients": is_train, "compiled": compiled}
        return score(stack, share, split.inputs, split.labels, loss=loss, num_classes=num_classes, **how)

    with one_thread_each(threads) as map_all:
        for some in _take_together(data, threads):
            parts = max(1, threads // len(some))
            tasks = [
                (share, name, split)
                for replicas, splits in some
                for share, (name, split) in product(_divide_running(replicas, running, parts), splits.items())
            ]
            for (share, name, _), scores in zip(tasks, map_all(score_one, tasks), strict=True):
                found.setdefault(name, []).append((share, scores))
    values, fires = {}, []
    for name, pairs in found.items():
        shares, scores = zip(*pairs, strict=True)
        replicas, together = torch.tensor(list(chain(*shares)), device=device), Scores.join(scores)
        if name == "train":
            fires.append((replicas.cpu(), together.fires))
        for key, value in together.by_metric(name, layers=stack.trained_layers()).items():
            values[key] = value.new_full((len(running),), torch.nan).index_copy(0, replicas, value)
    return values, fires


def num_threads(own: int, device: torch.device) -> int:
    """Return how many threads share the networks of replicas when each is shown its samples.

    Args:
        own: threads of the engine, see `Engine`; 0 for as many as torch has on a CPU, and one on a GPU.
        device: of the networks.

    Example:
        >>> num_threads(3, torch.device("cpu")), num_threads(0, torch.device("cuda"))
        (3, 1)
    """
    return own or (torch.get_num_threads() if device.type == "cpu" else 1)


@contextmanager
def one_thread_each(threads: int) -> Iterator[Callable[..., Iterable[Any]]]:
    """Provide a `map` that shares tasks among threads, with one thread of torch's own in each.

    Torch's threads meet at the end of every operation, which takes long where other programs want the same cores.

    Example:
        >>> with one_thread_each(2) as map_all:
        ...     list(map_all(abs, [-1, 2]))
        [1, 2]
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(threads, initializer=_prepare_thread) as pool:
            yield pool.map if threads > 1 else map
    finally:
        torch.set_num_threads(before)


def _take_together(groups: Iterable[SharedData], threads: int) -> Iterator[list[SharedData]]:
    """Yield groups together, one for each thread and as many more as are small."""
    some: list[SharedData] = []
    size = 0
    for group in groups:
        some.append(group)
        size += sum(split.inputs.nbytes for split in group[1].values())
        if len(some) >= threads and size > _SCORED_BYTES:
            yield some
            some, size = [], 0
    if some:
        yield some


def _divide_running(replicas: Sequence[int], running: Sequence[bool], parts: int) -> list[list[int]]:
    """Divide those that are running into at most so many parts."""
    left = [replica for replica in replicas if running[replica]]
    return [left[first::parts] for first in range(min(parts, len(left)))]


def _prepare_thread() -> None:
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)


def sizes(stack: Stack) -> dict[str, Float[Tensor, " replicas"]]:
    """Compute the norm of each weight and the statistics of each bias, by the names of metrics."""
    values = {}
    for layer, (weight, bias) in stack.layers().items():
        values[f"norm/{layer}"] = frobenius_norm(weight.detach())
        if bias is not None:
            statistics = bias_quantiles(bias.detach())
            values |= {f"bias_{name}/{layer}": value for name, value in statistics.items()}
    return values
