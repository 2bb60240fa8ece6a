import logging
import math
from dataclasses import replace
from functools import cache, partial
from itertools import pairwise

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint
from replica_runs import Recipe, Replica, StackedTraining, log_one_replica, train_one_replica

from noisereg.callbacks import GradientMonitor, NormMonitor, SparsityMonitor
from noisereg.datasets import Hypercube
from noisereg.engine import chunks
from noisereg.models import Neuron
from noisereg.noise import Flip, Linear, Resample, Step

REPLICAS = (Replica(p=0.0), Replica(p=0.25), Replica(p=0.25, seed=1, lr=0.02))
FROZEN = partial(Resample, frozen=True)
SMOOTHING = partial(Resample, expected=True)
REPLACEMENT = partial(Hypercube, d=6, train_size=20, test_size=30, order="replacement")
RECIPES = {
    "noise": Recipe(),
    "flips, order by replacement": Recipe(rule=Flip, data=REPLACEMENT),
    "smoothing that ends, schedule of the rate": Recipe(rule=SMOOTHING, schedule=Step(at=0.5), halve_every=4),
    "noise that grows, an end within an epoch": Recipe(schedule=Linear(start=0, end=1), max_steps=250),
    "minibatches": Recipe(batch_size=8),  # of 8, 8 and 4
    "minibatches, smoothing, schedule of the rate": Recipe(batch_size=8, rule=SMOOTHING, halve_every=4),
    "minibatches, an end within an epoch": Recipe(batch_size=8, max_steps=40),
}
engines = pytest.mark.parametrize("engine", ["fused", "blocked"])


@cache
def weights_alone(replica, name):
    model = train_one_replica(replica, RECIPES[name]).model
    return model.hidden.weight.T, model.hidden.bias[None], model.output.weight, model.output.bias


@pytest.mark.parametrize(
    ("engine", "name"),
    [(engine, name) for name, recipe in RECIPES.items() for engine in ("fused", "blocked")[recipe.batch_size > 1 :]],
)
def test_each_replica_ends_with_the_weights_of_a_lightning_run_of_its_own(engine, name):
    run = StackedTraining(REPLICAS, RECIPES[name], engine=engine)
    before = [run.weights(number) for number in range(len(REPLICAS))]
    run.run()
    for number in (1, 2):  # the first, without noise, shares its samples with the second
        hidden, bias, output, output_bias = weights_alone(REPLICAS[number], name)
        expected = torch.cat([torch.cat([hidden, bias]).flatten(), output.flatten(), output_bias])
        torch.testing.assert_close(run.weights(number), expected, rtol=0, atol=1e-9)
        assert (run.weights(number) - before[number]).abs().max() > 0.01
    assert (run.weights(0) - run.weights(1)).abs().max() > 0.01


@pytest.mark.parametrize(
    ("engine", "schedule", "rule"),
    [
        ("fused", None, Resample),
        ("blocked", Linear(start=0, end=1), Resample),
        ("fused", Linear(start=0.5, end=1), FROZEN),
        ("blocked", None, FROZEN),
    ],
)
def test_each_measurement_is_what_the_monitors_of_a_lightning_run_log_at_that_epoch(engine, schedule, rule):
    recipe = Recipe(num_epochs=3, schedule=schedule, rule=rule)
    run = StackedTraining(REPLICAS, recipe, engine=engine, every_n_epochs=1).run()
    for replica in REPLICAS[1:]:
        alone = log_one_replica(replica, recipe, callbacks=[SparsityMonitor(), NormMonitor(), GradientMonitor(100)])
        rows = run.rows(replica)
        assert [row["epoch"] for row in rows] == list(alone) == [0, 1, 2, 3]
        for row in rows:
            expected = alone[row["epoch"]]
            expected.pop("train/loss", None)  # the mean over the steps of an epoch: no state of the network
            row.pop("lr"), row.pop("train/largest_output")  # which only replicas have
            assert row.keys() == expected.keys()
            assert row == pytest.approx(expected, rel=1e-5, abs=1e-6)
            assert ("train/wrong_labels" in row) == (rule is FROZEN)


FEW = Recipe(num_epochs=20, data=partial(Hypercube, d=6, train_size=8, test_size=30))
ONE_SAMPLE = Recipe(num_epochs=3, data=partial(Hypercube, d=6, train_size=1, test_size=30))
RIGHT = (0, 3)  # seeds for which the untrained network is right about that sample
FITTING = (Replica(seed=1, lr=0.3), Replica(lr=0.02), Replica(seed=1))  # soon, not at all, later


@pytest.mark.parametrize(("engine", "extra_epochs"), [("fused", 0), ("fused", 3), ("blocked", 4)])
def test_a_replica_stops_so_many_epochs_after_it_fitted_its_data_and_the_others_go_on(engine, extra_epochs):
    free = StackedTraining(FITTING, FEW, engine=engine, every_n_epochs=2).run()
    run = StackedTraining(FITTING, FEW, engine=engine, every_n_epochs=2, extra_epochs=extra_epochs).run()
    ends = []
    for number, replica in enumerate(FITTING):
        whole, rows = free.rows(replica), run.rows(replica)
        fitted = next((row["epoch"] for row in whole if row["train/error"] == 0), None)
        end = 20 if fitted is None else fitted + 2 * math.ceil(extra_epochs / 2)  # measured every two epochs
        assert [row["epoch"] for row in rows] == list(range(0, end + 1, 2))
        assert rows == [pytest.approx(row, abs=1e-6) for row in whole[: len(rows)]]
        alone = StackedTraining([replica], replace(FEW, num_epochs=end), engine=engine).run()
        torch.testing.assert_close(run.weights(number), alone.weights(0), rtol=0, atol=1e-12)
        status = {"epochs": end, "ended_by": "budget" if fitted is None else "zero train error"}
        assert run.module.status()[number] == status | ({} if fitted is None else {"fitted_epoch": fitted})
        ends.append(end)
    assert ends[0] < ends[2] < ends[1] == 20


def test_without_a_limit_a_replica_that_has_fitted_its_data_trains_to_the_end():
    run = StackedTraining(FITTING[:1], FEW, every_n_epochs=2).run()
    (status,) = run.module.status()
    assert status["ended_by"] == "budget"
    assert status["fitted_epoch"] < status["epochs"] == 20


@engines
def test_training_ends_when_all_replicas_have_stopped(engine):
    run = StackedTraining(FITTING[::2], FEW, engine=engine, every_n_epochs=2, extra_epochs=0).run()
    last = max(status["epochs"] for status in run.module.status())
    assert last < 20
    assert run.module.steps_done == 8 * last
    assert run.module.epochs_done == last
    assert run.curves.frame()["epoch"].max() == last


@engines
def test_training_ends_at_once_if_nothing_is_to_be_learned(engine):
    run = StackedTraining([Replica(seed=seed) for seed in RIGHT], ONE_SAMPLE, engine=engine, extra_epochs=0).run()
    assert run.module.status() == [{"epochs": 0, "ended_by": "zero train error", "fitted_epoch": 0}] * 2
    assert run.module.steps_done == 0
    assert len(run.curves.frame()) == 2


@engines
def test_a_replica_that_diverges_is_stopped_and_named_and_the_others_go_on(engine, caplog):
    replicas = [Replica(p=0.25, lr=0.01), Replica(lr=1e200), Replica(p=0.25, seed=1, lr=0.01)]
    recipe, names = Recipe(num_epochs=4), ["first", "second", "third"]
    with caplog.at_level(logging.WARNING, logger="noisereg"):
        run = StackedTraining(replicas, recipe, engine=engine, every_n_epochs=2, names=names).run()
    without = StackedTraining(replicas[::2], recipe, engine=engine, every_n_epochs=2).run()
    (message,) = [record.getMessage() for record in caplog.records if record.name.startswith("noisereg")]
    assert "by step 40 (epoch 2) of second: try a smaller optimizer.lr" in message
    assert [status["ended_by"] for status in run.module.status()] == ["budget", "non-finite weights", "budget"]
    assert [status["epochs"] for status in run.module.status()] == [4, 2, 4]
    assert [row["epoch"] for row in run.rows(replicas[1])] == [0]
    for number, other in ((0, 0), (2, 1)):
        if engine == "fused":  # the other engine's matrix products may round in another order
            assert torch.equal(run.weights(number), without.weights(other))
        torch.testing.assert_close(run.weights(number), without.weights(other), rtol=0, atol=1e-12)
        assert run.rows(replicas[number]) == without.rows(replicas[number])


@engines
def test_training_ends_with_an_error_when_all_replicas_diverge(engine):
    replicas = [Replica(lr=1e200), Replica(seed=1, lr=1e200)]
    with pytest.raises(FloatingPointError, match=r"of replica 0, replica 1: try a smaller optimizer\.lr"):
        StackedTraining(replicas, Recipe(num_epochs=4), engine=engine).run()


@engines
def test_training_ends_when_the_last_replica_that_has_not_stopped_diverges(engine, monkeypatch):
    monkeypatch.setattr(chunks, "_REPLICA_DRAWS", 2 * 3)  # many chunks are left when it does
    rates = torch.tensor([[0.3, 0.01]], dtype=torch.float64).repeat(20, 1)
    rates[15:, 1] = 1e200
    run = StackedTraining(FITTING[:2], FEW, engine=engine, every_n_epochs=10, rates=rates, extra_epochs=0).run()
    first, second = run.module.status()
    assert first == {"epochs": 10, "ended_by": "zero train error", "fitted_epoch": 10}
    assert second["ended_by"] == "non-finite weights"
    assert 15 < second["epochs"] < 20
    assert run.curves.frame()["epoch"].max() == 10


class Interrupted(Exception):
    pass


class SaveAndFail(Callback):
    """Save after so many chunks, and fail in the one after the next."""

    def __init__(self, path, *, after):
        self.path, self.after, self.chunks = path, after, 0

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.chunks += 1
        if self.chunks == self.after:
            trainer.save_checkpoint(self.path)
        if self.chunks == self.after + 2:
            raise Interrupted


RESUMED = {
    "fused": ("fused", Recipe(num_epochs=12)),  # legs of 100, 100 and 40 draws, 4 + 4 + 2 chunks
    "blocked": ("blocked", Recipe(halve_every=4, schedule=Linear())),  # 4 + 4 + 4
    "minibatches": ("blocked", Recipe(batch_size=8, max_steps=40)),  # 13 epochs and a step: 5 + 5 + 4
}


@pytest.mark.parametrize("name", RESUMED)
@pytest.mark.parametrize("after", [2, 6])
def test_a_run_that_is_resumed_ends_with_the_same_bits(name, after, tmp_path, monkeypatch):
    monkeypatch.setattr(chunks, "_REPLICA_DRAWS", 3 * 33)
    engine, recipe = RESUMED[name]
    undisturbed = StackedTraining(REPLICAS, recipe, engine=engine, path=tmp_path / "undisturbed.csv").run()
    fault = SaveAndFail(tmp_path / "last.ckpt", after=after)
    with pytest.raises(Interrupted):
        StackedTraining(REPLICAS, recipe, engine=engine, callbacks=[fault]).run()
    resumed = StackedTraining(REPLICAS, recipe, engine=engine, path=tmp_path / "resumed.csv").run(
        tmp_path / "last.ckpt"
    )
    for number in range(len(REPLICAS)):
        assert torch.equal(resumed.weights(number), undisturbed.weights(number))
    assert (tmp_path / "resumed.csv").read_text() == (tmp_path / "undisturbed.csv").read_text()
    assert resumed.module.status() == undisturbed.module.status()
    assert resumed.module.steps_done == undisturbed.module.steps_done
    assert torch.equal(resumed.engine.fires(), undisturbed.engine.fires())


@engines
@pytest.mark.filterwarnings("ignore:Checkpoint directory .* is not empty")
def test_a_run_that_is_resumed_at_a_measurement_remembers_who_has_stopped(engine, tmp_path, monkeypatch):
    monkeypatch.setattr(chunks, "_REPLICA_DRAWS", 3 * 10)
    options = {"engine": engine, "every_n_epochs": 2, "extra_epochs": 2}
    undisturbed = StackedTraining(FITTING, FEW, **options).run()

    def save():
        return ModelCheckpoint(tmp_path, filename="last", save_on_train_epoch_end=True, enable_version_counter=False)

    first_end = undisturbed.module.status()[0]["epochs"]
    fault = SaveAndFail(tmp_path / "other.ckpt", after=first_end - 1)  # two chunks a leg: the first of the next leg
    with pytest.raises(Interrupted):
        StackedTraining(FITTING, FEW, callbacks=[fault, save()], **options).run()
    resumed = StackedTraining(FITTING, FEW, callbacks=[save()], **options).run(tmp_path / "last.ckpt")
    assert resumed.module.status() == undisturbed.module.status()
    for number in range(len(FITTING)):
        assert torch.equal(resumed.weights(number), undisturbed.weights(number))
    assert resumed.curves.frame().equals(undisturbed.curves.frame())
    assert torch.equal(resumed.engine.fires(), undisturbed.engine.fires())


@engines
def test_a_rate_of_zero_keeps_the_weights(engine):
    run = StackedTraining([Replica(p=0.5, lr=0.0), Replica(p=0.5, seed=1)], Recipe(num_epochs=2), engine=engine)
    before = [run.weights(number) for number in range(2)]
    run.run()
    assert torch.equal(run.weights(0), before[0])
    assert not torch.equal(run.weights(1), before[1])


@pytest.mark.parametrize(("engine", "hidden"), [("fused", 8), ("blocked", 8), ("blocked", 1)])
def test_one_replica_of_one_sample_is_trained_on_it(engine, hidden):
    """By hand: the logistic loss of its one sample falls, and a unit fires on all samples seen or on none."""
    recipe = replace(ONE_SAMPLE, hidden=hidden)
    run = StackedTraining([Replica()], recipe, engine=engine, every_n_epochs=1).run()
    rows = run.rows(Replica())
    assert [row["epoch"] for row in rows] == [0, 1, 2, 3]
    assert rows[-1]["train/clean_loss"] < rows[0]["train/clean_loss"]
    for row in rows:
        assert row["train/dead_fraction"] + row["train/always_on_fraction"] == 1
        # a unit that fires for the one class that there is fires twice as often for it as for the other
        assert (
            row["train/associated_neurons"] == row["train/active_neurons"] == hidden * row["train/always_on_fraction"]
        )


@engines
def test_fires_are_those_of_a_loop_over_classes_also_of_replicas_that_stopped(engine):
    run = StackedTraining(FITTING, FEW, engine=engine, every_n_epochs=2, extra_epochs=0).run()
    assert len({status["epochs"] for status in run.module.status()}) == 3  # they stopped at three times
    for number, replica in enumerate(FITTING):
        train = FEW.make_data(replica.seed).splits["train"]
        active = run.stack.prepare(train.inputs).double() @ run.stack.hidden[number].detach() > 0
        expected = torch.stack([active[train.labels == label].sum(dim=0) for label in range(2)])
        assert torch.equal(run.engine.fires()[number], expected)


def test_the_living_are_those_who_lived_before_less_the_dead_and_with_the_revived():
    replicas = [Replica(p=1.0, seed=seed, lr=0.5) for seed in range(5)]
    run = StackedTraining(replicas, FEW, every_n_epochs=1).run()
    total = 0
    for replica in replicas:
        rows = run.rows(replica)
        assert (rows[0]["train/died_neurons"], rows[0]["train/revived_neurons"]) == (0, 0)
        for before, after in pairwise(rows):
            dead = 8 * (after["train/dead_fraction"] - before["train/dead_fraction"])
            assert after["train/died_neurons"] - after["train/revived_neurons"] == dead
        total += sum(row["train/died_neurons"] for row in rows)
    assert total > 0


def test_single_neurons_have_no_values_of_hidden_ones():
    class Neurons(Recipe):
        def make_network(self, seed):
            return Neuron((6,), 1, init="torch", bias="same", seed=seed)

    run = StackedTraining([Replica(), Replica(seed=1)], Neurons(num_epochs=2)).run()
    assert run.engine.fires() is None
    scores = {name for name in run.rows(Replica())[-1] if name.startswith(("train/", "test/"))}
    gradients = {"train/gradient_norm_squared", "train/gradient_norm_squared/output"}
    assert scores == {"train/error", "train/clean_loss", "test/error", "test/loss", *gradients}


def test_labels_are_learned_where_there_is_no_noise_callback():
    with_noise = StackedTraining([Replica(p=0.0)], Recipe(num_epochs=2)).run()
    plain = StackedTraining([Replica(p=0.0)], Recipe(num_epochs=2))
    plain.trainer.callbacks.remove(plain.corruption)
    assert torch.equal(plain.run().weights(0), with_noise.weights(0))
    assert not any(name.startswith("noise/") for name in plain.curves.frame())


def test_the_means_over_the_running_replicas_are_logged_for_callbacks():
    run = StackedTraining(REPLICAS, Recipe(num_epochs=4), every_n_epochs=2).run()
    last = [run.rows(replica)[-1] for replica in REPLICAS]
    for name in ("test/error", "train/active_neurons", "norm/hidden", "noise/measured_rate"):
        mean = sum(row[name] for row in last) / len(last)
        assert run.trainer.callback_metrics[name].item() == pytest.approx(mean, rel=1e-5)
