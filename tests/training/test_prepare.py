import pytest
import torch
from rich.console import Console

from noisereg.config.composing import compose_settings
from noisereg.engine.two_layer import TwoLayerEngine
from noisereg.errors import ConfigError
from noisereg.training.at_once import AllAtOnce
from noisereg.training.one_by_one import OneByOne, OneNetwork
from noisereg.training.prepare import _DEFAULT_THREADS, prepare

QUIET = Console(quiet=True)
SMALL = ["dataset.train_size=8", "dataset.test_size=4", "trainer.max_epochs=2", "logger=csv"]


@pytest.fixture(autouse=True)
def _threads():
    yield
    torch.set_num_threads(_DEFAULT_THREADS)


def training(folder, *overrides):
    return prepare(compose_settings(*SMALL, *overrides), folder=folder, console=QUIET)


@pytest.mark.parametrize(
    ("overrides", "threads"),
    [
        (["model=mlp"], 1),
        (["model=mlp", "threads=4"], 4),
        (["model=mlp", "dataset.batch_size=8"], _DEFAULT_THREADS),
        ([], _DEFAULT_THREADS),
        (["threads=3"], 3),
    ],
)
def test_a_network_that_no_engine_compiles_runs_on_one_thread_at_one_sample_a_step(overrides, threads, tmp_path):
    training(tmp_path, "seeds=1", "noise.p=0.1", *overrides)
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize(
    ("overrides", "kind", "words"),
    [
        ([], AllAtOnce, "fused: 40 replicas at once (20 seeds for each p)"),
        (
            ["dataset.batch_size=130", "seeds=2"],
            AllAtOnce,
            "blocked: 4 replicas at once (2 seeds for each p); not fused, as dataset.batch_size=130, and it takes at "
            "most 128 samples a step",
        ),
        (
            ["optimizer.momentum=0.9", "dataset.batch_size=4", "seeds=2"],
            AllAtOnce,
            "fused: 4 replicas at once (2 seeds for each p)",
        ),
        (
            ["optimizer.momentum=0.9", "dataset.batch_size=130", "seeds=2"],
            AllAtOnce,
            "stacked: 4 replicas at once (2 seeds for each p); not blocked, as optimizer.momentum is not plain SGD",
        ),
        (
            ["optimizer=adam", "seeds=1", "noise.p=0.1"],
            OneNetwork,
            "single: one network; not stacked, as one network gains nothing by it",
        ),
        (["engine=single", "seeds=2"], OneByOne, "single: 4 replicas, one after the other"),
        (["engine=none", "seeds=1", "noise.p=0.1"], OneNetwork, "single: one network"),
        (
            ["trainer.precision=bf16-mixed", "seeds=2"],
            OneByOne,
            "single: 4 replicas, one after the other; not stacked, as trainer.precision=bf16-mixed needs engine=single",
        ),
    ],
)
def test_the_fastest_engine_that_can_is_taken_and_the_reason_against_a_faster_one_is_given(
    overrides, kind, words, tmp_path
):
    made = training(tmp_path, *overrides)
    assert type(made) is kind
    assert made.engine == words
    assert f"engine  {words}" in made.headlines()


def test_full_names_of_classes_are_those_classes(tmp_path):
    targets = ["model._target_=noisereg.models.two_layer.TwoLayer", "optimizer._target_=torch.optim.sgd.SGD"]
    assert training(tmp_path, *targets).engine.startswith("fused: 40 replicas")


class Dropped(torch.nn.Module):
    """A network that drops units at random, in the way that a user calls it."""

    def __init__(self, input_shape, num_outputs, seed):
        super().__init__()
        self.linear, self.relu = torch.nn.Linear(input_shape[0], num_outputs), torch.nn.ReLU()

    def forward(self, inputs):
        return torch.nn.functional.dropout(self.relu(self.linear(inputs)), training=self.training)


def test_a_network_that_draws_random_numbers_is_not_stacked_and_the_refusal_says_why(tmp_path, monkeypatch):
    monkeypatch.setattr("noisereg.models.Dropped", Dropped, raising=False)
    monkeypatch.setattr(Dropped, "__module__", "noisereg.models")
    settings = compose_settings(*SMALL, "model=mlp", "seeds=2", "noise.p=0.1")
    settings["model"] = {"_target_": "noisereg.models.Dropped"}
    made = prepare(settings, folder=tmp_path, console=QUIET)
    assert made.engine.endswith("not stacked, as Dropped cannot be stacked: it draws random numbers, as dropout does")
    with pytest.raises(ConfigError, match=r"^engine=stacked cannot run: Dropped cannot be stacked: it draws random"):
        prepare({**settings, "engine": "stacked"}, folder=tmp_path, console=QUIET)


def test_blocked_networks_have_the_batch_size_of_the_data(tmp_path):
    made = training(tmp_path, "dataset.batch_size=3", "seeds=1")
    assert isinstance(made._engine, TwoLayerEngine) and not made._engine.crosses_epochs
