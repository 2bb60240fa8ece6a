import math
from itertools import pairwise

import pytest
import torch
from engine.plain import (
    IN_DOUBLE,
    IN_SINGLE,
    LOSSES,
    VARIANTS,
    assert_follows,
    bits,
    make_draws,
    make_draws_of_rules,
    make_networks,
    make_neurons,
    name,
    run,
)

from noisereg.engine import Fused, Stack, kernels
from noisereg.engine.fused import _guided_cuts
from noisereg.engine.sgd import Sgd
from noisereg.losses import CrossEntropy, Logistic, SquaredError

SPARSE = {"features": 40}


class OtherLogistic(Logistic):
    """It may differ from its parent in anything."""


@pytest.mark.parametrize(
    ("loss", "num_outputs"),
    [
        *zip(LOSSES, (1, 1, 1, 3, 3, 3), strict=True),  # a kernel for each takes seconds to compile
        *(pytest.param(*pair, marks=pytest.mark.slow) for pair in zip(LOSSES, (3, 3, 3, 1, 1, 1), strict=True)),
    ],
    ids=name,
)
def test_networks_follow_autograd_sample_by_sample(loss, num_outputs):
    assert_follows(Fused(loss), make_networks(num_outputs), loss, make_draws(num_outputs))


@pytest.mark.parametrize(("loss", "num_outputs"), [(Logistic(), 1), (CrossEntropy(), 3)], ids=name)
def test_networks_in_single_precision_follow_autograd(loss, num_outputs):
    assert_follows(Fused(loss), make_networks(num_outputs), loss, make_draws(num_outputs), tolerances=IN_SINGLE)


@pytest.mark.parametrize(("loss", "bias"), [*((loss, "same") for loss in LOSSES), (Logistic(), "none")], ids=name)
def test_neurons_follow_autograd(loss, bias):
    models, draws = make_neurons(bias=bias), make_draws()
    assert_follows(Fused(loss), models, loss, draws, tolerances=IN_DOUBLE | IN_SINGLE)


@pytest.mark.parametrize(("num_outputs", "settings"), VARIANTS, ids=name)
def test_every_variant_of_the_network_follows_autograd(num_outputs, settings):
    models = make_networks(num_outputs, **settings)
    draws = make_draws(num_outputs, features=settings.get("features", 6))
    assert_follows(Fused(Logistic()), models, Logistic(), draws)


@pytest.mark.parametrize("num_outputs", [1, 3])
@pytest.mark.parametrize("expected", [False, True])
def test_the_targets_of_every_rule_are_followed(num_outputs, expected):
    models, draws = make_networks(num_outputs, count=5), make_draws_of_rules(num_outputs, expected=expected)
    assert_follows(Fused(Logistic()), models, Logistic(), draws)


@pytest.mark.parametrize("num_outputs", [1, 3])
def test_labels_are_followed_as_the_distributions_that_are_certain_of_them(num_outputs):
    models, draws = make_networks(num_outputs, count=5), make_draws_of_rules(num_outputs, expected=False)
    labels = draws._replace(targets=draws.targets.argmax(dim=2))
    assert bits(run(Fused(Logistic()), models, labels)) == bits(run(Fused(Logistic()), models, draws))


@pytest.mark.parametrize("num_outputs", [1, 3])
def test_mostly_empty_inputs_follow_autograd(num_outputs):
    models = make_networks(num_outputs, **SPARSE)
    draws = make_draws(num_outputs, density=0.2, **SPARSE)
    assert draws.inputs.count_nonzero() < draws.inputs.numel() / 4
    assert_follows(Fused(Logistic()), models, Logistic(), draws)


@pytest.mark.parametrize(("filled", "sparse"), [(3, True), (4, False)])
def test_inputs_are_visited_where_they_are_not_zero_if_that_is_below_a_third(monkeypatch, filled, sparse):
    taken = []
    monkeypatch.setattr(kernels, "compile_network", lambda *a, sparse, **k: taken.append(sparse) or (lambda *a: None))
    inputs = torch.zeros(2, 6)
    inputs.view(-1)[:filled] = 1.0
    run(Fused(Logistic()), make_networks(bias="none"), make_draws()._replace(inputs=inputs))
    assert taken == [sparse]


def test_new_inputs_are_seen_in_the_next_call():
    engine, models = Fused(Logistic()), make_networks(**SPARSE)
    first = make_draws(density=0.2, **SPARSE)
    second = first._replace(inputs=first.inputs.flip(0))
    run(engine, models, first)
    assert bits(run(engine, models, second)) == bits(run(Fused(Logistic()), models, second))


KINDS = {
    "network": (lambda count: make_networks(count=count), {}),
    "sparse": (lambda count: make_networks(count=count, **SPARSE), {"density": 0.2, **SPARSE}),
    "neuron": (lambda count: make_neurons(count=count), {}),
}


@pytest.fixture(params=KINDS, scope="module")
def many(request):
    """201 replicas, which no number of threads divides, each with its own learning rate, that of the first 0."""
    make, settings = KINDS[request.param]
    return make(201), make_draws(count=201, **settings)._replace(rates=torch.linspace(0.0, 0.1, 201))


@pytest.mark.parametrize("threads", [2, 3])
def test_several_threads_give_the_bits_of_one(many, threads):
    assert bits(run(Fused(Logistic(), threads=threads), *many)) == bits(run(Fused(Logistic()), *many))


@pytest.mark.parametrize("threads", [1, 2, 3, 64])
@pytest.mark.parametrize("count", [1, 2, 20, 201, 2000])
def test_the_parts_that_threads_take_are_all_replicas_and_the_last_ones_are_small(count, threads):
    sizes = [stop - first for first, stop in pairwise(_guided_cuts(count, threads))]
    assert sum(sizes) == count
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] == (count if threads == 1 else 1)
    assert sizes[0] <= math.ceil(count / threads)


def test_a_replica_gives_the_same_bits_alone_and_among_two_hundred_others(many):
    models, draws = many
    together = run(Fused(Logistic()), models, draws)
    for replica in (0, 1, 77, 200):
        mine = slice(replica, replica + 1)
        assert bits(run(Fused(Logistic()), models[mine], draws.of(mine))) == bits(together, mine)


@pytest.mark.parametrize("lengths", [[4] * 75, [8] * 37 + [4], [4, 296], [148, 100, 52]], ids=lambda x: str(x[0]))
def test_chunks_of_whole_passes_give_the_bits_of_one_call(many, lengths):
    models, draws = many
    whole, stack, engine = run(Fused(Logistic()), models, draws), Stack.of(models), Fused(Logistic())
    inputs = stack.prepare(draws.inputs)
    for index, targets in zip(draws.index.split(lengths, dim=1), draws.targets.split(lengths, dim=1), strict=True):
        engine(stack, inputs, index=index, targets=targets, rates=draws.rates)
    assert bits(stack) == bits(whole)


def test_a_learning_rate_of_zero_moves_no_bit(many):
    models, draws = many
    after, before = run(Fused(Logistic()), models, draws), Stack.of(models)
    assert bits(after, slice(0, 1)) == bits(before, slice(0, 1))
    assert bits(after, slice(1, 2)) != bits(before, slice(1, 2))


def test_a_diverging_replica_leaves_the_others_as_they_are_without_it(many):
    models, draws = many
    calm = run(Fused(Logistic()), models, draws)
    rates = draws.rates.index_fill(0, torch.tensor(5), 1e38)
    wild = run(Fused(Logistic()), models, draws._replace(rates=rates))
    assert wild.finite().logical_not().nonzero().flatten().tolist() == [5]
    for others in (slice(0, 5), slice(6, None)):
        assert bits(wild, others) == bits(calm, others)


@pytest.mark.parametrize("kind", ["network", "sparse"])
def test_a_nan_goes_through_the_network_as_in_autograd(kind):
    make, settings = KINDS[kind]
    models = make(2)
    with torch.no_grad():
        models[1].hidden.weight[3, 0] = torch.nan
    stack = run(Fused(Logistic()), models, make_draws(**settings))
    assert stack.output.isnan().flatten(1).all(dim=1).tolist() == [False, True]
    assert stack.finite().tolist() == [True, False]


def test_a_single_step_is_a_step():
    assert_follows(Fused(Logistic()), make_networks(), Logistic(), make_draws(steps=1))


@pytest.mark.parametrize("num_outputs", [1, 3])
def test_one_sample_of_one_class_is_learned_by_one_replica(num_outputs):
    models, draws = make_networks(num_outputs, count=1), make_draws(num_outputs, count=1)
    draws.index.fill_(0)
    draws.targets[:] = torch.eye(max(num_outputs, 2))[0]
    single = draws._replace(inputs=draws.inputs[:1])
    assert_follows(Fused(Logistic()), models, Logistic(), single)


def test_a_loss_that_was_never_compiled_is_refused():
    with pytest.raises(ValueError, match="the fused engine does not know OtherLogistic: take the blocked one"):
        Fused(OtherLogistic())


@pytest.mark.parametrize("kind", KINDS)
def test_what_it_is_given_is_left_as_it_is(kind):
    make, settings = KINDS[kind]
    draws = make_draws(**settings)
    before = [tensor.clone() for tensor in draws]
    run(Fused(Logistic()), make(2), draws)
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(draws, before, strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_compiled_ahead_serves_the_calls_to_come_and_moves_no_network(monkeypatch, kind):
    make, settings = KINDS[kind]
    draws, models = make_draws(**settings), make(2)
    stack, taken = Stack.of(models), []
    before = [tensor.detach().clone() for tensor in stack.parameters()]
    for kind_of in ("compile_network", "compile_neuron"):
        kept = getattr(kernels, kind_of)
        monkeypatch.setattr(kernels, kind_of, lambda *a, kept=kept, **k: taken.append(kept(*a, **k)) or taken[-1])
    engine = Fused(Logistic())
    engine.prepare(stack, stack.prepare(draws.inputs[:10])).join()
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(stack.parameters(), before, strict=True))
    (ahead,) = taken
    compiled = len(ahead.signatures)
    run(engine, models, draws)
    assert taken == [ahead, ahead] and len(ahead.signatures) == compiled >= 1


HEAVY = Sgd(momentum=0.9, weight_decay=0.01)
FIFTY_STEPS = {torch.float64: 1e-10, torch.float32: 1e-5}


def assert_fifty_steps(loss, models, *, batch_size, sgd, num_outputs=1, **settings):
    """Compare 49 steps and a short one; a third of the replicas' draws are of other rates, all of other targets."""
    draws = make_draws(num_outputs, count=len(models), steps=49 * batch_size + 1, **settings)
    if isinstance(loss, SquaredError):  # at these rates it grows with momentum without end, and its rounding with it
        draws = draws._replace(rates=draws.rates / 10)
    how = {"batch_size": batch_size, "sgd": sgd}
    assert_follows(Fused(loss, **how), models, loss, draws, tolerances=FIFTY_STEPS, **how)


NESTEROV, DECAY = Sgd(momentum=0.9, weight_decay=0.01, nesterov=True), Sgd(weight_decay=0.1)


@pytest.mark.parametrize(
    ("batch_size", "features", "sgd"),
    [
        *[(1, 6, HEAVY), (1, 7, NESTEROV), (5, 6, NESTEROV)],
        *[pytest.param(*more, marks=pytest.mark.slow) for more in ((5, 6, HEAVY), (1, 6, DECAY), (5, 6, DECAY))],
    ],
)
def test_networks_follow_the_sgd_of_torch_with_momentum_and_decay(batch_size, features, sgd):
    models = make_networks(count=3, features=features)
    assert_fifty_steps(Logistic(), models, batch_size=batch_size, sgd=sgd, features=features)


@pytest.mark.parametrize(("batch_size", "hidden"), [(2, 8), (128, 8), (7, 16)])
def test_networks_follow_the_mean_gradient_of_a_batch(batch_size, hidden):
    assert_fifty_steps(Logistic(), make_networks(count=3, hidden=hidden), batch_size=batch_size, sgd=Sgd())


@pytest.mark.parametrize(("batch_size", "features", "sgd"), [(3, 6, NESTEROV), (9, 7, HEAVY)])
def test_networks_whose_rows_are_whole_registers_follow_the_sgd_of_torch(batch_size, features, sgd):
    models = make_networks(count=3, features=features, hidden=16)
    assert_fifty_steps(Logistic(), models, batch_size=batch_size, sgd=sgd, features=features)


@pytest.mark.parametrize("sgd", [HEAVY, Sgd()])
@pytest.mark.parametrize("batch_size", [1, 16])
def test_neurons_follow_the_sgd_of_torch(batch_size, sgd):
    assert_fifty_steps(Logistic(), make_neurons(count=3), batch_size=batch_size, sgd=sgd)


@pytest.mark.slow  # some seconds to compile each
@pytest.mark.parametrize("batch_size", [1, 16])
@pytest.mark.parametrize("num_outputs", [1, 3])
@pytest.mark.parametrize("loss", LOSSES, ids=name)
def test_every_loss_is_followed_with_momentum_and_decay(loss, num_outputs, batch_size):
    models = make_networks(num_outputs, count=3)
    assert_fifty_steps(loss, models, batch_size=batch_size, sgd=HEAVY, num_outputs=num_outputs)


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [1, 16])
@pytest.mark.parametrize(("num_outputs", "settings"), VARIANTS, ids=name)
def test_every_variant_of_the_network_is_followed_with_momentum_and_decay(num_outputs, settings, batch_size):
    features = settings.get("features", 6)
    models = make_networks(num_outputs, **settings)
    assert_fifty_steps(Logistic(), models, batch_size=batch_size, sgd=HEAVY, num_outputs=num_outputs, features=features)


@pytest.mark.parametrize(
    ("batch_size", "hidden", "lengths"),
    [(1, 8, [4] * 12 + [2]), (1, 8, [20, 30]), (5, 8, [100, 150]), (5, 8, [5] * 50), (5, 16, [5] * 50)],
)
def test_momentum_goes_on_from_chunk_to_chunk_with_the_bits_of_one_call(batch_size, hidden, lengths):
    models, draws = make_networks(count=5, hidden=hidden), make_draws(count=5, steps=50 * batch_size)
    engine = Fused(Logistic(), batch_size=batch_size, sgd=HEAVY, threads=2)
    stack = Stack.of(models)
    inputs, momenta = stack.prepare(draws.inputs), engine.start(stack)
    for index, targets in zip(draws.index.split(lengths, dim=1), draws.targets.split(lengths, dim=1), strict=True):
        engine(stack, inputs, index=index, targets=targets, rates=draws.rates, momenta=momenta)
    whole = run(Fused(Logistic(), batch_size=batch_size, sgd=HEAVY), models, draws)
    assert bits(stack) == bits(whole)
    for mine in (slice(0, 1), slice(3, 4)):
        alone = run(Fused(Logistic(), batch_size=batch_size, sgd=HEAVY), models[mine], draws.of(mine))
        assert bits(alone) == bits(whole, mine)


@pytest.mark.parametrize("batch_size", [1, 5])
def test_a_learning_rate_of_zero_moves_no_bit_with_momentum_and_decay(batch_size):
    models = make_networks(count=5)
    draws = make_draws(count=5, steps=50)._replace(rates=torch.linspace(0.0, 0.1, 5))
    after = run(Fused(Logistic(), batch_size=batch_size, sgd=HEAVY), models, draws)
    assert bits(after, slice(0, 1)) == bits(Stack.of(models), slice(0, 1)) != bits(after, slice(1, 2))


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")  # of the coefficients of several steps
@pytest.mark.parametrize("batch_size", [1, 5])
def test_a_replica_that_overflows_with_momentum_and_decay_leaves_the_others_as_they_are_without_it(batch_size):
    models, draws = make_networks(count=3), make_draws(count=3, steps=50)
    engine = Fused(Logistic(), batch_size=batch_size, sgd=HEAVY)
    rates = draws.rates.index_fill(0, torch.tensor(1), 1e38)
    calm, wild = run(engine, models, draws), run(engine, models, draws._replace(rates=rates))
    assert wild.finite().tolist() == [True, False, True]
    for others in (slice(0, 1), slice(2, 3)):
        assert bits(wild, others) == bits(calm, others)


def test_plain_sgd_needs_no_momenta():
    stack = Stack.of(make_networks())
    assert Fused(Logistic(), batch_size=4).start(stack) is None
    momenta = Fused(Logistic(), sgd=HEAVY).start(stack)
    assert [(m.shape, m.count_nonzero()) for m in momenta.parameters()] == [(w.shape, 0) for w in stack.parameters()]
