import re
from functools import partial

import numpy as np
import pytest
import torch
from rich.console import Console
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, MultiStepLR, StepLR

from noisereg.config.composing import compose_settings
from noisereg.datasets import Hypercube
from noisereg.engine.chunks import Timeline
from noisereg.errors import ConfigError
from noisereg.training.at_once import AllAtOnce, build_timeline, learning_rates
from noisereg.training.prepare import prepare

pytestmark = pytest.mark.filterwarnings("ignore:.*smaller than the logging interval")
QUIET = Console(quiet=True)
SMALL = ["dataset.train_size=12", "dataset.test_size=8", "dataset.d=8", "model.hidden=6", "logger=csv"]
SCHEDULES = {
    "step": (["scheduler=step", "scheduler.step_size=2"], partial(StepLR, step_size=2, gamma=0.5)),
    "multistep": (["scheduler=multistep", "scheduler.milestones=[1,4]"], partial(MultiStepLR, milestones=[1, 4])),
    "cosine": (["scheduler=cosine", "trainer.max_epochs=6"], partial(CosineAnnealingLR, T_max=6)),
    "warmup": (
        ["+scheduler={_target_:torch.optim.lr_scheduler.LinearLR,total_iters:3}"],
        partial(LinearLR, total_iters=3),
    ),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_each_replica_has_the_learning_rates_that_torch_gives_an_optimiser_of_its_own(name):
    overrides, make = SCHEDULES[name]
    base = [0.1, 0.4, 0.1]
    table = learning_rates(compose_settings(*overrides), base, num_epochs=6)
    assert table.shape == (6, 3) and table.dtype == torch.float64
    for replica, lr in enumerate(base):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)
        scheduler = make(optimizer)
        for epoch in range(6):
            assert table[epoch, replica].item() == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12, abs=1e-15)
            optimizer.step()
            scheduler.step()


def test_a_constant_rate_is_one_row():
    assert learning_rates(compose_settings(), [0.1, 0.2], num_epochs=6).tolist() == [[0.1, 0.2]]


def test_a_schedule_that_moves_the_momentum_is_refused():
    cycle = "+scheduler={_target_:torch.optim.lr_scheduler.OneCycleLR,max_lr:0.1,total_steps:9}"
    with pytest.raises(ConfigError, match=r"^scheduler moves the momentum too, which needs engine=single$"):
        learning_rates(compose_settings(cycle), [0.1], num_epochs=6)


class Decaying(StepLR):
    """A schedule of the user's own, of the weight decay."""

    def step(self, epoch=None):
        super().step(epoch)
        for group in self.optimizer.param_groups:
            group["weight_decay"] = 0.1 / (1 + self.last_epoch)


def test_a_schedule_that_moves_something_else_is_refused(monkeypatch):
    monkeypatch.setattr(torch.optim.lr_scheduler, "Decaying", Decaying, raising=False)
    monkeypatch.setattr(Decaying, "__module__", "torch.optim.lr_scheduler")
    decaying = "+scheduler={_target_:torch.optim.lr_scheduler.Decaying,step_size:3}"
    with pytest.raises(ConfigError, match=r"^scheduler moves the weight_decay too, which needs engine=single$"):
        learning_rates(compose_settings(decaying), [0.1], num_epochs=6)


def test_a_schedule_that_fails_as_it_is_made_names_its_key():
    broken = "+scheduler={_target_:torch.optim.lr_scheduler.MultiplicativeLR,lr_lambda:3}"
    with pytest.raises(ConfigError, match=r"^scheduler"):
        learning_rates(compose_settings(broken), [0.1], num_epochs=2)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["trainer.max_epochs=7", "callbacks.sparsity.every_n_epochs=3"], (7, 3, 1, None)),
        (["trainer.max_epochs=2", "callbacks.sparsity.every_n_epochs=30"], (2, 2, 1, None)),
        (["trainer.max_epochs=7", "trainer.check_val_every_n_epoch=2"], (7, 2, 1, None)),
        (["trainer.max_epochs=7", "trainer.max_steps=40", "dataset.batch_size=4"], (7, 5, 4, 40)),
        (["trainer.max_epochs=7", "trainer.check_val_every_n_epoch=1", "~callbacks.sparsity"], (7, 1, 1, None)),
    ],
)
def test_a_training_is_as_long_as_it_is_asked_for_and_stops_as_often_as_it_is_measured(overrides, expected):
    if overrides[1].startswith("trainer.max_steps"):
        overrides = [*overrides, "callbacks.sparsity.every_n_epochs=5"]
    settings = compose_settings(*(line for line in overrides if line[0] != "~"))
    for line in overrides:
        settings["callbacks"].pop(line.removeprefix("~callbacks."), None)
    epochs, every, batch_size, most = expected
    wanted = Timeline(num_epochs=epochs, every_n_epochs=every, n=30, batch_size=batch_size, max_steps=most)
    assert build_timeline(settings, n=30) == wanted


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Four replicas of which those of the greater rate diverge."""
    overrides = ["noise.p=0.1", "seeds=2", "optimizer.lr=[0.01,1e30]", "loss=squared_error", "trainer.max_epochs=3"]
    folder = tmp_path_factory.mktemp("at_once")
    training = prepare(compose_settings(*SMALL, *overrides), folder=folder, console=QUIET)
    assert isinstance(training, AllAtOnce)
    training.train()
    return training, training.finish()


def test_rows_are_in_the_order_of_the_grid_and_say_how_each_replica_ended(trained):
    training, rows = trained
    assert [(row["lr"], row["seed"]) for row in rows] == [(0.01, 0), (0.01, 1), (1e30, 0), (1e30, 1)]
    assert [row["ended_by"] for row in rows] == ["budget"] * 2 + ["non-finite weights"] * 2
    assert [row["epochs"] for row in rows[:2]] == [3, 3]
    assert training.steps == 3 * 12


def test_only_replicas_with_finite_weights_are_analysed(trained):
    training, rows = trained
    assert ["test/ece" in row for row in rows] == [True, True, False, False]
    with np.load(training.folder / "analysis.npz") as arrays:
        assert {name.partition("/")[0] for name in arrays} == {"0", "1"}
    with np.load(training.folder / "fires.npz") as arrays:
        assert arrays["train"].shape == (4, 2, 6)


def test_sizes_are_those_of_one_network_and_of_all_that_a_checkpoint_holds(trained):
    training, _ = trained
    one = 8 * 6 + 6 + 6 + 1  # of 8 inputs, 6 units and an output
    assert training.num_weights == one
    weights = 4 * 4 * one  # bytes of four networks in float32
    assert weights < training.num_bytes < 2 * weights
    assert (training.folder / "checkpoints" / "last.ckpt").stat().st_size > weights


def test_a_training_that_is_prepared_again_goes_on_where_it_ended(trained):
    training, rows = trained
    again = prepare(training.settings, folder=training.folder, console=QUIET)
    again.train()
    assert again.finish() == rows
    assert again.curves.frame().equals(training.curves.frame())


def test_networks_are_analysed_alike_by_one_thread_and_by_several(trained):
    training, rows = trained
    assert training._engine.threads == 1  # of the tests
    training._engine.threads = 3
    try:
        assert training.finish() == rows
    finally:
        training._engine.threads = 1


@pytest.mark.parametrize(
    ("override", "words"),
    [
        (
            "callbacks.gradients.max_samples=-1",
            "callbacks.gradients.max_samples must be a whole number, at least 0, got -1",
        ),
        ("+callbacks.norms.often=3", "callbacks.norms.often"),
        ("+callbacks.sparsity.often=3", "callbacks.sparsity.often"),
        ("+callbacks.checkpoint.often=3", "callbacks.checkpoint.often"),
    ],
)
def test_callbacks_whose_work_the_engine_does_have_their_arguments_checked(override, words, tmp_path):
    with pytest.raises(ConfigError, match=re.escape(words)):
        prepare(compose_settings(*SMALL, override), folder=tmp_path, console=QUIET)


def test_data_of_another_size_for_another_seed_are_refused(monkeypatch, tmp_path):
    setup = Hypercube.setup

    def of_other_size(data, stage="fit"):
        setup(data, stage)
        data.splits["train"] = data.splits["train"].select(torch.arange(12 - data.seed))

    monkeypatch.setattr(Hypercube, "setup", of_other_size)
    with pytest.raises(
        ConfigError, match=r"^Hypercube has 11 training samples and 2 classes for seed 1 and 12 .* take engine=single$"
    ):
        prepare(compose_settings(*SMALL, "seeds=2", "noise.p=0.1"), folder=tmp_path, console=QUIET).train()
