"""What is added to a step: against autograd, and the engines against one another."""

from copy import deepcopy
from functools import partial
from itertools import product

import pytest
import torch
from engine.plain import make_draws, make_networks
from lightning.pytorch import Trainer
from torch import nn

from noisereg.datasets import Hypercube
from noisereg.engine import Blocked, Fused, Stack
from noisereg.engine.classifier import Classifier
from noisereg.engine.regularizer import Regularizer, why_not_penalised
from noisereg.engine.sgd import Sgd
from noisereg.engine.stacked import StackedNetworks
from noisereg.losses import Logistic
from noisereg.models import MLP, ResNet

SGD = partial(torch.optim.SGD, lr=0.1)


CASES = [*product([Blocked, Fused], [1, 3], [1, 5], ["both", "hidden", "output"])]
COMPILED_HERE = [case for case in CASES if case[0] is Fused and case[2] == 5 and case != (Fused, 1, 5, "both")]


@pytest.mark.parametrize(
    ("kind", "num_outputs", "batch_size", "trained"),
    [pytest.param(*case, marks=pytest.mark.slow if case in COMPILED_HERE else ()) for case in CASES],
)
def test_engines_follow_autograd_of_the_penalised_loss(kind, num_outputs, batch_size, trained):
    models, draws = make_networks(num_outputs, trained=trained), make_draws(num_outputs)
    engine = kind(Logistic(), batch_size=batch_size, activity_l1=0.3)
    assert_follows_the_penalised_loss(engine, models, draws, batch_size=batch_size)


@pytest.mark.parametrize("batch_size", [1, 5])
def test_fused_follows_it_with_momentum_and_decay(batch_size):
    sgd = Sgd(momentum=0.9, weight_decay=0.01)
    engine = Fused(Logistic(), batch_size=batch_size, sgd=sgd, activity_l1=0.3)
    assert_follows_the_penalised_loss(engine, make_networks(), make_draws(), batch_size=batch_size, **sgd._asdict())


def test_fused_follows_it_on_inputs_that_are_mostly_zero():
    models, draws = make_networks(features=40), make_draws(features=40, density=0.2)
    assert_follows_the_penalised_loss(Fused(Logistic(), activity_l1=0.3), models, draws, batch_size=1)


def assert_follows_the_penalised_loss(engine, models, draws, *, batch_size, **sgd):
    models, inputs = [model.double() for model in models], draws.inputs.double()
    stack = Stack.of(models)
    rows = {"index": draws.index, "targets": draws.targets, "rates": draws.rates}
    engine(stack, stack.prepare(inputs), **rows)
    for replica, model in enumerate(models):
        trained = [weight for weight in model.parameters() if weight.requires_grad]
        optimizer = torch.optim.SGD(trained, lr=float(draws.rates[replica]), **sgd)
        for part in range(0, draws.index.shape[1], batch_size):
            x = inputs[draws.index[replica, part : part + batch_size]]
            target = draws.targets[replica, part : part + batch_size]
            optimizer.zero_grad()
            activations = torch.relu(model.hidden(x))
            loss = Logistic().per_sample(model.output(activations), target).mean()
            (loss + 0.3 * activations.sum(dim=1).mean()).backward()
            optimizer.step()
        copy = deepcopy(model)
        stack.copy_to(copy, replica)
        for found, expected in zip(copy.parameters(), model.parameters(), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)


def test_stacked_minimises_the_penalised_loss():
    models = [MLP((4,), 1, hidden=[6, 5], seed=seed) for seed in range(2)]
    inputs = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([[0, 1, 1], [1, 0, 0]])
    both = StackedNetworks(
        models, Logistic(), optimizer=SGD, rates=[0.1, 0.1], regularizer=Regularizer(activity_l1=0.2)
    )
    losses = both.step(inputs, labels)
    for replica, model in enumerate(models):
        first = torch.relu(model.linear1(inputs[replica]))
        second = torch.relu(model.linear2(first))
        loss = Logistic().per_sample(model.output(second), labels[replica]).mean()
        assert losses[replica].item() == pytest.approx(loss.item(), rel=1e-5)
        (loss + 0.2 * (first.sum(dim=1) + second.sum(dim=1)).mean()).backward()
        SGD(model.parameters()).step()
        copy = deepcopy(model)
        both.copy_to(copy, replica)
        for found, expected in zip(copy.parameters(), model.parameters(), strict=True):
            torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ("regularizer", "dropout"),
    [({"activity_l1": 0.1}, 0.0), ({"gradient_noise": 0.5}, 0.0), ({}, 0.4)],
    ids=["l1", "noise", "dropout"],
)
def test_a_network_alone_and_among_others_ends_with_the_same_weights(regularizer, dropout):
    data = Hypercube(d=6, train_size=10, test_size=4, batch_size=4, seed=3)
    data.setup()
    build = partial(MLP, (6,), 1, hidden=[7, 5], dropout=dropout)
    models = [build(seed=seed).train() for seed in (8, 3)]
    how = {"optimizer": SGD, "rates": [0.1, 0.1], "seeds": [8, 3], "regularizer": Regularizer(**regularizer)}
    stacked = StackedNetworks(models, Logistic(), **how)
    module = Classifier(
        build(seed=3), Logistic(), num_classes=2, optimizer=SGD, seed=3, regularizer=Regularizer(**regularizer)
    )
    step_alone(module, data)
    for batch in data.train_dataloader():
        stacked.step(batch["input"].expand(2, -1, -1), batch["label"].expand(2, -1))
    copy = build(seed=0)
    stacked.copy_to(copy, 1)
    start = build(seed=3).linear1.weight
    assert not torch.allclose(copy.linear1.weight, start, atol=1e-3)
    for found, expected in zip(copy.parameters(), module.model.parameters(), strict=True):
        torch.testing.assert_close(found, expected)


def step_alone(module, data):
    """Make the steps of an epoch with Lightning."""
    trainer = Trainer(
        accelerator="cpu",
        logger=False,
        max_epochs=1,
        limit_val_batches=0,
        enable_progress_bar=False,
        enable_checkpointing=False,
        enable_model_summary=False,
    )
    trainer.fit(module, data)


def test_the_noise_has_its_size_and_another_one_a_step_and_seed():
    weights = [torch.zeros(200, 100), torch.zeros(100)]
    noise = partial(Regularizer(gradient_noise=0.5).noise, weights)
    first = noise(seed=0, step=0)
    assert first[0].std().item() == pytest.approx(0.5, rel=5 / (2 * 20_000) ** 0.5)  # five standard errors
    assert abs(first[0].mean().item()) < 5 * 0.5 / 20_000**0.5
    assert all(torch.equal(one, other) for one, other in zip(first, noise(seed=0, step=0), strict=True))
    for other in (noise(seed=0, step=1), noise(seed=1, step=0)):
        assert abs((first[0] * other[0]).mean().item()) < 5 * 0.25 / 20_000**0.5


def test_of_nothing_nothing_is_watched_and_hooks_do_not_stay():
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    with Regularizer().watch(net) as sums:
        net(torch.ones(1, 2))
    assert sums == []
    with Regularizer(activity_l1=1.0).watch(net) as sums:
        net(torch.ones(1, 2))
    net(torch.ones(1, 2))
    assert len(sums) == 1


def test_numbers_below_zero_are_errors():
    with pytest.raises(ValueError, match="activity_l1 must be at least 0, got -1"):
        Regularizer(activity_l1=-1)
    with pytest.raises(ValueError, match="gradient_noise must be at least 0, got nan"):
        Regularizer(gradient_noise=float("nan"))


class Calls(nn.Module):
    """A network that calls its second ReLU as a function."""

    def __init__(self):
        super().__init__()
        self.first, self.relu, self.second = nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 1)

    def forward(self, inputs):
        return self.second(torch.relu(self.first(self.relu(inputs))))


def test_a_network_with_activations_that_hooks_do_not_see_is_refused():
    inputs = torch.randn(2, 3)
    assert why_not_penalised(MLP((3,), 1, hidden=[4, 4]), inputs) is None
    assert why_not_penalised(ResNet((3, 8, 8), 2, depth=8), torch.randn(2, 3, 8, 8)) is None
    expected = "it calls 2 activations (relu, relu:2), of which 1 are ReLUs that are modules"
    assert why_not_penalised(Calls(), inputs) == expected
    assert "of which 0 are ReLUs" in why_not_penalised(MLP((3,), 1, hidden=4, act="gelu"), inputs)
    assert why_not_penalised(nn.Linear(3, 1), inputs) == "it calls no ReLU"
