import pytest
import torch

from benchmarks import training
from noisereg.engine import Blocked
from noisereg.losses import Logistic


def test_random_pixels_are_of_the_number_shape_and_sparsity_of_mnist():
    pixels = training.RandomPixels()
    pixels.setup()
    train = pixels.splits["train"]
    assert train.inputs.shape == (60_000, 1, 28, 28) and train.inputs.dtype == torch.uint8
    share = (train.inputs[:256] > 0).double().mean()
    assert abs(share - 0.19) < 5 * (0.19 * 0.81 / (256 * 784)) ** 0.5


@pytest.mark.parametrize(("num_classes", "label", "signs"), [(2, 1, [1]), (2, 0, [-1]), (3, 1, [-1, 1, -1])])
def test_the_plain_loop_minimises_the_logistic_loss_of_the_paper(num_classes, label, signs):
    loop = training.PlainLoop(4, num_classes, hidden=3, lr=0.1, p=0.0)
    x = torch.ones(1, 4)
    wanted = sum(torch.log1p(torch.exp(-sign * z)) for sign, z in zip(signs, loop.net(x)[0], strict=True))
    assert loop.training_step([x, torch.tensor([label])], 0).item() == pytest.approx(wanted.item(), rel=1e-5)


def test_the_plain_loop_changes_a_label_with_probability_p_times_c_minus_1_over_c():
    loop = training.PlainLoop(1, 2, hidden=1, lr=0.1, p=0.6)
    with torch.no_grad():
        loop.net[2].weight.zero_()
        loop.net[2].bias.fill_(100.0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        loss = loop.training_step([torch.ones(10_000, 1), torch.ones(10_000, dtype=torch.int64)], 0)
    changed = loss.item() / 100  # only a changed label costs anything, and that is 100
    assert abs(changed - 0.3) < 5 * (0.3 * 0.7 / 10_000) ** 0.5


def test_220_replicas_are_20_seeds_with_11_strengths():
    task = training.cached(training.hypercube())
    parts = training.replicate(task, 220, fit=training.Fit(1, 1, 8), num_seeds=20, hidden=2)
    pairs = {(seed, rule.p) for seed, rule in zip(parts.seeds, parts.rules, strict=True)}
    assert len(parts.stack) == len(pairs) == 220
    assert {seed for seed, _ in pairs} == set(range(20)) and len({p for _, p in pairs}) == 11


def test_a_call_of_the_engine_makes_the_steps_that_are_asked_for():
    class Counting(Blocked):
        def __call__(self, stack, inputs, **keys):
            shapes.append(tuple(keys["index"].shape))
            super().__call__(stack, inputs, **keys)

    shapes: list[tuple[int, ...]] = []
    parts = training.replicate(training.hypercube(), 2, fit=training.Fit(1, 1, 8), num_seeds=2, hidden=2)
    before = parts.stack.hidden.detach().clone()
    assert training.engine_call(parts, Counting(Logistic()), steps=7)() > 0
    assert shapes == [(2, 7)]
    assert not torch.equal(parts.stack.hidden, before)


def test_a_clock_starts_after_the_batches_that_it_skips(monkeypatch):
    times = iter([1.0, 10.0, 100.0])
    monkeypatch.setattr(training.time, "perf_counter", lambda: next(times))
    clock = training.Clock(skip=2)
    clock.on_train_start(None, None)
    for batch in range(3):
        clock.on_train_batch_end(None, None, None, None, batch)
    clock.on_train_end(None, None)
    assert (clock.warm_up, clock.seconds) == (9.0, 90.0)
