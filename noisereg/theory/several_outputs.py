"""Theorem 1 with several outputs: what it says of each output under equation (3), and why softmax is not covered.

In a chain without biases every output z_j is homogeneous of degree 1 in each layer, <W, dz_j/dW> = z_j. So under
gradient flow d||W||^2/dt = -2 sum_j z_j dL/dz_j for every layer that all outputs share, and the same with the one term
j for the weights of output j. With one output and a mistake the sum is negative; of several terms some can be positive.

Source: follows from the proof in arXiv 2111.02154, appendix C; the statements are those of its section 6.4.
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from noisereg import rng
from noisereg.errors import require_positive
from noisereg.losses import CrossEntropy, Logistic, Loss
from noisereg.models import MLP
from noisereg.rng import Stream
from noisereg.theory.agreement import check_bound
from noisereg.theory.check import Check
from noisereg.theory.homogeneity import layers

_PLACE = "section 6.4"
_CLASSES = 10
_COUNTEREXAMPLE = (0.9, 1.0, *[0.0] * 8)  # the first is the true class, so that the second is a mistake


def norm_rates(
    logits: Float[Tensor, "batch outputs"], labels: Int64[Tensor, " batch"], *, loss: Loss
) -> Float[Tensor, "batch outputs"]:
    """Compute the terms -2 z_j dL/dz_j, whose sum is d||W||^2/dt of a shared layer, and each one that of its output's.

    Args:
        logits: z of samples, each trained by itself.
        labels: their classes.
        loss: L.

    Example:
        >>> z = torch.tensor([[1.0, -2.0]])
        >>> rates = norm_rates(z, torch.tensor([0]), loss=Logistic())  # both are right: 2 s / (1 + e^s), s = 1 and 2
        >>> [round(float(rate), 4) for rate in rates[0]]
        [0.5379, 0.4768]
    """
    leaf = logits.detach().clone().requires_grad_()
    (slope,) = torch.autograd.grad(loss.per_class(leaf).gather(1, labels[:, None]).sum(), leaf)
    return -2 * leaf.detach() * slope


def verify_outputs(*, seeds: int = 20, samples: int = 50, d: int = 20, hidden: int = 30, seed: int = 0) -> list[Check]:
    """Verify what section 6.4 says of theorem 1 with ten outputs, on random networks of equation (2).

    Args:
        seeds: number of networks.
        samples: inputs of each, with random labels.
        d: dimension of the inputs.
        hidden: neurons.
        seed: of the first network; the others follow.

    Returns:
        Rows T1-outputs, the share of the wrong outputs whose own weights shrink at a small step of the loss of equation
        (3); T1-outputs-hidden, the share of the samples with a wrong output at which the hidden weights do; and
        T1-softmax, the rate of ||W||^2 at a misclassified sample under softmax cross-entropy.

    Example:
        >>> [check.holds for check in verify_outputs(seeds=2, samples=10)]
        [True, True, True]
    """
    require_positive(seeds=seeds, samples=samples, d=d, hidden=hidden)
    own, shared = [], []
    for s in range(seed, seed + seeds):
        model = MLP((d,), _CLASSES, hidden=hidden, init="he", bias="none", append_one=True, seed=s).double()
        inputs = rng.normal(s, Stream.TRAIN_DATA, 0, torch.arange(samples * d)).view(samples, d)
        labels = (_CLASSES * rng.uniform(s, Stream.TRAIN_LABEL, 0, torch.arange(samples))).long()
        for sample, label in zip(inputs.split(1), labels.split(1), strict=True):
            logits = model(sample)[0].detach()
            wrong = ((logits > 0) != (torch.arange(_CLASSES) == label)) & (logits != 0)  # at 0 all neurons are silent
            hidden_change, output_changes = _measure_changes(model, sample, label)
            own += output_changes[wrong].tolist()
            shared += [hidden_change] if wrong.any() else []
    shrinks = sum(change < 0 for change in own) / max(len(own), 1)
    share = sum(change < 0 for change in shared) / max(len(shared), 1)
    outputs = "With loss (3), the weights of each output that is wrong shrink at a small step: their share."
    layer = "The hidden weights, which all ten outputs share, shrink at most samples with a wrong output, not at all."
    grows = "With softmax the norms grow at a misclassified sample with logits 0.9 (its class), 1 and 0: d||W||^2/dt."
    return [
        check_bound(shrinks, "=", 1.0, id="T1-outputs", says=outputs, place=_PLACE, n=len(own), identity=True),
        check_bound(share, "<", 1.0, id="T1-outputs-hidden", says=layer, place=_PLACE, n=len(shared)),
        check_bound(_measure_softmax_rate(), ">", 0.0, id="T1-softmax", says=grows, place=_PLACE, n=1),
    ]


def _measure_changes(
    model: MLP, sample: Float[Tensor, "1 d"], label: Int64[Tensor, "1"]
) -> tuple[float, Float[Tensor, " outputs"]]:
    """Return d||W||^2/dt of the hidden layer and of the weights of each output, from the gradients themselves."""
    weights = list(layers(model).values())
    gradients = torch.autograd.grad(Logistic()(model(sample), label), weights)
    hidden, outputs = (
        -2 * (weight * slope).detach().sum(dim=1) for weight, slope in zip(weights, gradients, strict=True)
    )
    return float(hidden.sum()), outputs


def _measure_softmax_rate() -> float:
    """Return d||W||^2/dt of a linear layer whose logits at x = 1 are those of the counter-example."""
    layer = nn.Linear(1, _CLASSES, bias=False, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(_COUNTEREXAMPLE)[:, None])
    loss = CrossEntropy()(layer(torch.ones(1, 1, dtype=torch.float64)), torch.tensor([0]))
    (gradient,) = torch.autograd.grad(loss, [layer.weight])
    return float(-2 * (layer.weight.detach() * gradient).sum())
