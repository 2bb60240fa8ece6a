"""What an engine must do, as a plain loop: autograd of one model, one step after the other, in double precision."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import Any, NamedTuple

import jaxtyping
import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from noisereg.engine import Stack
from noisereg.engine.sgd import Sgd
from noisereg.losses import CrossEntropy, GeneralizedCrossEntropy, Hinge, Logistic, Loss, SquaredError
from noisereg.models import Neuron, TwoLayer
from noisereg.noise import Corruption, Flip, NoNoise, Resample, Transition

LOSSES = [Logistic(), Hinge(0.0), Hinge(1.0), CrossEntropy(), SquaredError(), GeneralizedCrossEntropy(0.7)]
VARIANTS: list[tuple[int, dict[str, Any]]] = [
    *((num_outputs, {"trained": trained}) for trained in ("hidden", "output") for num_outputs in (1, 3)),
    (1, {"trained": "hidden", "output_signs": True}),
    (1, {"bias": "zero"}),
    *((num_outputs, {"bias": "none", "features": 7}) for num_outputs in (1, 3)),
    (1, {"bias": "none", "append_one": True}),
]

IN_DOUBLE = {torch.float64: 1e-10}
IN_SINGLE = {torch.float32: 1e-4}


class Draws(NamedTuple):
    """What the replicas are trained on."""

    inputs: Tensor
    index: Tensor
    targets: Tensor
    rates: Tensor

    def of(self, replicas: slice) -> "Draws":
        """Return those of some replicas."""
        return Draws(self.inputs, self.index[replicas], self.targets[replicas], self.rates[replicas])


def name(thing: object) -> str:
    """Name a test after its loss or its settings."""
    if isinstance(thing, Loss):
        return "".join([type(thing).__name__, *map(str, vars(thing).values())])
    return "-".join(f"{key}={value}" for key, value in thing.items()) if isinstance(thing, dict) else str(thing)


def make_networks(
    num_outputs: int = 1, *, count: int = 2, features: int = 6, hidden: int = 8, **settings: Any
) -> list[nn.Module]:
    """Make networks with weights small enough for every loss."""
    common = {"init": "torch", "bias": "same", **settings}
    return [TwoLayer((features,), num_outputs, hidden=hidden, seed=seed, **common) for seed in range(count)]


def make_neurons(*, count: int = 2, bias: str = "same") -> list[nn.Module]:
    """Make neurons."""
    return [Neuron((6,), 1, init="torch", bias=bias, seed=seed) for seed in range(count)]


def make_draws(
    num_outputs: int = 1, *, count: int = 2, steps: int = 300, features: int = 6, density: float = 1.0
) -> Draws:
    """Draw samples, targets and rates; the targets of every second replica are labels, of the others distributions."""
    generator = torch.Generator().manual_seed(0)
    num_classes = max(num_outputs, 2)
    inputs = torch.randn(20, features, generator=generator)
    inputs *= torch.rand(20, features, generator=generator) < density
    index = torch.randint(20, (count, steps), generator=generator)
    soft = torch.rand(count, steps, num_classes, generator=generator, dtype=torch.float64).softmax(dim=2)
    hard = one_hot(torch.randint(num_classes, (count, steps), generator=generator), num_classes).double()
    every_second = torch.arange(count)[:, None, None] % 2 == 0
    rates = torch.linspace(0.05, 0.02, count, dtype=torch.float64)
    return Draws(inputs, index, torch.where(every_second, soft, hard), rates)


def make_draws_of_rules(num_outputs: int, *, expected: bool) -> Draws:
    """Draw as `make_draws` does, with the targets of one rule for each of five replicas."""
    draws = make_draws(num_outputs, count=5)
    num_classes = draws.targets.shape[2]
    matrix = torch.eye(num_classes).roll(1, dims=0).double() / 2 + 1 / (2 * num_classes)
    rules = [NoNoise(expected=expected), Resample(p=0.3, expected=expected), Flip(p=0.3, expected=expected)]
    rules.append(Transition(p=0.3, moves={1: 0}, expected=expected))
    rules.append(Transition(p=0.3, matrix=matrix.tolist(), expected=expected))
    targets = []
    for rule, index in zip(rules, draws.index, strict=True):
        corruption = Corruption(rule, num_classes=num_classes, seed=0)
        targets.append(corruption(index % num_classes, draw=torch.arange(len(index)), index=index))
    stacked = torch.stack(targets)
    return draws._replace(targets=stacked if expected else one_hot(stacked, num_classes).double())


def run(engine: Any, models: Sequence[nn.Module], draws: Draws) -> Stack:
    """Train copies of the models with an engine."""
    stack = Stack.of(models)
    engine(stack, stack.prepare(draws.inputs), index=draws.index, targets=draws.targets, rates=draws.rates)
    return stack


def train(
    model: nn.Module,
    loss: Loss,
    inputs: Tensor,
    targets: Tensor,
    *,
    rate: float,
    batch_size: int = 1,
    sgd: Sgd | None = None,
) -> None:
    """Train one model by the definition of SGD; with momentum or decay by torch's."""
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = None if sgd is None else torch.optim.SGD(weights, lr=rate, **sgd._asdict())
    with _unchecked():
        for x, target in zip(inputs.split(batch_size), targets.split(batch_size), strict=True):
            gradients = torch.autograd.grad(loss(model(x), target), weights)
            for weight, gradient in zip(weights, gradients, strict=True):
                if optimizer is None:
                    weight.data -= rate * gradient
                weight.grad = gradient
            if optimizer is not None:
                optimizer.step()


def assert_follows(
    engine: Any,
    models: Sequence[nn.Module],
    loss: Loss,
    draws: Draws,
    *,
    tolerances: dict[torch.dtype, float] = IN_DOUBLE,
    batch_size: int = 1,
    sgd: Sgd | None = None,
) -> None:
    """Compare what an engine makes of the models, in each precision, with what the plain loop makes of each model."""
    expected = [deepcopy(model).double() for model in models]
    for model, index, targets, rate in zip(expected, draws.index, draws.targets, draws.rates.tolist(), strict=True):
        train(model, loss, draws.inputs[index].double(), targets, rate=rate, batch_size=batch_size, sgd=sgd)
    for dtype, tolerance in tolerances.items():
        before = [deepcopy(model).to(dtype) for model in models]
        after = in_models(run(engine, before, draws), before)
        for triple in zip(expected, after, before, strict=True):
            for wanted, got, start in zip(*(model.parameters() for model in triple), strict=True):
                torch.testing.assert_close(got.double(), wanted, rtol=tolerance, atol=tolerance)
                assert torch.equal(got, start) != start.requires_grad


def in_models(stack: Stack, models: Sequence[nn.Module]) -> list[nn.Module]:
    """Return copies of the models that were stacked, with the weights that the stack has now."""
    copies = [deepcopy(model) for model in models]
    for replica, model in enumerate(copies):
        stack.copy_to(model, replica)
    return copies


def bits(stack: Stack, replicas: slice = slice(None)) -> list[bytes]:
    """Return the weights of replicas, to be compared bit by bit."""
    return [weight.detach()[replicas].numpy().tobytes() for weight in stack.parameters()]


@contextmanager
def _unchecked() -> Iterator[None]:
    """Leave annotations unchecked for some hundred steps: the checks take longer than the steps."""
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
