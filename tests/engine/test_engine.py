import pytest
import torch
from torch import nn

from noisereg.engine import Blocked, Fused, Stack
from noisereg.engine.engine import Engine
from noisereg.engine.stacked import StackedNetworks
from noisereg.engine.stacked_engine import StackedEngine
from noisereg.engine.two_layer import TwoLayerEngine
from noisereg.losses import CrossEntropy, Logistic
from noisereg.models import MLP, TwoLayer


def fused():
    return TwoLayerEngine(
        Stack.of([TwoLayer((4,), 1, hidden=3, seed=seed) for seed in range(3)]), Fused(Logistic()), Logistic()
    )


def blocked():
    networks = [TwoLayer((4,), 2, hidden=3, seed=seed) for seed in range(3)]
    return TwoLayerEngine(Stack.of(networks), Blocked(CrossEntropy(), batch_size=2), CrossEntropy())


def stacked():
    networks = [MLP((4,), 2, hidden=[3, 3], seed=seed) for seed in range(3)]
    trained = StackedNetworks(networks, CrossEntropy(), optimizer=torch.optim.SGD, rates=[0.1] * 3)
    return StackedEngine(trained, networks[0], CrossEntropy(), batch_size=2)


@pytest.mark.parametrize(("make", "crosses"), [(fused, True), (blocked, False), (stacked, False)])
def test_every_engine_has_what_the_training_asks_of_one(make, crosses):
    engine = make()
    assert isinstance(engine, Engine)
    assert (engine.name, len(engine), engine.crosses_epochs) == (make.__name__, 3, crosses)
    assert all(len(weight) == 3 for weight in engine.networks.parameters())


@pytest.mark.parametrize("make", [fused, blocked, stacked])
def test_replicas_that_do_not_take_part_keep_their_bits(make):
    engine = make()
    before = [weight.detach().clone() for weight in engine.networks.parameters()]
    inputs = engine.prepare(torch.randn(6, 4, generator=torch.Generator().manual_seed(0)))
    engine.train(
        inputs,
        index=torch.arange(6).repeat(2, 1),
        targets=(torch.arange(6) % 2).repeat(2, 1),
        rates=torch.tensor([0.1, 0.2], dtype=torch.float64),
        replicas=torch.tensor([0, 2]),
    )
    changes = [
        (weight != old).flatten(1).any(dim=1) for weight, old in zip(engine.networks.parameters(), before, strict=True)
    ]
    assert torch.stack(changes).any(dim=0).tolist() == [True, False, True]


@pytest.mark.parametrize("make", [fused, blocked, stacked])
def test_a_replica_with_a_weight_that_is_nan_or_infinite_is_not_finite(make):
    engine = make()
    weights = list(engine.networks.parameters())
    with torch.no_grad():
        weights[0][1].view(-1)[0] = torch.nan
        weights[-1][2].view(-1)[0] = -torch.inf
    assert engine.finite().tolist() == [True, False, False]


def test_what_is_no_engine_is_told_apart():
    assert not isinstance(nn.Linear(2, 2), Engine)
