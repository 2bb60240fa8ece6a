"""Each of the networks that are trained together against the same network in a plain loop of torch."""

import io
from copy import deepcopy
from functools import partial

import jaxtyping
import pytest
import torch
from engine.small_networks import SHAPES, Peculiar, cnn, draw, mlp, resnet
from torch import nn
from torch._dynamo.testing import CompileCounterWithBackend
from torch.optim import SGD, Adafactor, Adam, AdamW, Muon

from noisereg.engine.stacked import StackedNetworks
from noisereg.losses import CrossEntropy, Logistic
from noisereg.models import MLP

LOSS = CrossEntropy()
MOMENTUM = partial(SGD, momentum=0.9, weight_decay=1e-3)
ADAMW = partial(AdamW, weight_decay=0.1)
RATES = [0.05, 0.02, 0.02]


@pytest.fixture(autouse=True)
def _unchecked():
    """Leave annotations unchecked: the checks take longer than the steps, and torch.compile cannot see through them."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


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
@pytest.mark.parametrize("build", [mlp, cnn])
def test_each_network_is_trained_as_if_it_were_alone(build, make, dtype, tolerance):
    models = [build(seed).to(dtype) for seed in range(3)]
    rates = RATES if make is MOMENTUM else [1e-3, 2e-3, 2e-3]
    _assert_follows(models, make, draw(SHAPES[build], dtype=dtype), tolerance=tolerance, rates=rates)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
@pytest.mark.parametrize("make", [MOMENTUM, partial(ADAMW, eps=1e-3)])
def test_so_is_a_deep_one(make, dtype, tolerance):
    """With small rates, as rounding grows; with its usual eps AdamW makes the most of small gradients."""
    models = [resnet(seed).to(dtype) for seed in range(2)]
    _assert_follows(models, make, draw((3, 8, 8), count=2, dtype=dtype), tolerance=tolerance, rates=[1e-5, 2e-5])


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
    inputs, targets = draw((6,), dtype=torch.float64)
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


def _colours(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        *(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 5, 3), nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(5), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(5, 3)),
    )


_OF_ANY_NUMBER = {
    "mlp": (partial(MLP, (13,), 3, hidden=[37, 5]), (13,)),
    "convolutions": (_convolutions, (1, 12, 12)),
    "batch norm of vectors": (partial(MLP, (13,), 3, hidden=[37, 5], batch_norm=True), (13,)),
    "batch norm of 16 and 48": (partial(MLP, (13,), 3, hidden=[48, 16], batch_norm=True), (13,)),
    "colours": (_colours, (3, 7, 7)),
}
_MAKES = [
    *((MOMENTUM, 1), (MOMENTUM, 2), (partial(SGD, nesterov=True, momentum=0.9), 1)),
    *((Adam, 1), (partial(ADAMW, amsgrad=True), 1), (torch.optim.RMSprop, 1)),
]


@pytest.mark.parametrize(
    ("kind", "make", "threads"),
    [(kind, *how) for kind in _OF_ANY_NUMBER for how in (_MAKES if kind in ("mlp", "convolutions") else _MAKES[:1])],
    ids=lambda value: value if isinstance(value, str) else str(value) if isinstance(value, int) else _name(value),
)
def test_a_network_comes_to_the_same_bits_however_many_are_beside_it(kind, make, threads):
    build, shape = _OF_ANY_NUMBER[kind]
    models, (inputs, targets) = [build(seed=seed) for seed in range(7)], draw(shape, steps=8, count=7, batch=33)
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
    models = [mlp(seed).double() for seed in range(3)]
    inputs, targets = draw((6,), dtype=torch.float64)
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
    draws = draw((6,), steps=1)

    def count(make):
        stacked = _stacked([deepcopy(model) for model in models], make)
        stacked.step(draws[0][0], draws[1][0])
        return [(state["first"], state["stop"]) for state in stacked.optimizer_state()]

    assert count(MOMENTUM) == [(0, 1), (1, 3)]
    assert count(Muon) == count(_Sign) == [(0, 1), (1, 2), (2, 3)]


@pytest.mark.parametrize("compiled", [False, True])
def test_nothing_of_a_replica_that_stopped_changes(compiled, compilations):
    stacked = _stacked([cnn(seed) for seed in range(3)], ADAMW, compile=compiled)
    inputs, targets = draw((1, 6, 6), steps=6)
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

    inputs, targets = draw((1, 6, 6), steps=12)
    whole = _stacked([cnn(seed) for seed in range(3)], make)
    run(whole, range(12))
    first = _stacked([cnn(seed) for seed in range(3)], make)
    run(first, range(8))
    file = io.BytesIO()
    torch.save((first.state_dict(), first.optimizer_state()), file)
    file.seek(0)
    weights, state = torch.load(file, weights_only=True)
    second = _stacked([cnn(seed + 10) for seed in range(3)], make)
    second.load_state_dict(weights)
    second.load_optimizer_state(state)
    run(second, range(8, 12))
    for wanted, found in zip(whole.state_dict().values(), second.state_dict().values(), strict=True):
        assert torch.equal(wanted, found)


def test_rates_follow_a_schedule():
    models = [mlp(seed).double() for seed in range(3)]
    inputs, targets = draw((6,), dtype=torch.float64)
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
    models = [mlp(seed).double() for seed in range(3)]
    inputs, targets = draw((6,), dtype=torch.float64)
    inputs[:, 1] *= 100  # of which every gradient is long, of the others some
    _assert_follows(models, MOMENTUM, (inputs, targets), tolerance=1e-10, clip_norm=0.5)


def test_targets_may_be_distributions_and_outputs_one():
    models = [MLP((6,), 1, hidden=8, seed=seed).double() for seed in range(3)]
    inputs, labels = draw((6,), dtype=torch.float64)
    targets = torch.stack([labels / 2, 1 - labels / 2], dim=-1).double()
    _assert_follows(models, MOMENTUM, (inputs, targets), tolerance=1e-10, loss=Logistic())


def test_the_losses_are_those_before_the_step():
    models = [mlp(seed) for seed in range(3)]
    inputs, targets = draw((6,), steps=1)
    losses = _stacked(models, MOMENTUM).step(inputs[0], targets[0])
    wanted = [LOSS(model(x), target).item() for model, x, target in zip(models, inputs[0], targets[0], strict=True)]
    assert losses.tolist() == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("make", [MOMENTUM, ADAMW, Adafactor], ids=_name)
def test_shared_frozen_and_unused_weights_are_as_in_one_network(make):
    models = [Peculiar(seed).double() for seed in range(3)]
    before = deepcopy(models)
    stacked = _assert_follows(models, make, draw((6,), dtype=torch.float64), tolerance=1e-10)
    assert stacked.finite().tolist() == [True, True, True]
    for replica, model in enumerate(before):
        for layer in ("unused", "frozen"):
            assert torch.equal(stacked.networks.get_submodule(layer).weight[replica], model.get_submodule(layer).weight)


def test_a_batch_norm_without_momentum_averages_over_all_batches():
    models = [cnn(seed, momentum=None).double() for seed in range(3)]
    draws = draw((1, 6, 6), dtype=torch.float64)
    stacked = _assert_follows(models, MOMENTUM, draws, tolerance=1e-10)
    assert stacked.networks.get_submodule("1").num_batches_tracked.tolist() == [20, 20, 20]


@pytest.mark.parametrize("build", [mlp, cnn])
def test_a_recorded_step_is_the_same_step(build, monkeypatch):
    def run():
        stacked = _stacked([build(seed) for seed in range(3)], MOMENTUM)
        for x, target in zip(*draws, strict=True):
            stacked.step(x, target)
        return stacked.state_dict().values()

    draws = draw(SHAPES[build])
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
        (mlp, MOMENTUM, RATES),
        (mlp, SGD, [0.02] * 3),
        (mlp, partial(SGD, momentum=0.9, nesterov=True), [0.02] * 3),
        (mlp, partial(Adam, amsgrad=True, weight_decay=0.01), [0.01] * 3),
        (mlp, Adafactor, RATES),
        (cnn, MOMENTUM, [0.02] * 3),
        (cnn, ADAMW, [0.01] * 3),
    ],
)
def test_whole_batches_are_compiled_once_and_short_ones_are_not(build, make, rates, compilations):
    models = [build(seed) for seed in range(3)]
    inputs, targets = draw(SHAPES[build], steps=12)
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
        return _stacked([mlp(seed + number) for number in range(3)], ADAMW, rates=[0.01] * 3, compile=True)

    inputs, targets = draw((6,), steps=9)
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
    models = [mlp(seed) for seed in range(3)]
    inputs, targets = draw((6,), steps=16)
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
    stacked = _stacked([mlp(seed) for seed in range(3)], MOMENTUM, rates=[0.02] * 3, compile=True)
    inputs, targets = draw((6,), steps=6)
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
            models, rates = [mlp(seed) for seed in range(count)], [0.02] * count
            _assert_follows(models, MOMENTUM, draw((6,), steps=5, count=count), rates=rates, compile=True)


def test_it_may_be_moved_to_another_precision_between_two_steps():
    models = [mlp(seed) for seed in range(3)]
    inputs, targets = draw((6,), steps=4)
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
    stacked = _stacked([mlp(seed) for seed in range(3)], MOMENTUM)
    stacked.networks.output.weight.data[0, 0, 0] = torch.nan
    stacked.networks.linear1.bias.data[2, 0] = -torch.inf
    assert stacked.finite().tolist() == [False, True, False]


def test_what_cannot_be_trained_is_refused():
    models = [mlp(0), mlp(1)]
    with pytest.raises(ValueError, match="models must hold at least one network"):
        _stacked([], SGD, rates=[])
    with pytest.raises(ValueError, match="number 1 is built otherwise than 0"):
        _stacked([mlp(), MLP((6,), 3, hidden=[8, 6])], SGD, rates=[0.1, 0.1])
    with pytest.raises(ValueError, match="differ in the values of their weights only, but number 1 is built otherwise"):
        _stacked([mlp(), mlp().requires_grad_(False)], SGD, rates=[0.1, 0.1])
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
        stacked.load_optimizer_state(_stacked([mlp()], SGD, rates=[0.1]).optimizer_state())
