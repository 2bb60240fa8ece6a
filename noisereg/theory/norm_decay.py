"""Theorem 1 verified: a small enough step on a misclassified sample shrinks the norm of every layer."""

from collections.abc import Sequence
from math import nan

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor, nn
from torch.nn.utils import skip_init

from noisereg import rng
from noisereg.losses import Hinge, Logistic
from noisereg.models import MLP, Neuron, ResNet, initialize
from noisereg.rng import Stream
from noisereg.theory.check import Check, Curve
from noisereg.theory.homogeneity import euler_violation, obstacles
from noisereg.theory.threshold import norm_changes

_PLACE = "section 4, theorem 1"
_IMAGE = (1, 6, 6)
_LOSSES = (Hinge(), Logistic())
_FACTORS = (0.001, 0.25, 0.5, 0.75, 0.999, 1.001, 1.25, 1.5)


def threshold_checks(
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
        return [_not_applicable("T1", says, reasons=reasons, n=n, measured=nan, predicted=nan)]
    changes = _all_changes(models, inputs, factors)
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
        _share("T1-below", "A step below h0 shrinks the norm of every layer.", shrank, curve=curve),
        _share("T1-above", "A step above h0 makes the norm grow.", grew),
        _euler_check(models, inputs),
    ]


def verify_threshold(*, seeds: int = 10, samples: int = 8, depths: Sequence[int] = (1, 2, 3, 4)) -> list[Check]:
    """Verify theorem 1 on random networks, and look at networks that it does not cover.

    Covered are chains as in equation (2) with ReLU and with LeakyReLU, and a convolutional net. Ordinary biases, as in
    equation (1), and ResNet-20 are not: their rows say why, and what was measured.

    Args:
        seeds: random networks of each kind.
        samples: of each network, each with the label that it gets wrong.
        depths: numbers of weight layers of the chains.

    Returns:
        Rows T1-below, T1-above, T1-euler, T1-biases (measured: the share of the layers that shrink at a small step) and
        T1-resnet (measured: the violation of Euler's identity).

    Example:
        >>> [check.holds for check in verify_threshold(seeds=1, samples=2, depths=[2])][:3]
        [True, True, True]
    """
    inputs = _normal_inputs(samples, _IMAGE)
    models = [chain(depth, leaky=leaky, seed=s) for s in range(seeds) for depth in depths for leaky in (False, True)]
    models += [shared_net(seed=seed) for seed in range(seeds)]
    biased = [chain(depth, bias="same", seed=seed) for seed in range(seeds) for depth in depths]
    return [*threshold_checks(models, inputs), _with_biases(biased, inputs), _residual(samples=min(samples, 2))]


def chain(depth: int, *, leaky: bool = False, bias: str = "none", seed: int = 0) -> nn.Module:
    """Build a fully connected net on 6 x 6 images: equation (2), or equation (1) with a law of the biases.

    Example:
        >>> [name for name, _ in chain(3).named_parameters()]
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


def shared_net(*, seed: int = 0) -> nn.Module:
    """Build a net with shared weights, ReLU, LeakyReLU and pooling: it is homogeneous in each of its three layers.

    Example:
        >>> shared_net()(torch.zeros(1, 1, 6, 6).double())
        tensor([[0.]], dtype=torch.float64, grad_fn=<MmBackward0>)
    """
    first, second = (skip_init(nn.Conv2d, channels, 3, 3, bias=False) for channels in (1, 3))
    last = skip_init(nn.Linear, 3, 1, bias=False)
    net = nn.Sequential(first, nn.ReLU(), second, nn.LeakyReLU(0.1), nn.AvgPool2d(2), nn.Flatten(), last)
    initialize(net, init="he", bias="none", seed=seed)
    return net.double()


def _normal_inputs(samples: int, shape: tuple[int, ...]) -> Float64[Tensor, "samples *shape"]:
    index = torch.arange(samples * torch.Size(shape).numel())
    return rng.normal(0, Stream.TRAIN_DATA, 0, index).view(samples, *shape)


def _all_changes(
    models: Sequence[nn.Module], inputs: Float[Tensor, "batch *shape"], factors: Sequence[float]
) -> Float64[Tensor, "steps factors"]:
    pairs = [(model, sample) for model in models for sample in inputs.split(1) if model(sample).any()]
    return torch.cat([norm_changes(*pair, loss=loss, factors=factors) for pair in pairs for loss in _LOSSES])


def _euler_check(models: Sequence[nn.Module], inputs: Float[Tensor, "batch *shape"]) -> Check:
    violation = max(max(euler_violation(model, inputs).values()) for model in models)
    return Check(
        id="T1-euler",
        says="<W, dN/dW> = N for every layer W: the largest relative difference is a float error.",
        place=f"{_PLACE}, appendix C",
        measured=violation,
        predicted=1e-8,
        relation="<=",
        holds=violation <= 1e-8,
        n=len(models) * len(inputs),
    )


def _share(id: str, says: str, right: Bool[Tensor, "steps factors"], *, curve: Curve | None = None) -> Check:
    return Check(
        id=id,
        says=says,
        place=_PLACE,
        measured=float(right.double().mean()),
        predicted=1.0,
        relation="=",
        holds=bool(right.all()),
        n=right.numel(),
        note=f"{int(right.sum()):,} of {right.numel():,} steps",
        curve=curve,
    )


def _not_applicable(id: str, says: str, *, reasons: Sequence[str], n: int, measured: float, predicted: float) -> Check:
    return Check(
        id=id,
        says=says,
        place=_PLACE,
        measured=measured,
        predicted=predicted,
        relation="=",
        holds=False,
        n=n,
        applicable=False,
        note="; ".join(reasons),
    )


def _with_biases(models: Sequence[nn.Module], inputs: Float[Tensor, "batch *shape"]) -> Check:
    changes = _all_changes(models, inputs, _FACTORS[:1])
    changes = changes[changes.isfinite()]  # the layers below a dead one have no gradient
    says = "With ordinary biases, equation (1), most layers shrink at a small step, but not all."
    return _not_applicable(
        "T1-biases",
        says,
        reasons=[f"the layers have biases; {int((changes < 0).sum()):,} of {len(changes):,} steps shrink the norm"],
        n=len(changes),
        measured=float((changes < 0).double().mean()),
        predicted=1.0,
    )


def _residual(*, samples: int) -> Check:
    model = ResNet((3, 32, 32), 1, depth=20)
    inputs = _normal_inputs(samples, (3, 32, 32)).float()
    violation = max(euler_violation(model, inputs).values())
    return _not_applicable(
        "T1-resnet",
        "In a ResNet-20, <W, dN/dW> is not N: the largest relative difference.",
        reasons=obstacles(model, inputs),
        n=samples,
        measured=violation,
        predicted=0.0,
    )
