from functools import partial

import pytest
import torch
from lightning.pytorch import Callback
from replica_runs import Recipe, Replica, StackedTraining, train_one_replica

from noisereg.datasets import InMemory, Split
from noisereg.noise import Flip, Linear, Resample, Step, Transition

REPLICAS = (Replica(p=0.0), Replica(p=0.4), Replica(p=0.9, seed=1), Replica(p=0.9))
N = 20  # draws of an epoch


class Targets(Callback):
    """Keep the targets of every batch."""

    def __init__(self):
        self.seen = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.seen.append(batch["target"].clone())


class ThreeClasses(InMemory):
    num_classes, input_shape = 3, (6,)

    def load(self):
        split = Split(torch.zeros(N, 6), torch.arange(N) % 3)
        return split, split


def noisy_labels(recipe, every_n_epochs=2):
    """A training, its targets, (replicas, draws, ...), and its clean labels."""
    targets = Targets()
    run = StackedTraining(REPLICAS, recipe, every_n_epochs=every_n_epochs, engine="blocked", callbacks=[targets]).run()
    clean = run.data.chunk(0, N * recipe.num_epochs)["label"]
    return run, torch.cat(targets.seen, dim=1), clean


@pytest.mark.parametrize(
    ("rule", "schedule", "batch_size"),
    [
        (Resample, None, 1),
        (Flip, Linear(start=0, end=1), 7),
        (partial(Flip, frozen=True), Step(at=0.5), 1),
        (partial(Resample, expected=True), Linear(start=1, end=0), 7),
        (partial(Transition, matrix=((0.7, 0.3), (0.0, 1.0))), None, 7),
    ],
)
def test_each_replica_has_the_targets_of_a_run_of_its_own(rule, schedule, batch_size):
    recipe = Recipe(num_epochs=3, rule=rule, schedule=schedule, batch_size=batch_size)
    _, targets, clean = noisy_labels(recipe)
    for number, replica in enumerate(REPLICAS):
        alone = Targets()
        train_one_replica(replica, recipe, callbacks=[alone])
        torch.testing.assert_close(targets[number].float(), torch.cat(alone.seen).float(), rtol=0, atol=1e-6)
    if targets.ndim == clean.ndim:
        changed = (targets != clean).double().mean(dim=1)
        assert changed[0] == 0 < changed[3]


def test_the_measured_rate_is_the_share_of_labels_changed_since_the_measurement_before():
    run, targets, clean = noisy_labels(Recipe(num_epochs=5))
    changed = (targets != clean).double()
    for number, replica in enumerate(REPLICAS):
        start, *rows = run.rows(replica)
        assert not any(name.startswith("noise/") for name in start)
        shares = [float(changed[number, first:stop].mean()) for first, stop in ((0, 40), (40, 80), (80, 100))]
        assert [row["noise/measured_rate"] for row in rows] == pytest.approx(shares)
        assert [row["noise/effective_rate"] for row in rows] == pytest.approx([replica.p / 2] * 3)


def test_the_measured_rate_of_smoothing_is_the_mass_that_left_the_label():
    run, _, _ = noisy_labels(Recipe(num_epochs=2, rule=partial(Resample, expected=True)))
    for replica in REPLICAS:
        assert run.rows(replica)[-1]["noise/measured_rate"] == pytest.approx(replica.p / 2)


def test_under_a_schedule_the_effective_rate_is_its_mean_since_the_measurement_before():
    run, _, _ = noisy_labels(Recipe(num_epochs=5, rule=Flip, schedule=Linear(start=0, end=1)))
    for replica in REPLICAS:
        rates = [row["noise/effective_rate"] for row in run.rows(replica)[1:]]
        assert rates == pytest.approx([replica.p * factor for factor in (0.125, 0.625, 1)])


def test_the_labels_of_the_data_are_left_as_they_were():
    run = StackedTraining(REPLICAS, Recipe(num_epochs=2), engine="blocked")
    before = run.data.chunk(0, 2 * N)["label"].clone()
    run.run()
    assert torch.equal(run.data.chunk(0, 2 * N)["label"], before)


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (
            Recipe(data=ThreeClasses, rule=partial(Transition, matrix=((0.7, 0.3), (0.0, 1.0)))),
            "2 rows, but the labels have 3 classes",
        ),
        (Recipe(rule=lambda p: Resample(p=p) if p < 0.5 else Flip(p=p)), "rules of a stack must differ in p alone"),
    ],
)
def test_rules_that_do_not_fit_are_refused_when_training_starts(recipe, message):
    with pytest.raises(ValueError, match=message):
        StackedTraining(REPLICAS, recipe, engine="blocked").run()
