from copy import deepcopy

import pytest
import torch

from noisereg.datasets import Split
from noisereg.engine import Blocked, Fused, Stack
from noisereg.engine.sgd import Sgd
from noisereg.engine.two_layer import TwoLayerEngine
from noisereg.losses import Logistic
from noisereg.models import Neuron, TwoLayer

LOSS = Logistic()
HEAVY = Sgd(momentum=0.9, weight_decay=0.1)
STEPS = {
    "heavy": lambda: Fused(LOSS, sgd=HEAVY),
    "fused": lambda: Fused(LOSS),
    "blocked": lambda: Blocked(LOSS, batch_size=1),
}


def make_models(kind=TwoLayer, **options):
    return [kind((4,), 1, init="torch", bias="same", seed=seed, **options) for seed in range(3)]


def make_engine(steps="blocked", models=None):
    return TwoLayerEngine(Stack.of(models or make_models(hidden=5)), STEPS[steps](), LOSS)


def make_splits():
    generator = torch.Generator().manual_seed(0)
    split = Split(torch.randn(9, 4, generator=generator), torch.tensor([0, 1, 1] * 3))
    return {"train": split, "test": split.select(torch.arange(4))}


def measure(engine, running=(True, True, True), *, first=True):
    groups = [([0, 1, 2], {name: Split(engine.prepare(s.inputs), s.labels) for name, s in make_splits().items()})]
    return engine.measure(groups, running, num_classes=2, first=first)


def set_biases(engine, alive):
    """Make units fire on all samples or on none."""
    weights = engine.networks.hidden.data  # (R, features and the bias, units)
    weights[:] = 0
    weights[:, -1] = torch.where(torch.tensor(alive), 1.0, -1.0)


def test_errors_losses_and_activity_are_those_of_each_network_by_hand():
    values = measure(make_engine())
    for replica, model in enumerate(make_models(hidden=5)):
        for name, split in make_splits().items():
            hidden = torch.relu(model.hidden(split.inputs))
            margin = model.output(hidden).squeeze(1) * (2 * split.labels - 1)
            loss = torch.log1p(torch.exp(-margin)).mean().item()
            wrong = (model.output(hidden).squeeze(1) > 0) != (split.labels == 1)
            expected = {
                f"{name}/error": wrong.float().mean().item(),
                "train/clean_loss" if name == "train" else "test/loss": loss,
                f"{name}/active_neurons": (hidden > 0).sum(dim=1).float().mean().item(),
                f"{name}/dead_fraction": (hidden <= 0).all(dim=0).float().mean().item(),
            }
            assert {key: values[key][replica].item() for key in expected} == pytest.approx(expected, rel=1e-5)


def test_firings_are_counted_by_class_on_the_training_split():
    engine = make_engine()
    measure(engine)
    split = make_splits()["train"]
    for fires, model in zip(engine.fires(), make_models(hidden=5), strict=True):
        fired = model.hidden(split.inputs) > 0
        assert fires.tolist() == [fired[split.labels == label].sum(dim=0).tolist() for label in (0, 1)]


@pytest.mark.parametrize("steps", ["fused", "blocked"])
def test_the_draws_of_a_replica_train_it_alone_one_sample_a_step(steps):
    engine = make_engine(steps)
    split, index = make_splits()["train"], torch.tensor([[0, 3, 1, 8], [2, 2, 5, 7]])
    engine.train(
        engine.prepare(split.inputs),
        index=index,
        targets=split.labels[index],
        rates=torch.tensor([0.5, 0.1], dtype=torch.float64),
        replicas=torch.tensor([0, 2]),
    )
    models = make_models(hidden=5)
    for model, rows, rate in ((models[0], index[0], 0.5), (models[2], index[1], 0.1)):
        optimizer = torch.optim.SGD(model.parameters(), lr=rate)
        for row in rows:
            optimizer.zero_grad()
            torch.log1p(torch.exp(-model(split.inputs[row : row + 1])[0, 0] * (2 * split.labels[row] - 1))).backward()
            optimizer.step()
    for replica, model in enumerate(models):
        copy = make_models(hidden=5)[0]
        engine.copy_to(copy, replica)
        for weight, wanted in zip(copy.parameters(), model.parameters(), strict=True):
            torch.testing.assert_close(weight, wanted, rtol=1e-4, atol=1e-6)


def train_some(engine, replicas):
    split, index = make_splits()["train"], torch.tensor([[0, 3, 1, 8], [2, 2, 5, 7], [6, 4, 0, 1]])
    engine.train(
        engine.prepare(split.inputs),
        index=index[replicas],
        targets=split.labels[index[replicas]],
        rates=torch.tensor([0.5, 0.1, 0.2], dtype=torch.float64)[replicas],
        replicas=torch.tensor(replicas),
    )


def test_momenta_go_on_from_a_checkpoint_bit_by_bit_and_stay_with_the_replica_they_are_of():
    engine, other = make_engine("heavy"), make_engine("heavy")
    train_some(engine, [0, 1, 2])
    other.networks.load_state_dict(engine.networks.state_dict())
    other.load_state(deepcopy(engine.state()))
    for one in (engine, other):
        train_some(one, [0, 2])
        train_some(one, [0, 1, 2])
    for weight, peer in zip(engine.networks.parameters(), other.networks.parameters(), strict=True):
        assert torch.equal(weight, peer)
    model, _, _ = make_models(hidden=5)
    optimizer, split = torch.optim.SGD(model.parameters(), lr=0.5, **HEAVY._asdict()), make_splits()["train"]
    for row in [0, 3, 1, 8] * 3:
        optimizer.zero_grad()
        torch.log1p(torch.exp(-model(split.inputs[row : row + 1])[0, 0] * (2 * split.labels[row] - 1))).backward()
        optimizer.step()
    found = make_models(hidden=5)[1]
    engine.copy_to(found, 0)
    for weight, wanted in zip(found.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(weight, wanted, rtol=1e-4, atol=1e-6)


def test_units_that_died_and_revived_since_the_last_measurement_are_counted_over_a_restart_too():
    engine, again = make_engine(), make_engine()
    set_biases(engine, [True, True, True, False, False])
    values = measure(engine)
    assert values["train/died_neurons"].tolist() == values["train/revived_neurons"].tolist() == [0, 0, 0]
    again.load_state(deepcopy(engine.state()))  # as a file holds it
    for one in (engine, again):
        set_biases(one, [True, False, False, False, True])
        values = measure(one, first=False)
        assert values["train/died_neurons"].tolist() == [2, 2, 2]
        assert values["train/revived_neurons"].tolist() == [1, 1, 1]


def test_replicas_that_have_stopped_have_no_values_but_keep_their_counts():
    engine = make_engine()
    set_biases(engine, [True] * 5)
    measure(engine)
    set_biases(engine, [False] * 5)
    values = measure(engine, [True, False, True], first=False)
    assert values["test/error"].isnan().tolist() == [False, True, False]
    assert engine.fires().any(dim=(1, 2)).tolist() == [False, True, False]


def test_single_neurons_have_no_firings():
    engine = make_engine(models=make_models(Neuron))
    assert "train/died_neurons" not in measure(engine)
    assert engine.fires() is None
