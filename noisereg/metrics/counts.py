"""Pure functions of counts: how often each unit fires for each class, and what follows from it.

Source: E. Cornacchia, J. Hazla, I. Nachum, A. Yehudayoff, "Regularization by Misclassification in ReLU Neural
Networks", 2021, Definition 1 and appendix F.
"""

import math

import torch
from jaxtyping import Bool, Float, Int64, Num
from torch import Tensor

from noisereg.metrics.threshold import Threshold

OVER_ZERO = Threshold()
# Whole numbers up to here are exact: sums over so many rows.
_EXACT_ROWS = {torch.float32: 2**24, torch.bfloat16: 2**8}
_CACHED = 2**21  # numbers at a time that stay in the cache of a CPU
_MOST_CLASSES = 100  # beyond, a histogram a unit is not kept unless asked for
UNKNOWN = -(2**40)  # count of a unit that was nan; whatever is added to it, it stays below 0


def counted_classes(num_classes: object) -> int | None:
    """Return by how many classes firings are counted where nothing is asked for: those of the data, if at most 100.

    Args:
        num_classes: what the data say of them; None if they have none, or anything else that is no number of classes.

    Example:
        >>> counted_classes(10), counted_classes(1000), counted_classes(None)
        (10, None, None)
    """
    return num_classes if isinstance(num_classes, int) and 2 <= num_classes <= _MOST_CLASSES else None


def count_firings(
    activations: Float[Tensor, "batch *units"],
    labels: Int64[Tensor, "batch"],
    num_classes: int,
    *,
    threshold: Threshold = OVER_ZERO,
) -> Int64[Tensor, "classes flat_units"]:
    """Count how often each unit fires on the samples of each class.

    A unit fires on a sample if its output is above the threshold: > 0 unless another is given. The counts are exact for
    any number of rows, in any precision, and also under autocast. Nothing waits for the device. A unit that is nan on a
    sample neither fires nor does not: all counts of its layer are below 0.

    Args:
        activations: outputs after ReLU; the axes behind the first are flattened to units.
        labels: of the samples, in [0, num_classes).
        num_classes: at least 1.
        threshold: above which a unit fires.

    Returns:
        One row a class, one column a unit.

    Example:
        >>> count_firings(torch.tensor([[1.0, 0.0], [2.0, 3.0]]), torch.tensor([0, 1]), 2)
        tensor([[1, 0],
                [1, 1]])
    """
    order = sorted(range(1, activations.ndim), key=activations.stride, reverse=True)
    laid = activations.detach().permute(0, *order)
    counts = _count_by_class(laid, labels, num_classes=num_classes, threshold=threshold)
    back = [0, *(1 + order.index(axis) for axis in range(1, activations.ndim))]
    return counts.permute(back).reshape(num_classes, activations.shape[1:].numel())


def summarize_counts(
    fires: Int64[Tensor, "*stack classes units"], samples: Int64[Tensor, "*#stack classes"]
) -> dict[str, Tensor]:
    """Compute the metrics of one layer from its counts; all are nan if no sample was seen, or a unit was nan on one.

    Args:
        fires: how often each unit fired, one row a class, or a single row if classes are not told apart. Axes before
            these two are those of the values.
        samples: how many samples of each class were seen, one number for all of these axes or one for each.

    Returns:
        `active_neurons` and `active_fraction`: mean over the samples of the number and of the share of units that
        fire (Definition 1); `sparsity`: 1 - active_fraction; `dead_fraction` and `always_on_fraction`: share of the
        units that fired on none and on all of the samples. With classes also `associated_neurons` and
        `associated_by_rate_neurons`, see `associated` and `associated_by_rate`, and `label_entropy`, the mean of
        `label_entropy` over the units that fired; nan if none did.

    Example:
        >>> summary = summarize_counts(torch.tensor([[0, 0, 1, 4]]), torch.tensor([4]))
        >>> summary["active_neurons"], summary["dead_fraction"], summary["always_on_fraction"]
        (tensor(1.2500), tensor(0.5000), tensor(0.2500))
    """
    total, seen = fires.sum(dim=-2), samples.sum(dim=-1)
    active_neurons = total.sum(dim=-1) / seen
    active_fraction = active_neurons / total.shape[-1]
    summary = {
        "active_neurons": active_neurons,
        "active_fraction": active_fraction,
        "sparsity": 1 - active_fraction,
        "dead_fraction": (total == 0).float().mean(dim=-1).where(seen > 0, torch.nan),
        "always_on_fraction": (total == seen.unsqueeze(-1)).float().mean(dim=-1).where(seen > 0, torch.nan),
    }
    if fires.shape[-2] > 1:
        histogram = fires.mT
        for key, units in {
            "associated_neurons": associated(histogram),
            "associated_by_rate_neurons": associated_by_rate(histogram, samples.unsqueeze(-2)),
        }.items():
            summary[key] = units.sum(dim=-1).float().where(seen > 0, torch.nan)
        summary["label_entropy"] = label_entropy(histogram).nanmean(dim=-1)
    is_known = (fires >= 0).all(dim=-1).all(dim=-1)
    return {key: value.where(is_known, torch.nan) for key, value in summary.items()}


def associated(histogram: Num[Tensor, "*units classes"]) -> Bool[Tensor, "*units"]:
    """Return which units fire at least twice as often for one class as for any other.

    A dead unit is associated with nothing. These are raw counts, as in appendix F: a class with more samples weighs
    more. See `associated_by_rate` for the other convention.

    Args:
        histogram: how often each unit fired for each class; at least two classes.

    Example:
        >>> associated(torch.tensor([[4, 2, 0], [4, 3, 0], [0, 0, 0]]))
        tensor([ True, False, False])
    """
    top, second = histogram.topk(2, dim=-1).values.unbind(dim=-1)
    return (top > 0) & (top >= 2 * second)


def associated_by_rate(
    histogram: Int64[Tensor, "*units classes"], samples: Int64[Tensor, "*#units classes"]
) -> Bool[Tensor, "*units"]:
    """Return which units fire at twice the rate for one class than for any other, whatever the sizes of the classes.

    Args:
        histogram: how often each unit fired for each class; at least two classes.
        samples: how many samples of each class were seen; a class without samples has rate 0.

    Example:
        >>> associated_by_rate(torch.tensor([[4, 3]]), torch.tensor([4, 10]))
        tensor([True])
    """
    return associated(histogram.double() / samples.clamp(min=1))


def label_entropy(histogram: Int64[Tensor, "*units classes"]) -> Float[Tensor, "*units"]:
    """Compute the entropy of the class of a sample on which a unit fires, in bits.

    It is 0 for a unit that fires for one class alone, log2(C) for one that fires as often for each; nan for a dead
    unit. These are raw counts, as in appendix F.

    Args:
        histogram: how often each unit fired for each class.

    Example:
        >>> label_entropy(torch.tensor([[4, 4, 0, 0], [3, 0, 0, 0]]))
        tensor([1., 0.])
    """
    shares = histogram / histogram.sum(dim=-1, keepdim=True)
    return torch.special.entr(shares).sum(dim=-1) / math.log(2)


def count_turnover(before: Bool[Tensor, "*stack units"], after: Bool[Tensor, "*stack units"]) -> dict[str, Tensor]:
    """Count the units that died and that revived between two measurements on the same samples.

    Args:
        before: which units fired at least once then.
        after: which do so now.

    Returns:
        `died_neurons`: how many fired before and do not now; `revived_neurons`: how many fire now and did not before.

    Example:
        >>> count_turnover(torch.tensor([True, True, False]), torch.tensor([True, False, False]))
        {'died_neurons': tensor(1.), 'revived_neurons': tensor(0.)}
    """
    changed = {"died_neurons": before & ~after, "revived_neurons": after & ~before}
    return {key: units.sum(dim=-1).float() for key, units in changed.items()}


def _count_by_class(
    laid: Float[Tensor, "batch *units"], labels: Int64[Tensor, "batch"], *, num_classes: int, threshold: Threshold
) -> Int64[Tensor, "classes *units"]:
    """Count by a product of a one-hot matrix; the units lie as in memory, so that channels_last costs no copy."""
    units = laid.shape[1:]
    on_cpu = laid.device.type == "cpu"
    dtype = torch.bfloat16 if on_cpu and laid.dtype == torch.bfloat16 else torch.float32
    rows = min(_EXACT_ROWS[dtype], max(1, _CACHED // max(1, units.numel()))) if on_cpu else _EXACT_ROWS[dtype]
    one_hot = torch.zeros(num_classes, len(labels), device=laid.device, dtype=dtype).scatter_(0, labels[None], 1.0)
    counts = torch.zeros(num_classes, units.numel(), device=laid.device, dtype=torch.int64)
    buffer = torch.empty(min(rows, len(laid)), *units, device=laid.device, dtype=dtype)
    with torch.autocast(laid.device.type, enabled=False):
        for part, classes in zip(laid.split(rows), one_hot.split(rows, dim=1), strict=True):
            outputs = part.abs() if threshold.magnitude else part
            active = torch.gt(outputs, threshold.limits(part), out=buffer[: len(part)])
            counts += (classes @ active.view(len(part), units.numel())).long()
            counts += UNKNOWN * part.sum().isnan()
    return counts.view(num_classes, *units)
