"""Each of the networks that are trained together against the same network in a plain loop of torch."""

import io
import random
import re
from copy import deepcopy
from functools import partial
from itertools import count

import jaxtyping
import numpy as np
import pytest
import torch
from torch import nn
from torch._dynamo.testing import CompileCounterWithBackend
from torch.nn.functional import dropout
from torch.optim import SGD, Adafactor, Adam, AdamW, Muon

from noisereg.engine.stacked import StackedNetworks, describe_difference, why_not
from noisereg.losses import CrossEntropy, Logistic
from noisereg.models import MLP, ResNet

LOSS = CrossEntropy()
MOMENTUM = partial(SGD, momentum=0.9, weight_decay=1e-3)
ADAMW = partial(AdamW, weight_decay=0.1)
RATES = [0.05, 0.02, 0.02]
CALLS = count()


@pytest.fixture(autouse=True)
def _unchecked():
    """Leave annotations unchecked: the checks take longer than the steps, and torch.compile cannot see through them."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def _mlp(seed=0):
    return MLP((6,), 3, hidden=[8, 5], seed=seed)


def _cnn(seed=0, momentum=0.1):
    torch.manual_seed(seed)
    norm = nn.BatchNorm2d(4, momentum=momentum)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, bias=False), norm, nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(4 * 16, 3)
    )


def _resnet(seed=0):
    return ResNet((3, 8, 8), 3, depth=20, seed=seed)


SHAPES = {_mlp: (6,), _cnn: (1, 6, 6), _resnet: (3, 8, 8)}


def _draw(shape, *, steps=20, count=3, batch=8, dtype=torch.float32):
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(steps, count, batch, *shape, generator=generator, dtype=torch.float64).to(dtype)
    return inputs, torch.randint(3, (steps, count, batch), generator=generator)


def _train_alone(model, optimizer, inputs, targets, *, loss=LOSS, clip_norm=None):
    for x, target in zip(inputs, targets, strict=True):
        optimizer.zero_grad()
        loss.per_sample(model(x), target).mean().backward()
        if clip_norm is not None:
            nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
        optimizer.step()


def _trained(model):
    return [weight for weight in model.parameters() if weight.requires_grad]


def _stacked(models, make, *, rates=RATES, loss=LOSS, **settings):
    return StackedNetworks(models, loss, optimizer=partial(make, lr=1.0), rates=rates, **settings)


def _assert_alike(stacked, models, *, tolerance):
    for replica, model in enumerate(models):
        found = deepcopy(model)
        stacked.copy_to(found, replica)
        for key, wanted in model.state_dict().items():
            torch.testing.assert_close(found.state_dict()[key], wanted, rtol=tolerance, atol=tolerance, msg=key)


def _assert_follows(models, make, draws, *, tolerance=1e-5, rates=RATES, loss=LOSS, **settings):
    """Train stacked networks and plain ones on the same draws, and compare all that a network holds."""
    stacked = _stacked(models, make, rates=rates, loss=loss, **settings)
    for inputs, targets in zip(*draws, strict=True):
        stacked.step(inputs, targets)
    for replica, (model, rate) in enumerate(zip(models, rates, strict=True)):
        inputs, targets = (draw[:, replica] for draw in draws)
        clip_norm = settings.get("clip_norm")
        _train_alone(model, make(_trained(model), lr=rate), inputs, targets, loss=loss, clip_norm=clip_norm)
    _assert_alike(stacked, models, tolerance=tolerance)
    return stacked


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
@pytest.mark.parametrize("make", [MOMENTUM, ADAMW])
@pytest.mark.parametrize("build", [_mlp, _cnn])
def test_each_network_is_trained_as_if_it_were_alone(build, make, dtype, tolerance):
    models = [build(seed).to(dtype) for seed in range(3)]
    rates = RATES if make is MOMENTUM else [1e-3, 2e-3, 2e-3]
    _assert_follows(models, make, _draw(SHAPES[build], dtype=dtype), tolerance=tolerance, rates=rates)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
@pytest.mark.parametrize("make", [MOMENTUM, partial(ADAMW, eps=1e-3)])
def test_so_is_a_deep_one(make, dtype, tolerance):
    """With small rates, as rounding grows; with its usual eps AdamW makes the most of small gradients."""
    models = [_resnet(seed).to(dtype) for seed in range(2)]
    _assert_follows(models, make, _draw((3, 8, 8), count=2, dtype=dtype), tolerance=tolerance, rates=[1e-5, 2e-5])


class _Sign(torch.optim.Optimizer):
    """A user's optimiser: steps along the sign of a gradient, of the mean size of its entries."""

    def __init__(self, params, lr):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    weight.sub_(group["lr"] * weight.grad.abs().mean() * weight.grad.sign())


ELEMENTWISE = [
    partial(SGD, momentum=0.9, dampening=0.2, weight_decay=0.01),
    partial(SGD, momentum=0.9, nesterov=True, maximize=True),
    partial(SGD, foreach=True),
    partial(Adam, amsgrad=True, weight_decay=0.01),
    partial(AdamW, capturable=False, foreach=False),
    partial(torch.optim.NAdam, decoupled_weight_decay=True, weight_decay=0.01),
    partial(torch.optim.RAdam, weight_decay=0.01),
    partial(torch.optim.RMSprop, centered=True, momentum=0.5),
    partial(torch.optim.Adagrad, lr_decay=0.1),
    partial(torch.optim.Adadelta, rho=0.8),
    torch.optim.Adamax,
    partial(torch.optim.ASGD, t0=5, lambd=0.1),
    torch.optim.Rprop,
]
OF_EACH = [partial(Muon, weight_decay=0.1), Adafactor, _Sign]


def _name(make):
    return f"{make.func.__name__}-{make.keywords}" if isinstance(make, partial) else make.__name__


@pytest.mark.parametrize("make", ELEMENTWISE + OF_EACH, ids=_name)
def test_every_optimiser_goes_on_exactly_while_others_stop(make):
    """The middle one of three stops after 7 of 20 steps; the state that counts steps must not mix theirs."""
    models = [MLP((6,), 3, hidden=[8, 5], bias="none", seed=seed).double() for seed in range(3)]
    inputs, targets = _draw((6,), dtype=torch.float64)
    stacked = _stacked(models, make, rates=[0.02, 0.02, 0.02])
    others = torch.tensor([0, 2])
    for x, target in zip(inputs[:7], targets[:7], strict=True):
        stacked.step(x, target)
    for x, target in zip(inputs[7:], targets[7:], strict=True):
        stacked.step(x[others], target[others], others)
    for replica, (model, steps) in enumerate(zip(models, [20, 7, 20], strict=True)):
        _train_alone(model, make(_trained(model), lr=0.02), inputs[:steps, replica], targets[:steps, replica])
    _assert_alike(stacked, models, tolerance=1e-10)


def _convolutions(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        *(nn.Conv2d(1, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(5, 7, 2), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(7 * 4 * 4, 3)),
    )


@pytest.mark.parametrize(
    ("make", "threads"),
    [
        *((MOMENTUM, 1), (MOMENTUM, 2), (partial(SGD, nesterov=True, momentum=0.9), 1)),
        *((Adam, 1), (partial(ADAMW, amsgrad=True), 1), (torch.optim.RMSprop, 1)),
    ],
    ids=lambda value: str(value) if isinstance(value, int) else _name(value),
)
@pytest.mark.parametrize(
    ("build", "shape"),
    [(partial(MLP, (13,), 3, hidden=[37, 5]), (13,)), (_convolutions, (1, 12, 12))],
    ids=["mlp", "convolutions"],
)
def test_a_network_comes_to_the_same_bits_however_many_are_beside_it(build, shape, make, threads):
    models, (inputs, targets) = [build(seed=seed) for seed in range(7)], _draw(shape, steps=8, count=7, batch=33)
    before = torch.get_num_threads()

    def train(*numbers, ends=()):
        some = [models[number] for number in numbers]
        stacked = StackedNetworks(some, LOSS, optimizer=make, rates=[0.01] * len(some))
        for step, (rows, labels) in enumerate(zip(inputs, targets, strict=True)):
            running = [place for place, number in enumerate(numbers) if step < dict(ends).get(number, len(inputs))]
            own = [numbers[place] for place in running]
            stacked.step(rows[own], labels[own], torch.tensor(running))
        return {number: _weights_of(stacked, place) for place, number in enumerate(numbers)}

    try:
        torch.set_num_threads(threads)
        whole = train(*range(7))
        parts = [train(0, 1), train(2, 3, 4, 5), train(1, 6), train(0, 2, 4), train(3, 5, ends=[(5, 4)])]
    finally:
        torch.set_num_threads(before)
    for part in parts[:-1]:
        assert all(torch.equal(weights, whole[number]) for number, weights in part.items())
    assert torch.equal(parts[-1][3], whole[3])  # alone, since its neighbour has ended
    assert not torch.equal(parts[-1][5], whole[5])


def _weights_of(stacked, replica):
    return torch.cat([tensor[replica].double().flatten() for tensor in stacked.networks.state_dict().values()])


def test_a_replica_that_stopped_may_run_again():
    models = [_mlp(seed).double() for seed in range(3)]
    inputs, targets = _draw((6,), dtype=torch.float64)
    stacked, some = _stacked(models, ADAMW, rates=[0.01] * 3), torch.tensor([1])
    for number, (x, target) in enumerate(zip(inputs, targets, strict=True)):
        if number % 2:
            stacked.step(x, target)
        else:
            stacked.step(x[some], target[some], some)
    for replica, (model, steps) in enumerate(
        zip(models, [slice(1, None, 2), slice(None), slice(1, None, 2)], strict=True)
    ):
        _train_alone(model, ADAMW(_trained(model), lr=0.01), inputs[steps, replica], targets[steps, replica])
    _assert_alike(stacked, models, tolerance=1e-10)


def test_neighbours_share_an_optimiser_and_what_is_not_elementwise_has_one_for_each():
    models = [MLP((6,), 3, hidden=8, bias="none", seed=seed) for seed in range(3)]
    draws = _draw((6,), steps=1)

    def count(make):
        stacked = _stacked([deepcopy(model) for model in models], make)
        stacked.step(draws[0][0], draws[1][0])
        return [(state["first"], state["stop"]) for state in stacked.optimizer_state()]

    assert count(MOMENTUM) == [(0, 1), (1, 3)]
    assert count(Muon) == count(_Sign) == [(0, 1), (1, 2), (2, 3)]


@pytest.mark.parametrize("compiled", [False, True])
def test_nothing_of_a_replica_that_stopped_changes(compiled, compilations):
    stacked = _stacked([_cnn(seed) for seed in range(3)], ADAMW, compile=compiled)
    inputs, targets = _draw((1, 6, 6), steps=6)
    for number in (0, 1):
        stacked.step(inputs[number], targets[number])
    others = torch.tensor([0, 2])
    stacked.step(inputs[2][others], targets[2][others], others)
    before = [tensor[1].clone() for tensor in stacked.state_dict().values()]
    (state,) = (deepcopy(saved["state"]) for saved in stacked.optimizer_state() if saved["first"] == 1)
    for number in range(3, 6):
        stacked.step(inputs[number][others], targets[number][others], others)
    assert all(torch.equal(old, new[1]) for old, new in zip(before, stacked.state_dict().values(), strict=True))
    (after,) = (saved["state"] for saved in stacked.optimizer_state() if saved["first"] == 1)
    for old, new in zip(state["state"].values(), after["state"].values(), strict=True):
        assert all(torch.equal(old[key], new[key]) for key in old)


@pytest.mark.parametrize("make", [MOMENTUM, ADAMW, Adafactor, torch.optim.Adagrad], ids=_name)
def test_a_training_goes_on_from_what_was_saved_to_the_same_bits(make):
    def run(stacked, numbers):
        for number in numbers:
            others = torch.tensor([0, 1] if number > 4 else [0, 1, 2])
            stacked.step(inputs[number][others], targets[number][others], others)

    inputs, targets = _draw((1, 6, 6), steps=12)
    whole = _stacked([_cnn(seed) for seed in range(3)], make)
    run(whole, range(12))
    first = _stacked([_cnn(seed) for seed in range(3)], make)
    run(first, range(8))
    file = io.BytesIO()
    torch.save((first.state_dict(), first.optimizer_state()), file)
    file.seek(0)
    weights, state = torch.load(file, weights_only=True)
    second = _stacked([_cnn(seed + 10) for seed in range(3)], make)
    second.load_state_dict(weights)
    second.load_optimizer_state(state)
    run(second, range(8, 12))
    for wanted, found in zip(whole.state_dict().values(), second.state_dict().values(), strict=True):
        assert torch.equal(wanted, found)


def test_rates_follow_a_schedule():
    models = [_mlp(seed).double() for seed in range(3)]
    inputs, targets = _draw((6,), dtype=torch.float64)
    stacked = _stacked(models, MOMENTUM)
    for epoch in range(4):
        stacked.set_rates([rate * 0.5**epoch for rate in RATES])
        for number in range(5 * epoch, 5 * epoch + 5):
            stacked.step(inputs[number], targets[number])
    for replica, (model, rate) in enumerate(zip(models, RATES, strict=True)):
        optimizer = MOMENTUM(model.parameters(), lr=rate)
        schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.5)
        for epoch in range(4):
            steps = slice(5 * epoch, 5 * epoch + 5)
            _train_alone(model, optimizer, inputs[steps, replica], targets[steps, replica])
            schedule.step()
    _assert_alike(stacked, models, tolerance=1e-10)


def test_gradients_are_clipped_for_each_replica():
    models = [_mlp(seed).double() for seed in range(3)]
    inputs, targets = _draw((6,), dtype=torch.float64)
    inputs[:, 1] *= 100  # of which every gradient is long, of the others some
    _assert_follows(models, MOMENTUM, (inputs, targets), tolerance=1e-10, clip_norm=0.5)


def test_targets_may_be_distributions_and_outputs_one():
    models = [MLP((6,), 1, hidden=8, seed=seed).double() for seed in range(3)]
    inputs, labels = _draw((6,), dtype=torch.float64)
    targets = torch.stack([labels / 2, 1 - labels / 2], dim=-1).double()
    _assert_follows(models, MOMENTUM, (inputs, targets), tolerance=1e-10, loss=Logistic())


def test_the_losses_are_those_before_the_step():
    models = [_mlp(seed) for seed in range(3)]
    inputs, targets = _draw((6,), steps=1)
    losses = _stacked(models, MOMENTUM).step(inputs[0], targets[0])
    wanted = [LOSS(model(x), target).item() for model, x, target in zip(models, inputs[0], targets[0], strict=True)]
    assert losses.tolist() == pytest.approx(wanted, rel=1e-6)


class _Peculiar(nn.Module):
    """A weight that is shared, one that is frozen, one that is of no use, a number, and one without entries."""

    def __init__(self, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.first, self.second, self.unused = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 6)
        self.frozen = nn.Linear(6, 3).requires_grad_(False)
        self.second.weight = self.first.weight
        self.scale = nn.Parameter(torch.tensor(1.5))
        self.empty = nn.Parameter(torch.empty(0))

    def forward(self, inputs):
        return self.scale * self.frozen(self.second(self.first(inputs).relu()).relu())


@pytest.mark.parametrize("make", [MOMENTUM, ADAMW, Adafactor], ids=_name)
def test_shared_frozen_and_unused_weights_are_as_in_one_network(make):
    models = [_Peculiar(seed).double() for seed in range(3)]
    before = deepcopy(models)
    stacked = _assert_follows(models, make, _draw((6,), dtype=torch.float64), tolerance=1e-10)
    assert stacked.finite().tolist() == [True, True, True]
    for replica, model in enumerate(before):
        for layer in ("unused", "frozen"):
            assert torch.equal(stacked.networks.get_submodule(layer).weight[replica], model.get_submodule(layer).weight)


def test_a_batch_norm_without_momentum_averages_over_all_batches():
    models = [_cnn(seed, momentum=None).double() for seed in range(3)]
    draws = _draw((1, 6, 6), dtype=torch.float64)
    stacked = _assert_follows(models, MOMENTUM, draws, tolerance=1e-10)
    assert stacked.networks.get_submodule("1").num_batches_tracked.tolist() == [20, 20, 20]


@pytest.mark.parametrize("build", [_mlp, _cnn])
def test_a_recorded_step_is_the_same_step(build, monkeypatch):
    def run():
        stacked = _stacked([build(seed) for seed in range(3)], MOMENTUM)
        for x, target in zip(*draws, strict=True):
            stacked.step(x, target)
        return stacked.state_dict().values()

    draws = _draw(SHAPES[build])
    plain = run()
    monkeypatch.setattr("noisereg.engine.stacked._RECORD_AT", 3)
    assert all(torch.equal(one, other) for one, other in zip(plain, run(), strict=True))


@pytest.fixture
def compilations(monkeypatch):
    """Let torch.compile trace and count, and run what it traced as it is."""
    torch.compiler.reset()
    counter = CompileCounterWithBackend("aot_eager")
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=counter))
    monkeypatch.setattr(torch._dynamo, "lookup_backend", lambda name: counter)
    return counter


@pytest.mark.parametrize(
    ("build", "make", "rates"),
    [
        (_mlp, MOMENTUM, RATES),
        (_mlp, SGD, [0.02] * 3),
        (_mlp, partial(SGD, momentum=0.9, nesterov=True), [0.02] * 3),
        (_mlp, partial(Adam, amsgrad=True, weight_decay=0.01), [0.01] * 3),
        (_mlp, Adafactor, RATES),
        (_cnn, MOMENTUM, [0.02] * 3),
        (_cnn, ADAMW, [0.01] * 3),
    ],
)
def test_whole_batches_are_compiled_once_and_short_ones_are_not(build, make, rates, compilations):
    models = [build(seed) for seed in range(3)]
    inputs, targets = _draw(SHAPES[build], steps=12)
    sizes = [8, 8, 8, 3] * 3
    stacked = _stacked(models, make, rates=[2 * rate for rate in rates], compile=True, clip_norm=1.0)
    for number, size in enumerate(sizes):
        stacked.set_rates([rate * (2 - number / 12) for rate in rates])
        stacked.step(inputs[number, :, :size], targets[number, :, :size])
    assert compilations.frame_count == 1
    for replica, (model, rate) in enumerate(zip(models, rates, strict=True)):
        optimizer = make(model.parameters(), lr=rate)
        for number, size in enumerate(sizes):
            optimizer.param_groups[0]["lr"] = rate * (2 - number / 12)
            batch = (draw[number : number + 1, replica, :size] for draw in (inputs, targets))
            _train_alone(model, optimizer, *batch, clip_norm=1.0)
    _assert_alike(stacked, models, tolerance=1e-5)


@pytest.mark.slow
def test_a_compiled_training_goes_on_from_what_was_saved_to_the_same_bits(compilations):
    def run(stacked, numbers):
        for number in numbers:
            stacked.step(inputs[number], targets[number])

    def make_stacked(seed):
        return _stacked([_mlp(seed + number) for number in range(3)], ADAMW, rates=[0.01] * 3, compile=True)

    inputs, targets = _draw((6,), steps=9)
    whole, first, second = make_stacked(0), make_stacked(0), make_stacked(10)
    run(whole, range(9))
    run(first, range(5))
    second.load_state_dict(first.state_dict())
    second.load_optimizer_state(deepcopy(first.optimizer_state()))
    second.num_steps = first.num_steps
    run(first, range(5, 7))  # the two share nothing
    run(second, range(5, 9))
    for wanted, found in zip(whole.state_dict().values(), second.state_dict().values(), strict=True):
        assert torch.equal(wanted, found)


def test_a_compiled_step_follows_rates_layouts_state_and_precision(compilations):
    models = [_mlp(seed) for seed in range(3)]
    inputs, targets = _draw((6,), steps=16)
    stacked = _stacked(models, MOMENTUM, rates=[0.02] * 3, compile=True)
    for number, (x, target) in enumerate(zip(inputs, targets, strict=True)):
        if number == 5:
            stacked.set_rates([0.05] * 3)
        if number == 8:
            stacked.load_optimizer_state(deepcopy(stacked.optimizer_state()))
        if number == 11:
            stacked = stacked.double()
        batch = x.mT.contiguous().mT if number in {3, 10} else x
        stacked.step(batch.double() if number >= 11 else batch, target)
    for replica, model in enumerate(models):
        optimizer = MOMENTUM(model.double().parameters(), lr=0.02)
        for number in range(16):
            optimizer.param_groups[0]["lr"] = 0.05 if number >= 5 else 0.02
            _train_alone(model, optimizer, inputs[number, replica][None].double(), targets[number, replica][None])
    _assert_alike(stacked, models, tolerance=1e-5)


def test_what_surrounds_a_compiled_step_is_done_once_for_batches_that_are_alike(compilations, monkeypatch):
    stacked = _stacked([_mlp(seed) for seed in range(3)], MOMENTUM, rates=[0.02] * 3, compile=True)
    inputs, targets = _draw((6,), steps=6)
    prepared = []
    monkeypatch.setattr(stacked._compiled_step, "_prepare", lambda *batch: prepared.append(0) or find(*batch))
    find = stacked._find_arguments
    for number in range(6):
        if number == 4:
            stacked.set_rates([0.01] * 3)
        stacked.step(inputs[number], targets[number])
    assert len(prepared) == 2


def test_what_was_compiled_too_often_is_trained_all_the_same(compilations):
    with torch._dynamo.config.patch(recompile_limit=1):
        for count in (1, 2):
            models, rates = [_mlp(seed) for seed in range(count)], [0.02] * count
            _assert_follows(models, MOMENTUM, _draw((6,), steps=5, count=count), rates=rates, compile=True)


def test_it_may_be_moved_to_another_precision_between_two_steps():
    models = [_mlp(seed) for seed in range(3)]
    inputs, targets = _draw((6,), steps=4)
    stacked = _stacked(models, MOMENTUM)
    for number in range(4):
        stacked = stacked.double() if number == 2 else stacked
        stacked.step(inputs[number].double() if number >= 2 else inputs[number], targets[number])
    for replica, (model, rate) in enumerate(zip(models, RATES, strict=True)):
        _train_alone(
            model.double(), MOMENTUM(model.parameters(), lr=rate), inputs[:, replica].double(), targets[:, replica]
        )
    _assert_alike(stacked.double(), models, tolerance=1e-5)
    assert stacked.networks.output.weight.dtype == torch.float64


def test_finite_finds_the_replicas_with_a_weight_that_is_not():
    stacked = _stacked([_mlp(seed) for seed in range(3)], MOMENTUM)
    stacked.networks.output.weight.data[0, 0, 0] = torch.nan
    stacked.networks.linear1.bias.data[2, 0] = -torch.inf
    assert stacked.finite().tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1.0, 2.0),
        ("mean", "max"),
        ([0, 2, 1], [1, 2, 0]),
        ({"axis": 0}, {"axis": 1}),
        (np.zeros(3), np.ones(3)),
        ([torch.zeros(3)], [torch.ones(3)]),
    ],
)
def test_networks_that_keep_other_values_are_no_stack(one, other):
    models = [_mlp(0), _mlp(1), _mlp(2)]
    for model, value in zip(models, (one, deepcopy(one), other), strict=True):
        model.relu1.kept, model.relu1.function = value, lambda x: x  # of what cannot be compared nothing is said
    assert describe_difference(models[:2]) == ""
    assert describe_difference(models) == "number 2 has another kept in relu1 than number 0, which forward may read"
    with pytest.raises(ValueError, match=r"differ in the values of their weights only, but number 2 has another kept"):
        _stacked(models, SGD, rates=[0.1] * 3)


def test_what_cannot_be_trained_is_refused():
    models = [_mlp(0), _mlp(1)]
    with pytest.raises(ValueError, match="models must hold at least one network"):
        _stacked([], SGD, rates=[])
    with pytest.raises(ValueError, match="number 1 is built otherwise than 0"):
        _stacked([_mlp(), MLP((6,), 3, hidden=[8, 6])], SGD, rates=[0.1, 0.1])
    with pytest.raises(ValueError, match="number 1 is built otherwise than 0"):
        _stacked([_mlp(), _mlp().requires_grad_(False)], SGD, rates=[0.1, 0.1])
    with pytest.raises(ValueError, match="rates must hold a number for each of the 2 replicas, got 3"):
        _stacked(models, SGD)
    with pytest.raises(ValueError, match="clip_norm must be above 0 or None, got 0"):
        _stacked(models, SGD, rates=[0.1, 0.1], clip_norm=0)
    with pytest.raises(TypeError, match="got LBFGS, which needs a closure"):
        _stacked(models, torch.optim.LBFGS, rates=[0.1, 0.1])
    with pytest.raises(TypeError, match="one group of parameters with a learning rate"):
        StackedNetworks(
            models,
            LOSS,
            optimizer=lambda weights: SGD([{"params": []}, *({"params": w} for w in weights)]),
            rates=[1, 1],
        )
    stacked = _stacked(models, SGD, rates=[0.1, 0.1])
    with pytest.raises(ValueError, match=r"running must hold ascending numbers of the 2 replicas, got \[1, 0\]"):
        stacked.step(torch.zeros(2, 4, 6), torch.zeros(2, 4, dtype=torch.int64), torch.tensor([1, 0]))
    with pytest.raises(ValueError, match="state must be that of 2 replicas"):
        stacked.load_optimizer_state(_stacked([_mlp()], SGD, rates=[0.1]).optimizer_state())


@pytest.mark.parametrize("build", [_mlp, _cnn, partial(_cnn, momentum=None), _resnet, _Peculiar])
def test_nothing_keeps_these_from_being_stacked(build):
    shape = SHAPES.get(build, (6,) if build is _Peculiar else (1, 6, 6))
    model = build()
    before = deepcopy(model.state_dict())
    assert why_not(model, _draw(shape)[0][0, 0]) is None
    assert all(torch.equal(old, new) for old, new in zip(before.values(), model.state_dict().values(), strict=True))


class _Calls(nn.Linear):
    """A layer of six features, with a forward function of its own."""

    def __init__(self, function):
        super().__init__(6, 6)
        self.function, self.calls = function, 0

    def forward(self, inputs):
        return self.function(self, super().forward(inputs))

    def count(self):
        self.calls += 1
        return self.calls


class _Draws(nn.Linear):
    """A layer that seldom leaves its input as it is."""

    def __init__(self, draw):
        super().__init__(6, 6)
        self.draw = draw

    def forward(self, inputs):
        return inputs if self.draw() < 1e-9 else super().forward(inputs)


def _with_tensor():
    model = nn.Linear(6, 3)
    model.mask = torch.ones(3)
    return model


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (nn.Sequential(nn.Linear(6, 3), nn.Dropout(0.1)), "its layer 1 is a Dropout, which draws random numbers"),
        (_Calls(lambda self, x: dropout(x)), "it draws random numbers, as dropout does"),
        (_Calls(lambda self, x: x if x.sum() > 0 else -x), "control flow"),
        (_Calls(lambda self, x: x * x.max().item()), "control flow, .item"),
        (_Calls(lambda self, x: x * self.count()), "its attribute calls in _Calls changes from call to"),
        (_Calls(lambda self, x: x * next(CALLS)), "its losses are others when it is stacked"),
        (
            _Calls(lambda self, x: x if self.count() < 1000 else -x),
            "its attribute calls in _Calls changes from call to",
        ),
        (_Draws(lambda: np.random.random()), "numpy's random generator changes from"),  # noqa: NPY002, PLW0108 - shared
        (_Draws(lambda: random.random()), "Python's random generator changes from call to call"),  # noqa: PLW0108
        (_Draws(random.Random(0).random), "its attribute draw in _Draws changes from call to call"),
        (_Draws(np.random.default_rng(0).random), "its attribute draw in _Draws changes from call to call"),
        (nn.LazyLinear(3), "its weight is lazy"),
        (nn.Linear(6, 3, dtype=torch.complex64), "its parameter weight is complex64, not real"),
        (_with_tensor(), "its tensor mask in Linear is neither a parameter nor a buffer"),
        (nn.Linear(6, 3).requires_grad_(False), "it has no parameter that is trained"),
        (nn.Sequential(nn.Linear(6, 3), nn.RReLU()), "torch.func.vmap cannot map it: .*rrelu"),
        (nn.Linear(7, 3), r"it fails on inputs of shape \(8, 6\)"),
    ],
)
def test_why_not_names_what_keeps_a_network_from_being_stacked(model, reason):
    assert re.search(reason, why_not(model, _draw((6,))[0][0, 0]))
