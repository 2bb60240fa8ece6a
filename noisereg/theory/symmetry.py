"""Without biases and on symmetric inputs a network keeps half of its neurons active, whatever training does to it."""

import math
from collections.abc import Sequence
from typing import cast

import torch
from jaxtyping import Float64
from torch import Tensor

from noisereg.engine import Blocked, Stack
from noisereg.errors import require_above_zero, require_positive
from noisereg.losses import Logistic, Loss
from noisereg.models import TwoLayer
from noisereg.theory.agreement import check_bound
from noisereg.theory.check import Check
from noisereg.theory.pure_noise import gaussian_noise

_PLACE = "section 5, without bias neurons"
_TIMES = 10  # measurements on the way


def check_half_active(fractions: Sequence[float], num_samples: int) -> Check:
    """Check that measured active fractions are 1/2, as they must be without biases on symmetric inputs.

    A neuron without bias that is silent on x fires on -x, and the law of x is that of -x: each neuron fires with
    probability exactly 1/2, at every weight but 0. The share of neurons that fire on one sample lies in [0, 1], so its
    mean over n samples has a standard error of at most 1 / (2 sqrt(n)); the check allows five of these.

    Args:
        fractions: at any times of any networks, each over samples of its own or the same ones.
        num_samples: n, over which each was measured.

    Raises:
        ValueError: if there is no fraction or no sample.

    Example:
        >>> check_half_active([0.49, 0.51], num_samples=1000).holds
        True
        >>> check_half_active([0.49, 0.03], num_samples=1000).holds  # what biases do
        False
    """
    if not fractions or num_samples < 1:
        raise ValueError(f"fractions and num_samples must be at least one each, got {len(fractions)} and {num_samples}")
    furthest = float(torch.tensor(fractions, dtype=torch.float64).sub(0.5).abs().max())
    says = "Half of the neurons are active at all times: the largest distance from 1/2, within 5 standard errors."
    bound = 5 / (2 * math.sqrt(num_samples))
    return check_bound(furthest, "<=", bound, id="X8-half", says=says, place=_PLACE, n=len(fractions), identity=True)


def verify_half_active(
    *,
    d: int = 30,
    hidden: int = 120,
    lr: float = 1 / 30,
    replicas: int = 4,
    steps: int = 2000,
    loss: Loss | None = None,
    samples: int = 1000,
    seed: int = 0,
) -> list[Check]:
    """Train networks without bias under pure label noise on N(0, I_d), and count active neurons all along.

    They are counted ten times on the way, on samples x_1, ..., x_n and on -x_1, ..., -x_n.

    Args:
        d: dimension.
        hidden: neurons.
        lr: learning rate.
        replicas: networks.
        steps: of training; rounded up to a multiple of ten.
        loss: any; the logistic loss by default.
        samples: n.
        seed: of weights and samples.

    Example:
        >>> [check.measured for check in verify_half_active(d=5, hidden=8, steps=50, samples=100)][0]
        0.0

    Source: arXiv 2111.02154, section 5.
    """
    require_positive(d=d, hidden=hidden, replicas=replicas, steps=steps, samples=samples)
    require_above_zero(lr=lr)
    models = [TwoLayer((d,), 1, hidden=hidden, bias="none", seed=seed + replica) for replica in range(replicas)]
    stack, engine, rates = Stack.of(models), Blocked(loss or Logistic()), torch.full((replicas,), lr)
    points, _ = gaussian_noise(seed, _TIMES, count=samples, d=d)
    once, mirrored = [_measure_active_fractions(stack, points)], [_measure_active_fractions(stack, -points)]
    chunk = math.ceil(steps / _TIMES)
    index = torch.arange(replicas * chunk).view(replicas, chunk)
    for time in range(_TIMES):
        inputs, targets = gaussian_noise(seed, time, count=index.numel(), d=d)
        engine(stack, stack.prepare(inputs), index=index, targets=targets.view(replicas, chunk, 2), rates=rates)
        once.append(_measure_active_fractions(stack, points))
        mirrored.append(_measure_active_fractions(stack, -points))
    says = "On x and -x together each neuron fires once: the largest distance of the active fraction from 1/2."
    furthest = float((torch.stack(once) + torch.stack(mirrored) - 1).abs().max() / 2)
    n = len(once) * replicas
    pairs = check_bound(furthest, "=", 0.0, id="X8-pairs", says=says, place=_PLACE, n=n, identity=True)
    return [pairs, check_half_active(torch.stack(once).flatten().tolist(), samples)]


def _measure_active_fractions(stack: Stack, points: Float64[Tensor, "n d"]) -> Float64[Tensor, " replicas"]:
    return (stack.prepare(points) @ cast(Tensor, stack.hidden).detach() > 0).double().mean(dim=(1, 2))
