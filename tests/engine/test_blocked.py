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
from torch import Tensor

from noisereg.engine import Blocked, Stack
from noisereg.losses import Logistic, Loss

MAKERS = pytest.mark.parametrize("make", [make_networks, make_neurons])


class CauchyError(Loss):
    """A loss of a user's own, with no formula for its slope."""

    def per_class(self, logits: Tensor) -> Tensor:
        both = torch.cat([-logits, logits], dim=1) if logits.shape[1] == 1 else logits
        return (both - 1).square().log1p()


@pytest.mark.parametrize("num_outputs", [1, 3])
@pytest.mark.parametrize("loss", [*LOSSES, CauchyError()], ids=name)
def test_networks_follow_autograd_sample_by_sample(loss, num_outputs):
    models, draws = make_networks(num_outputs), make_draws(num_outputs)
    assert_follows(Blocked(loss), models, loss, draws, tolerances=IN_DOUBLE | IN_SINGLE)


@pytest.mark.parametrize(
    ("loss", "bias"), [*((loss, "same") for loss in [*LOSSES, CauchyError()]), (Logistic(), "none")], ids=name
)
def test_neurons_follow_autograd(loss, bias):
    models, draws = make_neurons(bias=bias), make_draws()
    assert_follows(Blocked(loss), models, loss, draws, tolerances=IN_DOUBLE | IN_SINGLE)


@pytest.mark.parametrize("batch_size", [1, 32])
@pytest.mark.parametrize(("num_outputs", "settings"), VARIANTS, ids=name)
def test_every_variant_of_the_network_follows_autograd(num_outputs, settings, batch_size):
    models = make_networks(num_outputs, **settings)
    draws = make_draws(num_outputs, features=settings.get("features", 6))
    engine = Blocked(Logistic(), batch_size=batch_size)
    assert_follows(engine, models, Logistic(), draws, batch_size=batch_size)


@pytest.mark.parametrize("num_outputs", [1, 3])
@pytest.mark.parametrize("expected", [False, True])
def test_the_targets_of_every_rule_are_followed(num_outputs, expected):
    models, draws = make_networks(num_outputs, count=5), make_draws_of_rules(num_outputs, expected=expected)
    assert_follows(Blocked(Logistic()), models, Logistic(), draws)


@pytest.mark.parametrize("batch_size", [2, 5, 32, 33, 100, 301])
@pytest.mark.parametrize("num_outputs", [1, 3])
def test_minibatches_follow_autograd_of_the_mean_loss_with_a_short_last_step(batch_size, num_outputs):
    models, draws = make_networks(num_outputs), make_draws(num_outputs, steps=301)
    engine = Blocked(Logistic(), batch_size=batch_size)
    assert_follows(engine, models, Logistic(), draws, batch_size=batch_size)


@pytest.mark.parametrize("batch_size", [5, 32, 33])
def test_minibatches_of_neurons_follow_autograd(batch_size):
    models, draws = make_neurons(), make_draws(steps=301)
    engine = Blocked(Logistic(), batch_size=batch_size)
    assert_follows(engine, models, Logistic(), draws, batch_size=batch_size)


@MAKERS
def test_a_replica_gives_the_same_alone_and_among_two_hundred(make):
    models, draws = make(count=200), make_draws(count=200)
    together = run(Blocked(Logistic()), models, draws)
    for replica in (0, 77, 199):
        mine = slice(replica, replica + 1)
        alone = run(Blocked(Logistic()), models[mine], draws.of(mine))
        for one, many in zip(alone.parameters(), together.parameters(), strict=True):
            torch.testing.assert_close(one, many[mine], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("num_outputs", [1, 3])
def test_labels_are_followed_as_the_distributions_that_are_certain_of_them(num_outputs):
    models, draws = make_networks(num_outputs, count=5), make_draws_of_rules(num_outputs, expected=False)
    labels = draws._replace(targets=draws.targets.argmax(dim=2))
    assert bits(run(Blocked(Logistic()), models, labels)) == bits(run(Blocked(Logistic()), models, draws))


@MAKERS
def test_chunks_of_any_length_give_what_one_call_gives(make):
    models, draws = [model.double() for model in make()], make_draws()
    whole, stack, engine = run(Blocked(Logistic()), models, draws), Stack.of(models), Blocked(Logistic())
    lengths = [1, 7, 32, 33, 227]
    for index, targets in zip(draws.index.split(lengths, dim=1), draws.targets.split(lengths, dim=1), strict=True):
        engine(stack, stack.prepare(draws.inputs), index=index, targets=targets, rates=draws.rates)
    for one, many in zip(stack.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(one, many, rtol=1e-10, atol=1e-10)


@MAKERS
def test_a_learning_rate_of_zero_moves_no_bit(make):
    models, draws = make(), make_draws()
    draws.rates[0] = 0.0
    for after, before in zip(
        run(Blocked(Logistic()), models, draws).parameters(), Stack.of(models).parameters(), strict=True
    ):
        assert torch.equal(after[0], before[0])
        assert not torch.equal(after[1], before[1])


@pytest.mark.parametrize(("make", "batch_size"), [(make_networks, 1), (make_networks, 5), (make_neurons, 1)])
def test_a_diverging_replica_leaves_the_others_as_they_are_without_it(make, batch_size):
    models, draws = make(count=4), make_draws(count=4)
    engine = Blocked(Logistic(), batch_size=batch_size)
    calm = run(engine, models, draws)
    draws.rates[2] = 1e38
    wild = run(engine, models, draws)
    assert wild.finite().tolist() == [True, True, False, True]
    for one, other in zip(wild.parameters(), calm.parameters(), strict=True):
        torch.testing.assert_close(one[[0, 1, 3]], other[[0, 1, 3]])


@pytest.mark.parametrize(("hidden", "steps"), [(1, 300), (8, 1)])
def test_one_hidden_neuron_and_one_step_are_enough(hidden, steps):
    assert_follows(Blocked(Logistic()), make_networks(hidden=hidden), Logistic(), make_draws(steps=steps))


@pytest.mark.parametrize("num_outputs", [1, 3])
def test_one_sample_of_one_class_is_learned_by_one_replica(num_outputs):
    models, draws = make_networks(num_outputs, count=1), make_draws(num_outputs, count=1)
    draws.index.fill_(0)
    draws.targets[:] = torch.eye(max(num_outputs, 2))[0]
    single = draws._replace(inputs=draws.inputs[:1])
    assert_follows(Blocked(Logistic()), models, Logistic(), single)


def test_what_it_is_given_is_left_as_it_is():
    draws = make_draws()
    before = [tensor.clone() for tensor in draws]
    run(Blocked(Logistic()), make_networks(bias="none"), draws)
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(draws, before, strict=True))
