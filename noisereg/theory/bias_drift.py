"""In which direction the biases of a network with one hidden layer move at the start of training on pure noise.

A step on (x, y) moves the bias of neuron i by h y v_i L'(-y N) if the neuron fires. With a fair y that is, in
expectation, -(h / 2) v_i (L'(N) - L'(-N)), and for the logistic loss -(h / 2) v_i tanh(N / 2). As v_i ReLU(w_i x) is a
part of N, v_i and tanh(N / 2) have the same sign more often than not where the neuron fires: biases fall on average. Of
a single neuron the rest of N can decide otherwise.

Source: arXiv 2111.02154, section 5, "at initialization, this can be seen from backpropagation formulas".
"""

from typing import Any

import torch
from jaxtyping import Float64
from torch import Tensor

from noisereg import rng
from noisereg.errors import require_positive
from noisereg.models import TwoLayer
from noisereg.rng import Stream
from noisereg.theory.agreement import check_bound
from noisereg.theory.check import Check

_PLACE = "section 5, with bias neurons"


@torch.no_grad()
def bias_steps(model: TwoLayer, inputs: Float64[Tensor, "n d"]) -> Float64[Tensor, " hidden"]:
    """Compute the expected change of each hidden bias in a step of the logistic loss with a fair label, over h.

    Args:
        model: with one output.
        inputs: over which it is the mean.

    Example:
        >>> model = TwoLayer((1,), 1, hidden=1, seed=0).double()
        >>> _ = [torch.nn.init.ones_(model.hidden.weight), torch.nn.init.ones_(model.output.weight)]
        >>> bias_steps(model, torch.tensor([[2.0]]).double())  # -tanh(1) / 2
        tensor([-0.3808], dtype=torch.float64)
    """
    fires = (model.hidden(inputs) > 0).double()
    pull = torch.tanh(model(inputs)[:, 0] / 2)
    return -model.output.weight[0] * (pull @ fires) / (2 * len(inputs))


def verify_bias_drift(
    *, d: int = 30, hidden: int = 120, networks: int = 20, samples: int = 20_000, seed: int = 0
) -> list[Check]:
    """Measure the expected step of every hidden bias in networks as they are initialised for figure 4.

    Args:
        d: dimension of the inputs, which are normal.
        hidden: neurons of a network.
        networks: number of them.
        samples: inputs, over which the step is averaged.
        seed: of weights and samples.

    Returns:
        Rows F4c-start-mean, the mean step over h of all neurons, and F4c-start-each, the share of neurons whose step is
        negative, of which the paper's words make all.

    Example:
        >>> [check.holds for check in verify_bias_drift(networks=2, samples=500)]
        [True, False]
    """
    require_positive(d=d, hidden=hidden, networks=networks, samples=samples)
    inputs = rng.normal(seed, Stream.TRAIN_DATA, 0, torch.arange(samples * d)).view(samples, d)
    models = (TwoLayer((d,), 1, hidden=hidden, seed=seed + number).double() for number in range(networks))
    steps = torch.cat([bias_steps(model, inputs) for model in models])
    mean = "At the start the biases fall in expectation (mean over the neurons, over h)."
    each = "At the start the bias of each neuron falls in expectation: share of the neurons."
    share = float((steps < 0).double().mean())
    row: dict[str, Any] = {"place": _PLACE, "n": len(steps)}
    return [
        check_bound(float(steps.mean()), "<", 0.0, id="F4c-start-mean", says=mean, **row),
        check_bound(share, "=", 1.0, id="F4c-start-each", says=each, **row),
    ]
