"""What `StackedEngine` measures is what `Classifier` and the monitors log of each network on its own."""

from functools import partial

import pytest
import torch
from lightning.pytorch import Trainer
from torch import nn

from noisereg.callbacks import NormMonitor, SparsityMonitor
from noisereg.datasets import InMemory, Split
from noisereg.engine.classifier import Classifier
from noisereg.engine.stacked import StackedNetworks
from noisereg.engine.stacked_engine import StackedEngine
from noisereg.losses import CrossEntropy
from noisereg.models import MLP

LOSS = CrossEntropy()
RATES = [0.5, 0.2, 0.1]
MAKE = partial(torch.optim.SGD, momentum=0.9, weight_decay=0.01)


class Images(InMemory):
    """Images of 1 x 6 x 6 in three classes."""

    num_classes, input_shape = 3, (1, 6, 6)

    def load(self):
        generator = torch.Generator().manual_seed(self.seed)
        inputs, labels = torch.randn(50, 1, 6, 6, generator=generator), torch.arange(50) % 3
        return Split(inputs[:30], labels[:30]), Split(inputs[30:], labels[30:])


def make_mlp(seed):
    return MLP((1, 6, 6), 3, hidden=[8, 5], seed=seed)


def make_one_layer(seed):
    return MLP((1, 6, 6), 3, hidden=8, seed=seed)


def make_cnn(seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        norm, relu = nn.BatchNorm2d(4), nn.ReLU()
        return nn.Sequential(nn.Conv2d(1, 4, 3), norm, relu, nn.Flatten(), nn.Linear(64, 6), nn.ReLU(), nn.Linear(6, 3))


def make_engine(make, **options):
    networks = [make(seed) for seed in range(3)]
    stacked = StackedNetworks(networks, LOSS, optimizer=partial(MAKE, lr=0.1), rates=RATES)
    return StackedEngine(stacked, networks[0], LOSS, batch_size=8, **options)


def make_data():
    data = Images(eval_batch_size=7)
    data.setup()
    return data


def make_draws(steps=12):
    generator = torch.Generator().manual_seed(1)
    return torch.randint(30, (3, 8 * steps), generator=generator), torch.randint(3, (3, 8 * steps), generator=generator)


def train(engine, data, replicas=(0, 1, 2)):
    index, targets = make_draws()
    chosen = torch.tensor(replicas)
    rates = torch.tensor(RATES, dtype=torch.float64)[chosen]
    inputs = engine.prepare(data.splits["train"].inputs)
    return engine.train(inputs, index=index[chosen], targets=targets[chosen], rates=rates, replicas=chosen)


def train_alone(model, data, replica):
    """Train one network by a plain loop of torch on the same draws, and return the sum of its losses."""
    optimizer, total = MAKE(model.parameters(), lr=RATES[replica]), 0.0
    for rows, targets in zip(*(draws[replica].split(8) for draws in make_draws()), strict=True):
        loss = nn.functional.cross_entropy(model(data.splits["train"].inputs[rows]), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += 8 * loss.item()
    return total


def measure(engine, data, running=(True, True, True), *, first=True):
    return engine.measure([([0, 1, 2], data.splits)], running, num_classes=3, first=first)


class Monitored:
    """One network under Lightning, with the monitors that log it."""

    def __init__(self, model, data):
        self.module = Classifier(model, LOSS, num_classes=3, optimizer=partial(MAKE, lr=0.1))
        self.data, self.sparsity = data, SparsityMonitor()
        self.trainer = Trainer(
            accelerator="cpu",
            logger=False,
            callbacks=[self.sparsity, NormMonitor()],
            enable_progress_bar=False,
            enable_checkpointing=False,
            enable_model_summary=False,
        )

    def measure(self):
        self.trainer.validate(self.module, self.data, verbose=False)
        return {
            key: value.item() for key, value in self.trainer.callback_metrics.items() if key not in ("step", "epoch")
        }


@pytest.mark.parametrize("make", [make_mlp, make_cnn])
def test_every_metric_is_that_of_a_network_of_its_own_before_and_after_training(make):
    data, engine = make_data(), make_engine(make)
    alone = [Monitored(make(seed), data) for seed in range(3)]
    before = measure(engine, data)
    expected = [network.measure() for network in alone]
    sums = train(engine, data)
    after = measure(engine, data, first=False)
    wanted = [train_alone(network.module.model.train(), data, number) for number, network in enumerate(alone)]
    assert sums.tolist() == pytest.approx(wanted, rel=1e-5)
    changed = [network.measure() for network in alone]
    for found, peers in ((before, expected), (after, changed)):
        assert found.keys() == peers[0].keys()
        for replica, peer in enumerate(peers):
            assert {key: value[replica].item() for key, value in found.items()} == pytest.approx(
                peer, abs=1e-5, rel=1e-5
            )
    turnover = after["train/died_neurons"] + after["train/revived_neurons"]
    assert turnover.sum() > 0 and (before["train/died_neurons"] == 0).all()


def test_a_replica_that_has_stopped_is_not_measured():
    found = measure(make_engine(make_mlp), make_data(), [True, False, True])
    assert all(value.isnan().tolist() == [False, True, False] for value in found.values())


def test_firings_of_one_layer_are_counted_by_class_and_those_of_several_are_not_kept():
    data, engine = make_data(), make_engine(make_one_layer)
    measure(engine, data)
    train_split = data.splits["train"]
    for replica, fires in enumerate(engine.fires()):
        hidden = make_one_layer(replica).linear1(train_split.inputs.flatten(1)) > 0
        assert fires.tolist() == [hidden[train_split.labels == label].sum(dim=0).tolist() for label in range(3)]
    several = make_engine(make_mlp)
    measure(several, data)
    assert several.fires() is None
    many = Split(data.splits["test"].inputs, data.splits["test"].labels * 50)  # of 101 classes
    for counting, is_counted in ((None, False), ({"num_classes": 101}, True)):
        engine = make_engine(lambda seed: MLP((1, 6, 6), 101, hidden=8, seed=seed), counting=counting)
        values = engine.measure([([0, 1, 2], {"train": many})], [True] * 3, num_classes=101, first=True)
        assert ("train/associated_neurons" in values) == is_counted
    chosen = make_engine(make_mlp, counting={"layers": ["relu2"]})
    assert {key for key in measure(chosen, data) if "/relu" in key} == set()  # one layer has no values of its own
    assert chosen.fires().shape == (3, 3, 5)


def test_a_replica_is_copied_with_the_statistics_of_its_batch_norm():
    data, engine, model = make_data(), make_engine(make_cnn), make_cnn(9)
    train(engine, data)
    engine.copy_to(model, 1)
    alone = make_cnn(1)
    train_alone(alone, data, 1)
    for (name, tensor), wanted in zip(model.state_dict().items(), alone.state_dict().values(), strict=True):
        torch.testing.assert_close(tensor, wanted, rtol=1e-4, atol=1e-5, msg=name)


def test_an_engine_goes_on_from_a_state_with_the_bits_of_one_that_was_not_interrupted():
    data, whole, first = make_data(), make_engine(make_one_layer), make_engine(make_one_layer)
    for engine in (whole, first):
        measure(engine, data)
        train(engine, data)
        measure(engine, data, first=False)
    second = make_engine(make_one_layer)
    second.networks.load_state_dict(first.networks.state_dict())
    second.load_state(first.state())
    assert torch.equal(second.fires(), whole.fires())
    for engine in (whole, second):
        train(engine, data, replicas=(0, 2))
    for weight, peer in zip(second.networks.parameters(), whole.networks.parameters(), strict=True):
        assert torch.equal(weight, peer)
    found, wanted = (measure(engine, data, first=False) for engine in (second, whole))
    assert {key: value.tolist() for key, value in found.items()} == {
        key: value.tolist() for key, value in wanted.items()
    }


@pytest.mark.parametrize("optimizer", [MAKE, torch.optim.AdamW], ids=["sgd", "adamw"])
@pytest.mark.parametrize("replicas", [[0, 1, 2], [0, 2]], ids=["all", "some"])
def test_a_step_on_an_accelerator_mixes_no_devices_and_waits_for_no_value(optimizer, replicas):
    """A tensor on the device meta has no values: to ask for one raises, as does another operand on the CPU."""
    networks = [make_cnn(seed) for seed in range(3)]
    make = partial(optimizer, lr=0.1, fused=False)  # which takes no tensors without values
    stacked = StackedNetworks(networks, LOSS, optimizer=make, rates=RATES, clip_norm=1.0).to("meta")
    labels = torch.empty(len(replicas), 12, dtype=torch.int64, device="meta")
    engine = StackedEngine(stacked, networks[0], LOSS, batch_size=8)
    losses = engine.train(
        torch.empty(30, 1, 6, 6, device="meta"),
        index=labels,
        targets=labels,
        rates=torch.full((len(replicas),), 0.1),
        replicas=torch.tensor(replicas),
    )
    assert (losses.device.type, losses.shape, engine.finite().device.type) == ("meta", (len(replicas),), "meta")
    with pytest.raises(RuntimeError, match=r"not on the expected device|expected device"):
        losses + torch.ones(len(replicas))
    with pytest.raises((RuntimeError, NotImplementedError), match="meta"):
        losses.sum().item()
