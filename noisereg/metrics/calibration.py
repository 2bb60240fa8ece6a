"""How far the probabilities that a network gives can be trusted."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor
from torch.nn.functional import one_hot

from noisereg.losses import log_probabilities
from noisereg.metrics.predictions import predictions

_BELOW_ONE = 1 - 2.0**-24  # the float32 next to 1, so that the last bin holds it


@dataclass(frozen=True, eq=False)
class Reliability:
    """How sure and how right the predictions are, in equal bins of the confidence.

    Attributes:
        count: of the samples in each bin.
        confidence: mean probability of the predicted class; nan in an empty bin.
        accuracy: share of right predictions, see `predictions`; nan in an empty bin.
    """

    count: Int64[Tensor, " bins"]
    confidence: Float64[Tensor, " bins"]
    accuracy: Float64[Tensor, " bins"]


def calibration(
    logits: Float[Tensor, "samples outputs"], labels: Int64[Tensor, " samples"], *, num_bins: int = 15
) -> dict[str, Float[Tensor, ""]]:
    """Measure calibration against the labels.

    Probabilities are the softmax of the logits, and for one output N those of (0, N), so that the second class has
    the sigmoid of N. They are what the network was trained to give only where the loss is the cross-entropy.

    Args:
        logits: at least one sample; one output a class, or one for two classes.
        labels: in [0, classes).
        num_bins: of the confidence, the largest probability, from 0 to 1.

    Returns:
        `ece`: expected calibration error, the mean over the samples of |accuracy - confidence| of their bin, in
        [0, 1]; `nll`: mean negative log-likelihood, in nats; `brier`: mean over the samples of the squared distance
        between the probabilities and the one-hot label, in [0, 2].

    Raises:
        ValueError: if num_bins is below 1.

    Example:
        >>> {key: round(float(value), 4) for key, value in calibration(torch.zeros(4, 2), torch.arange(4) % 2).items()}
        {'ece': 0.0, 'nll': 0.6931, 'brier': 0.5}

    Source:
        C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, "On calibration of modern neural networks", ICML 2017, section 2;
        G. W. Brier, "Verification of forecasts expressed in terms of probability", 1950.
    """
    bins, log_probs = reliability(logits, labels, num_bins=num_bins), log_probabilities(logits.double())
    gaps = bins.count * (bins.accuracy - bins.confidence).abs()
    return {
        "ece": gaps.where(bins.count > 0, 0).sum() / len(labels),
        "nll": -log_probs.gather(1, labels[:, None]).mean(),
        "brier": (log_probs.exp() - one_hot(labels, log_probs.shape[1])).square().sum(dim=1).mean(),
    }


def reliability(
    logits: Float[Tensor, "samples outputs"], labels: Int64[Tensor, " samples"], *, num_bins: int = 15
) -> Reliability:
    """Count the predictions in bins of confidence; the gaps of the bins, weighted by their counts, make up the `ece`.

    A bin holds its lower end, and the last one holds both its ends, and what is nan. (torchmetrics, which has the same
    `ece` else, gives confidences of exactly 1 a bin of their own.) The arguments are those of `calibration`.

    Raises:
        ValueError: if num_bins is below 1.

    Example:
        >>> bins = reliability(torch.tensor([[9.0, 0.0], [9.0, 0.0], [0.0, 0.5]]), torch.tensor([0, 1, 1]), num_bins=4)
        >>> bins.count, bins.accuracy
        (tensor([0, 0, 1, 2]), tensor([   nan,    nan, 1.0000, 0.5000], dtype=torch.float64))
    """
    if num_bins < 1:
        raise ValueError(f"num_bins must be at least 1, got {num_bins}")
    probabilities = log_probabilities(logits.double()).exp().float().clamp(max=_BELOW_ONE)
    confidences, predicted = probabilities.max(dim=1).values, predictions(logits)
    ends = torch.linspace(0, 1, num_bins + 1, device=confidences.device)
    place = (torch.bucketize(confidences, ends, right=True) - 1).clamp(max=num_bins - 1)  # of nan it is beyond the last
    count = torch.bincount(place, minlength=num_bins)
    sums = (torch.bincount(place, values.double(), minlength=num_bins) for values in (confidences, predicted == labels))
    return Reliability(count, *(total / count for total in sums))
