"""The learning rate below which a step on a misclassified sample shrinks the norm of a layer."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor, nn
from torch.nn.functional import one_hot

from noisereg.losses import Surrogate
from noisereg.theory.homogeneity import layers, output_gradients


def norm_threshold(
    model: nn.Module, sample: Float[Tensor, "1 *shape"], *, label: Int64[Tensor, "1"], loss: Surrogate
) -> dict[str, float]:
    """Give the learning rate below which a step on a misclassified sample shrinks each layer.

    The step changes ||W||^2 by -2 h <W, G> + h^2 ||G||^2, where G = -y L' dN/dW and L' = L'(-y N). Homogeneity gives
    <W, G> = L' |N| for every layer, so the threshold is h0 = 2 |N| / (L' ||dN/dW||^2).

    Args:
        model: with one output, of the kind that `obstacles` finds nothing against.
        sample: one input, with its axis of a batch.
        label: its class, 0 for -1 and 1 for +1.
        loss: L.

    Returns:
        h0 by layer. Below the least of them, all layers shrink.

    Raises:
        ValueError: the sample is not misclassified.

    Example:
        >>> from noisereg.losses import Hinge
        >>> net = nn.Sequential(nn.Linear(2, 1, bias=False))
        >>> _ = nn.init.ones_(net[0].weight)
        >>> x = torch.tensor([[3.0, 4.0]])
        >>> round(norm_threshold(net, x, label=torch.tensor([0]), loss=Hinge())["0"], 6)  # 2 * 7 / 25
        0.56

    Source: follows from the proof in arXiv 2111.02154, appendix C.
    """
    output, gradients = output_gradients(model, sample)
    if (2 * int(label) - 1) * output >= 0:
        raise ValueError(f"the sample must be misclassified, got N(x) = {output:.3g} and label {int(label)}")
    slope = loss.slope(output.view(1, 1), one_hot(label, 2).to(output.dtype)).abs()
    return {name: float(2 * output.abs() / (slope * g.square().sum())) for name, g in gradients.items()}


def norm_changes(
    model: nn.Module, sample: Float[Tensor, "1 *shape"], *, loss: Surrogate, factors: Sequence[float]
) -> Float64[Tensor, "layers factors"]:
    """Take the step of each layer at several multiples of its threshold, with the label that N gets wrong.

    Args:
        model: with one output.
        sample: one input with N(x) other than 0, with its axis of a batch.
        loss: L.
        factors: of the threshold.

    Returns:
        (||W - h G||^2 - ||W||^2) / ||h0 G||^2 at h = f h0; theorem 1 says f^2 - f.

    Example:
        >>> from noisereg.losses import Hinge
        >>> net = nn.Sequential(nn.Linear(2, 1, bias=False)).double()
        >>> change = norm_changes(net, torch.ones(1, 2).double(), loss=Hinge(), factors=[0.5, 2.0])
        >>> [round(float(value), 6) for value in change[0]]
        [-0.25, 2.0]
    """
    wrong = (model(sample)[:, 0] <= 0).long()
    limits = norm_threshold(model, sample, label=wrong, loss=loss)
    weights = list(layers(model).values())
    gradients = torch.autograd.grad(loss(model(sample), wrong), weights)
    rows = []
    for weight, gradient, limit in zip(weights, gradients, limits.values(), strict=True):
        before, step = weight.detach().flatten(), limit * gradient.flatten()
        after = before - before.new_tensor(factors)[:, None] * step
        rows.append((after.square().sum(dim=1) - before.square().sum()) / step.square().sum())
    return torch.stack(rows).double()
