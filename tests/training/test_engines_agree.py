"""The engines `stacked` and `single` train the same replicas to the same results, whatever is asked of them."""

import math

import jaxtyping
import pandas
import pytest
import torch
from rich.console import Console
from torch import nn

from noisereg import rng
from noisereg.config.composing import compose_settings
from noisereg.datasets import Split
from noisereg.datasets.images import Images
from noisereg.training.prepare import prepare

pytestmark = pytest.mark.filterwarnings("ignore:.*smaller than the logging interval")
QUIET = Console(quiet=True)
PLAN = [
    "model=mlp",
    "loss=cross_entropy",
    "dataset.batch_size=12",
    "dataset.val_size=10",
    "noise.p=[0,0.3]",
    "seeds=2",
    "trainer.accelerator=cpu",
    "trainer.max_epochs=5",
    "callbacks.sparsity.every_n_epochs=2",
    "callbacks.gradients.max_samples=5",
    "stopping.extra_epochs=2",
    "logger=csv",
]
SGD = ["optimizer.lr=0.05", "optimizer.momentum=0.9", "optimizer.weight_decay=0.01", "scheduler=step"]
ADAMW = ["optimizer=adam", "optimizer._target_=torch.optim.AdamW", "optimizer.lr=0.01", "scheduler=cosine"]
FADING = ["noise/schedule=linear", "noise.schedule.start=1", "noise.schedule.end=0"]
FROZEN = ["noise.frozen=true", "noise/schedule=linear", "noise.schedule.start=1", "noise.schedule.end=0.6"]


class Tiles(Images):
    """Three classes of 8 x 8 images, bright in one of two channels or in both."""

    num_classes, input_shape, source = 3, (2, 8, 8), "tiles"

    def __init__(self, augment: bool = True, **common) -> None:
        super().__init__("", normalize="unit", augment=augment, **common)

    def load(self):
        return self._draw(0, 46), self._draw(1, 30)

    def _draw(self, step, n):
        labels = torch.arange(n) % 3
        pixels = rng.uniform(0, rng.Stream.TRAIN_DATA, step, torch.arange(n * 128)).view(n, 2, 8, 8) * 100
        bright = torch.tensor([[1, 0], [0, 1], [1, 1]])[labels]
        return Split((pixels + 150 * bright[:, :, None, None]).to(torch.uint8), labels)


class Normed(nn.Module):
    """An MLP with batch norm, of ten and six units."""

    def __init__(self, input_shape, num_outputs, seed) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.first, self.norm = nn.Linear(math.prod(input_shape), 10, bias=False), nn.BatchNorm1d(10)
            self.second, self.output = nn.Linear(10, 6), nn.Linear(6, num_outputs)
        self.relu1, self.relu2 = nn.ReLU(), nn.ReLU()

    def forward(self, inputs):
        return self.output(self.relu2(self.second(self.relu1(self.norm(self.first(inputs.flatten(1)))))))


DORMANT = "+callbacks.sparsity.dormant=0.5"
MODELS = {
    "mlp": {"_target_": "noisereg.models.Normed"},
    "resnet": {"_target_": "noisereg.models.ResNet", "depth": 8},
}


@pytest.fixture(autouse=True)
def _own_parts(monkeypatch):
    """Make the data set and the network known by the names that a configuration may have."""
    for name, kind in {"noisereg.datasets.Tiles": Tiles, "noisereg.models.Normed": Normed}.items():
        monkeypatch.setattr(name, kind, raising=False)
        monkeypatch.setattr(kind, "__module__", name.rpartition(".")[0])


@pytest.fixture(autouse=True)
def _unchecked():
    """Leave annotations unchecked: the checks take longer than the steps."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def train(folder, engine, model, overrides):
    """Train the plan with an engine, and return its result rows and its curves."""
    settings = compose_settings(*PLAN, *overrides, f"engine={engine}")
    given = {key: settings["dataset"].get(key) for key in ("train_eval_size",)}
    settings["dataset"] = {"_target_": "noisereg.datasets.Tiles", "batch_size": 12, "val_size": 10, **given}
    settings["model"] = MODELS[model]
    training = prepare(settings, folder=folder / engine, console=QUIET)
    assert training.engine.startswith(engine)
    training.train()
    return training.finish(), training.curves.frame()


@pytest.mark.parametrize(
    ("model", "overrides"),
    [
        pytest.param("mlp", [*SGD, "scheduler.step_size=2", *FADING], id="mlp-sgd-fading-noise"),
        pytest.param(
            "mlp", [*ADAMW, "optimizer.weight_decay=0.1", "noise=smoothing", DORMANT], id="mlp-adamw-smoothing"
        ),
        pytest.param(
            "mlp", [*ADAMW, *FROZEN, "+dataset.train_eval_size=20"], id="mlp-frozen-noise", marks=pytest.mark.slow
        ),
        # in float32 one of its 3,000 units may be counted otherwise after ten steps
        pytest.param("resnet", [*SGD, "scheduler.step_size=2", "trainer.precision=64-true"], id="resnet-sgd-noise"),
    ],
)
def test_stacked_replicas_come_to_what_each_comes_to_alone(model, overrides, tmp_path):
    (rows, curve), (peers, peer_curve) = (train(tmp_path, engine, model, overrides) for engine in ("stacked", "single"))
    assert [(row["p"], row["seed"]) for row in rows] == [(0, 0), (0, 1), (0.3, 0), (0.3, 1)]
    assert ("train/dormant_fraction/relu1" in rows[0]) == (DORMANT in overrides)
    for row, peer in zip(rows, peers, strict=True):
        assert row.keys() == peer.keys()
        assert {key: (row[key], peer[key]) for key in row if not is_close(row[key], peer[key])} == {}
    evaluated = peer_curve[peer_curve["test/error"].notna()].reset_index(drop=True)  # the others hold train/loss alone
    assert sorted(set(evaluated["epoch"])) == [0, 2, 4, 5]
    pandas.testing.assert_frame_equal(curve, evaluated, check_like=True, rtol=1e-4, atol=1e-6)
    if "noise.frozen=true" in overrides:
        assert all(row["train/wrong_labels"] > 0 and "train/active_neurons_wrong" in row for row in rows[2:])
        assert not any("train/error_wrong" in row for row in rows[:2])
    early = {"mlp": [], "resnet": [(0, 0)]}[model]
    assert [(row["p"], row["seed"]) for row in rows if row["ended_by"] == "zero train error"] == early


def is_close(value, other):
    return value == other if isinstance(value, str) else math.isclose(value, other, rel_tol=1e-4, abs_tol=1e-6)
