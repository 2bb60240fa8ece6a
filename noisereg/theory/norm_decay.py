"""Theorem 1: a small enough step on a misclassified sample shrinks the norm of every layer."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor, nn
from torch.nn.functional import one_hot

from noisereg import rng
from noisereg.errors import require_positive
from noisereg.losses import Hinge, Logistic, Surrogate
from noisereg.models import MLP, Neuron, ResNet, initialize
from noisereg.models.init import make_layer
from noisereg.rng import Stream
from noisereg.theory.agreement import build_not_applicable, check_bound
from noisereg.theory.check import Check, Curve
from noisereg.theory.homogeneity import euler_violation, layers, obstacles, output_gradients

_PLACE = "section 4, theorem 1"
_IMAGE = (1, 6, 6)
_LOSSES = (Hinge(), Logistic())
_FACTORS = (0.001, 0.25, 0.5, 0.75, 0.999, 1.001, 1.25, 1.5)


def norm_threshold(
    model: nn.Module, sample: Float[Tensor, "1 *shape"], *, label: Int64[Tensor, "1"], loss: Surrogate
) -> dict[str, float]:
    """Compute the learning rate below which a step on a misclassified sample shrinks each layer.

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
        raise ValueError(f"sample must be misclassified, got N(x) = {output:.3g} and label {int(label)}")
    slope = loss.slope(output.view(1, 1), one_hot(label, 2).to(output.dtype)).abs()
    return {name: float(2 * output.abs() / (slope * g.square().sum())) for name, g in gradients.items()}


def norm_changes(
    model: nn.Module, sample: Float[Tensor, "1 *shape"], *, loss: Surrogate, factors: Sequence[float]
) -> Float64[Tensor, "layers factors"]:
    """Compute the change of each layer at several multiples of its threshold, with the label that N gets wrong.

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


def check_thresholds(
    models: Sequence[nn.Module], inputs: Float[Tensor, "batch *shape"], *, factors: Sequence[float] = _FACTORS
) -> list[Check]:
    """Compare steps of the hinge and the logistic loss, below and above the threshold, with theorem 1.

    Args:
        models: with one output.
        inputs: each gets the label that the model gets wrong.
        factors: multiples of the threshold, below and above 1.

    Returns:
        Three rows: the norms that shrink below the threshold, those that grow above it, and Euler's identity. If the
        theorem does not apply to a model, one row that says why.
    """
    reasons = list(dict.fromkeys(reason for model in models for reason in obstacles(model, inputs[:1])))
    if reasons:
        n = len(models) * len(inputs)
        says = "A small step on a misclassified sample shrinks the norm of every layer."
        return [build_not_applicable(reasons, predicted=math.nan, id="T1", says=says, place=_PLACE, n=n)]
    changes = _measure_changes(models, inputs, factors)
    place, mean = torch.tensor(factors, dtype=torch.float64), changes.mean(dim=0)
    curve = Curve(
        x_title="learning rate / threshold",
        y_title="change of the squared norm",
        x=factors,
        measured=mean.tolist(),
        predicted=(place.square() - place).tolist(),
    )
    shrank, grew = changes[:, place < 1] < 0, changes[:, place > 1] > 0
    return [
        _check_share("T1-below", "A step below h0 shrinks the norm of every layer.", shrank, curve=curve),
        _check_share("T1-above", "A step above h0 makes the norm grow.", grew),
        _check_euler(models, inputs),
    ]


def verify_threshold(
    *, seeds: int = 10, samples: int = 8, depths: Sequence[int] = (1, 2, 3, 4), seed: int = 0
) -> list[Check]:
    """Verify theorem 1 on random networks, and look at networks that it does not cover.

    Covered are chains as in equation (2) with ReLU and with LeakyReLU, and a convolutional net. Ordinary biases, as in
    equation (1), and ResNet-20 are not: their rows say why, and what was measured.

    Args:
        seeds: random networks of each kind.
        samples: of each network, each with the label that it gets wrong.
        depths: numbers of weight layers of the chains.
        seed: of the first network of a kind, and of the inputs.

    Returns:
        Rows T1-below, T1-above, T1-euler, T1-biases (measured: the share of the layers that shrink at a small step) and
        T1-resnet (measured: the violation of Euler's identity).

    Example:
        >>> [check.holds for check in verify_threshold(seeds=1, samples=2, depths=[2])][:3]
        [True, True, True]
    """
    require_positive(seeds=seeds, samples=samples, depths=min(depths, default=0))
    inputs, each = _draw_inputs(samples, _IMAGE, seed=seed), range(seed, seed + seeds)
    models = [build_chain(depth, leaky=leaky, seed=s) for s in each for depth in depths for leaky in (False, True)]
    models += [build_shared_net(seed=s) for s in each]
    biased = [build_chain(depth, bias="same", seed=s) for s in each for depth in depths]
    return [*check_thresholds(models, inputs), _check_biases(biased, inputs), _check_resnet(samples=min(samples, 2))]


def build_chain(depth: int, *, leaky: bool = False, bias: str = "none", seed: int = 0) -> nn.Module:
    """Build a fully connected net on 6 x 6 images: equation (2), or equation (1) with a law of the biases.

    Example:
        >>> [name for name, _ in build_chain(3).named_parameters()]
        ['linear1.weight', 'linear2.weight', 'output.weight']
    """
    if depth == 1:
        return Neuron(_IMAGE, 1, bias=bias, seed=seed).double()
    widths = [12] * (depth - 1)
    net = MLP(_IMAGE, 1, hidden=widths, init="uniform", bias=bias, append_one=bias == "none", seed=seed).double()
    for name, module in net.named_children():
        if leaky and isinstance(module, nn.ReLU):
            net.set_submodule(name, nn.LeakyReLU(0.1))
    return net


def build_shared_net(*, seed: int = 0) -> nn.Module:
    """Build a net with shared weights, ReLU, LeakyReLU and pooling: it is homogeneous in each of its three layers.

    Example:
        >>> build_shared_net()(torch.zeros(1, 1, 6, 6).double())
        tensor([[0.]], dtype=torch.float64, grad_fn=<MmBackward0>)
    """
    first, second = (make_layer(nn.Conv2d, channels, 3, 3, bias=False) for channels in (1, 3))
    last = make_layer(nn.Linear, 3, 1, bias=False)
    net = nn.Sequential(first, nn.ReLU(), second, nn.LeakyReLU(0.1), nn.AvgPool2d(2), nn.Flatten(), last)
    initialize(net, init="he", bias="none", seed=seed)
    return net.double()


def _draw_inputs(samples: int, shape: tuple[int, ...], *, seed: int = 0) -> Float64[Tensor, "samples *shape"]:
    index = torch.arange(samples * torch.Size(shape).numel())
    return rng.normal(seed, Stream.TRAIN_DATA, 0, index).view(samples, *shape)


def _measure_changes(
    models: Sequence[nn.Module], inputs: Float[Tensor, "batch *shape"], factors: Sequence[float]
) -> Float64[Tensor, "steps factors"]:
    pairs = [(model, sample) for model in models for sample in inputs.split(1) if model(sample).any()]
    return torch.cat([norm_changes(*pair, loss=loss, factors=factors) for pair in pairs for loss in _LOSSES])


def _check_euler(models: Sequence[nn.Module], inputs: Float[Tensor, "batch *shape"]) -> Check:
    violation = max(max(euler_violation(model, inputs).values()) for model in models)
    says = "<W, dN/dW> = N for every layer W: the largest relative difference is a float error."
    row: dict[str, Any] = {"place": f"{_PLACE}, appendix C", "n": len(models) * len(inputs), "identity": True}
    return check_bound(violation, "<=", 1e-8, id="T1-euler", says=says, **row)


def _check_share(id: str, says: str, right: Bool[Tensor, "steps factors"], *, curve: Curve | None = None) -> Check:
    share, n = float(right.double().mean()), right.numel()
    row: dict[str, Any] = {"place": _PLACE, "note": f"{int(right.sum()):,} of {n:,} steps", "identity": True}
    return check_bound(share, "=", 1.0, id=id, says=says, n=n, curve=curve, **row)


def _check_biases(models: Sequence[nn.Module], inputs: Float[Tensor, "batch *shape"]) -> Check:
    changes = _measure_changes(models, inputs, _FACTORS[:1])
    changes = changes[changes.isfinite()]  # the layers below a dead one have no gradient
    share, n = float((changes < 0).double().mean()), len(changes)
    reason = f"the layers have biases; {int((changes < 0).sum()):,} of {n:,} steps shrink the norm"
    says = "With ordinary biases, equation (1), most layers shrink at a small step, but not all."
    row: dict[str, Any] = {"id": "T1-biases", "says": says, "place": _PLACE, "n": n}
    return build_not_applicable([reason], predicted=1.0, measured=share, **row)


def _check_resnet(*, samples: int) -> Check:
    model = ResNet((3, 32, 32), 1, depth=20)
    inputs = _draw_inputs(samples, (3, 32, 32)).float()
    violation = max(euler_violation(model, inputs).values())
    says = "In a ResNet-20, <W, dN/dW> is not N: the largest relative difference."
    row: dict[str, Any] = {"id": "T1-resnet", "says": says, "place": _PLACE, "n": samples}
    return build_not_applicable(obstacles(model, inputs), predicted=0.0, measured=violation, **row)
