import pytest
import torch
from torch import nn

from noisereg import losses
from noisereg.config.composing import compose_settings
from noisereg.config.plan import Plan
from noisereg.engine.stacked_engine import StackedEngine
from noisereg.engine.two_layer import TwoLayerEngine
from noisereg.errors import ConfigError
from noisereg.models import MLP, TwoLayer
from noisereg.training import engines
from noisereg.training.build import build_data, build_trial
from noisereg.training.engines import Choice, build_engine, choose_engine
from noisereg.training.spread import ALONE

SMALL = ["dataset.train_size=8", "dataset.test_size=4", "seeds=2", "noise.p=0.1", "trainer.accelerator=cpu"]
MLP_OF_TWO = ["model=mlp", "model.hidden=[5,4]", "dataset.batch_size=4"]


def make(*overrides):
    settings = compose_settings(*SMALL, *overrides)
    return Plan(settings), build_data(settings, 0)


def choose_for(plan, data):
    return choose_engine(plan, data, build_trial(plan.settings, data))


def choose(*overrides):
    return choose_for(*make(*overrides))


class Steep(losses.Loss):
    """A loss that has no compiled slope."""

    def per_class(self, logits):
        return torch.stack([logits[:, 0], -logits[:, 0]], dim=1).exp()


class Large(nn.Module):
    """3,000 x 3,000 multiplications a sample, with hardly a weight of its own."""

    def __init__(self, input_shape, num_outputs, seed):
        super().__init__()
        self.factor = nn.Parameter(torch.ones(1))
        self.num_outputs = num_outputs

    def forward(self, inputs):
        wide = self.factor.expand(3000, 3000)
        return (inputs[:, :1].expand(-1, 3000) @ wide)[:, : self.num_outputs]


class Ordered(nn.Module):
    """A network that takes its inputs in an order which its seed draws, and keeps that as a list."""

    def __init__(self, input_shape, num_outputs, seed, odd=0):
        super().__init__()
        self.order = list(range(*input_shape))[:: -1 if seed == odd else 1]
        self.output = nn.Linear(*input_shape, num_outputs)

    def forward(self, inputs):
        return self.output(inputs[:, self.order])


def test_an_engine_is_not_tried_if_a_faster_one_can_train_the_run(monkeypatch):
    monkeypatch.setattr(engines, "why_not", lambda model, inputs: "it was tried")
    assert [choose(*overrides).name for overrides in ([], ["dataset.batch_size=129"])] == ["fused", "blocked"]
    assert choose(*MLP_OF_TWO) == Choice("single", "not stacked, as MLP cannot be stacked: it was tried")


@pytest.mark.parametrize(
    ("overrides", "name", "reason"),
    [
        ([], "fused", ""),
        (["optimizer.momentum=0.9", "optimizer.weight_decay=0.1", "dataset.batch_size=4"], "fused", ""),
        (["regularizer.activity_l1=0.1", "optimizer.weight_decay=0.1"], "fused", ""),
        (["dataset.batch_size=129"], "blocked", "not fused, as dataset.batch_size=129, and it takes at most 128"),
        (["model.hidden=2000", "dataset.batch_size=128"], "fused", ""),
        (
            ["model.hidden=10000", "dataset.batch_size=128"],  # 128 x 10,000 x 61 multiplications
            "blocked",
            "not fused, as a step of 78 million multiplications is no slower in blocked",
        ),
        (["model.hidden=10000", "dataset.batch_size=128", "optimizer.momentum=0.9"], "fused", ""),
        (MLP_OF_TWO, "stacked", "not blocked, as model MLP is not TwoLayer or Neuron"),
        (["optimizer=adam"], "stacked", "not blocked, as optimizer Adam is not plain SGD"),
        (["callbacks.sparsity.layers=[relu]"], "stacked", "not blocked, as callbacks.sparsity chooses layers"),
        ([*MLP_OF_TWO, "seeds=1"], "single", "not stacked, as one network gains nothing by it"),
        ([*MLP_OF_TWO, "channels_last=true"], "single", "not stacked, as channels_last=true needs engine=single"),
        (["+trainer.detect_anomaly=true"], "single", "not stacked, as trainer.detect_anomaly is beyond it"),
        (
            [*MLP_OF_TWO, "callbacks.finite_loss.action=skip"],
            "single",
            "not stacked, as callbacks.finite_loss.action=skip needs engine=single",
        ),
    ],
)
def test_the_fastest_engine_that_can_is_chosen_with_the_reason_against_the_next(overrides, name, reason):
    choice = choose(*overrides)
    assert choice.name == name
    assert choice.passed_over.startswith(reason) and bool(reason) == bool(choice.passed_over)


@pytest.mark.parametrize("name", ["blocked", "stacked", "single"])
def test_an_engine_that_is_named_is_taken_although_a_faster_one_can(name):
    assert choose(f"engine={name}") == Choice(name, "")


def test_a_loss_that_is_not_compiled_is_not_for_fused(monkeypatch):
    monkeypatch.setattr(losses, "Steep", Steep, raising=False)
    monkeypatch.setattr(Steep, "__module__", "noisereg.losses")
    plan, data = make()
    plan.settings["loss"] = {"_target_": "noisereg.losses.Steep"}
    assert choose_for(plan, data) == Choice("blocked", "not fused, as loss Steep is not compiled")
    plan.settings["engine"] = "fused"
    with pytest.raises(ConfigError, match=r"^engine=fused cannot run: loss Steep is not compiled; set engine=auto$"):
        choose_for(plan, data)


def test_a_step_of_many_multiplications_is_not_stacked_unless_that_is_asked_for(monkeypatch):
    monkeypatch.setattr("noisereg.models.Large", Large, raising=False)
    monkeypatch.setattr("noisereg.training.engines._MOST_OF_A_STEP", 10_000_000)
    monkeypatch.setattr(Large, "__module__", "noisereg.models")
    plan, data = make(*MLP_OF_TWO)
    plan.settings["model"] = {"_target_": "noisereg.models.Large"}
    choice = choose_for(plan, data)
    assert choice.name == "single"
    # 3,000 times 3,000 for each of the four samples of a step
    assert choice.passed_over == "not stacked, as a step of 36 million multiplications gains nothing by it"
    plan.settings["engine"] = "stacked"
    assert choose_for(plan, data).name == "stacked"


def test_networks_that_differ_in_more_than_tensors_are_not_stacked(monkeypatch):
    monkeypatch.setattr("noisereg.models.Ordered", Ordered, raising=False)
    monkeypatch.setattr(Ordered, "__module__", "noisereg.models")
    plan, data = make("dataset.batch_size=4", "seeds=3")
    plan.settings["model"] = {"_target_": "noisereg.models.Ordered"}
    difference = "number 1 has another order in Ordered than number 0, which forward may read"
    reason = f"Ordered cannot be stacked: of two seeds {difference}"
    assert choose_for(plan, data) == Choice("single", f"not stacked, as {reason}")
    plan.settings["model"]["odd"] = 2  # the seed of the third alone, which is built when the engine is
    with pytest.raises(ConfigError, match=r"^engine=stacked cannot run: .* number 2 has .*; take engine=single$"):
        build_engine(choose_for(plan, data).name, plan, data)


def test_streamed_data_are_for_one_network_after_the_other():
    plan, data = make(*MLP_OF_TWO)
    data.streamed = True
    assert choose_for(plan, data) == Choice("single", "not stacked, as dataset.stream reads images batch by batch")


@pytest.mark.parametrize(
    ("overrides", "choice", "words"),
    [
        (["noise.p=[0,0.1,0.2]"], Choice("fused", ""), "fused: 6 replicas at once (2 seeds for each p)"),
        (["seeds=1"], Choice("single", "not stacked, as x"), "single: one network; not stacked, as x"),
        ([], Choice("single", ""), "single: 2 replicas, one after the other"),
    ],
)
def test_an_engine_is_told_with_how_many_replicas_it_trains(overrides, choice, words):
    assert choice.in_words(make(*overrides)[0], ALONE) == words


@pytest.mark.parametrize(
    ("overrides", "name", "kind", "model"),
    [
        (["model.hidden=6"], "fused", TwoLayerEngine, TwoLayer),
        (["model.hidden=6"], "blocked", TwoLayerEngine, TwoLayer),
        (MLP_OF_TWO, "stacked", StackedEngine, MLP),
    ],
)
def test_an_engine_has_the_networks_of_all_replicas_and_a_seed_has_the_same_at_each_p(overrides, name, kind, model):
    plan, data = make(*overrides, "noise.p=[0,0.1]")
    engine = build_engine(name, plan, data)
    assert (type(engine), engine.name, len(engine)) == (kind, name, 4)
    arguments = {key: value for key, value in plan.settings["model"].items() if key not in ("_target_", "num_outputs")}
    for replica, seed in enumerate([0, 1, 0, 1]):
        wanted, found = model((60,), 1, seed=seed, **arguments), model((60,), 1, seed=7, **arguments)
        engine.copy_to(found, replica)
        for weight, peer in zip(found.parameters(), wanted.parameters(), strict=True):
            assert torch.equal(weight, peer)


def test_fused_makes_the_steps_of_the_optimiser_and_penalty_that_are_configured():
    settings = ["optimizer.momentum=0.9", "optimizer.weight_decay=0.1", "+optimizer.nesterov=true"]
    settings.append("regularizer.activity_l1=0.2")
    plan, data = make("model.hidden=6", "dataset.batch_size=4", "seeds=1", "trainer.precision=64-true", *settings)
    engine, split = build_engine("fused", plan, data), data.splits["train"]
    index = torch.tensor([[0, 1, 2, 3, 5, 4, 7, 6]])
    (rate,) = plan.axes["lr"]
    peer = TwoLayer((60,), 1, hidden=6, seed=0)
    engine.copy_to(peer, 0)
    optimizer = torch.optim.SGD(peer.parameters(), lr=rate, momentum=0.9, weight_decay=0.1, nesterov=True)
    for rows in index[0].split(4):
        optimizer.zero_grad()
        loss = torch.log1p(torch.exp(-peer(split.inputs[rows])[:, 0] * (2 * split.labels[rows] - 1))).mean()
        (loss + 0.2 * torch.relu(peer.hidden(split.inputs[rows])).sum(dim=1).mean()).backward()
        optimizer.step()
    rates = torch.tensor([rate], dtype=torch.float64)
    inputs = engine.prepare(split.inputs)
    engine.train(inputs, index=index, targets=split.labels[index], rates=rates, replicas=torch.arange(1))
    found = TwoLayer((60,), 1, hidden=6, seed=1)
    engine.copy_to(found, 0)
    for weight, wanted in zip(found.parameters(), peer.parameters(), strict=True):
        torch.testing.assert_close(weight, wanted, rtol=1e-5, atol=1e-6)


def test_stacked_networks_have_the_optimiser_and_the_layers_of_the_configuration():
    layers = "callbacks.sparsity.layers=[relu2]"
    plan, data = make(*MLP_OF_TWO, layers, "optimizer.lr=[0.5,0.25]", "+trainer.gradient_clip_val=0.01", "seeds=1")
    engine = build_engine("stacked", plan, data)
    before = [weight.detach().clone() for weight in engine.networks.parameters()]
    engine.train(
        engine.prepare(data.splits["train"].inputs),
        index=torch.arange(4).repeat(2, 1),
        targets=data.splits["train"].labels[:4].repeat(2, 1),
        rates=torch.tensor([0.5, 0.0], dtype=torch.float64),
        replicas=torch.arange(2),
    )
    moves = [(weight - old).flatten(1) for weight, old in zip(engine.networks.parameters(), before, strict=True)]
    lengths = torch.cat(moves, dim=1).norm(dim=1)
    assert lengths.tolist() == pytest.approx([0.5 * 0.01, 0], rel=1e-3)  # a gradient is cut to the length asked for
    engine.measure([([0, 1], data.splits)], [True, True], num_classes=2, first=True)
    assert engine.fires().shape == (2, 2, 4)
