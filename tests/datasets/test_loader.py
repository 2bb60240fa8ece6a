import itertools

import pytest
import scipy.stats
import torch

from noisereg import rng
from noisereg.datasets import BatchLoader, Split, epoch_order
from noisereg.datasets.loader import epoch_orders
from noisereg.rng import Stream


def make_split(n=11):
    return Split(torch.arange(2 * n, dtype=torch.float32).view(n, 2), torch.arange(n) % 3)


def names(loader):
    """(draw, index) of every row, in order."""
    return [pair for batch in loader for pair in zip(batch["draw"].tolist(), batch["index"].tolist(), strict=True)]


def test_sequential_batches_hold_the_rows_in_order_and_the_last_is_short():
    batches = list(BatchLoader(make_split(5), 2, order="sequential"))
    assert [batch["input"].tolist() for batch in batches] == [[[0, 1], [2, 3]], [[4, 5], [6, 7]], [[8, 9]]]
    assert [batch["label"].tolist() for batch in batches] == [[0, 1], [2, 0], [1]]
    assert [batch["index"].tolist() for batch in batches] == [[0, 1], [2, 3], [4]]


@pytest.mark.parametrize("order", ["shuffle", "replacement", "sequential"])
@pytest.mark.parametrize("n", [1, 10, 300, 1000])
def test_an_epoch_is_n_draws_whatever_the_batch_size(order, n):
    expected = names(BatchLoader(make_split(n), n, order=order))
    assert len(expected) == n
    for batch_size in (1, 3, 256, 2000):
        loader = BatchLoader(make_split(n), batch_size, order=order)
        assert names(loader) == expected
        assert len(list(loader)) == len(loader) == -(-n // batch_size)


def test_rows_of_a_batch_belong_together():
    split = make_split(600)
    for batch in BatchLoader(split, 7, order="replacement"):
        assert torch.equal(batch["input"], split.inputs[batch["index"]])
        assert torch.equal(batch["label"], split.labels[batch["index"]])


def test_shuffle_visits_every_sample_once_in_the_order_of_its_stream():
    loader = BatchLoader(make_split(), 4, seed=7)
    loader.set_epoch(3)
    draws, indices = zip(*names(loader), strict=True)
    assert list(indices) == rng.permutation(7, Stream.ORDER, 3, 11).tolist()
    assert set(draws) == {3}


def test_replacement_takes_the_integer_part_of_n_times_a_uniform_draw():
    index, draw = epoch_order("replacement", 11, seed=7, epoch=3)
    u = rng.uniform(7, Stream.ORDER, 3, torch.arange(11)).tolist()
    assert index.tolist() == [int(11 * x) for x in u]
    assert draw.tolist() == list(range(33, 44))


def test_replacement_draws_each_sample_equally_often():
    drawn = torch.cat([epoch_order("replacement", 20, seed=0, epoch=epoch)[0] for epoch in range(1000)])
    assert scipy.stats.chisquare(torch.bincount(drawn, minlength=20).numpy()).pvalue > 1e-4


@pytest.mark.parametrize("order", ["shuffle", "replacement"])
def test_no_two_draws_have_one_name(order):
    loader = BatchLoader(make_split(), 4, order=order)
    seen = []
    for epoch in range(5):
        loader.set_epoch(epoch)
        seen += names(loader)
    assert len(set(seen)) == len(seen) == 55


@pytest.mark.parametrize("order", ["shuffle", "replacement"])
def test_epochs_and_seeds_have_orders_of_their_own(order):
    orders = {
        tuple(epoch_order(order, 50, seed=s, epoch=t)[0].tolist()) for s, t in itertools.product(range(3), repeat=2)
    }
    assert len(orders) == 9


@pytest.mark.parametrize("order", ["shuffle", "replacement", "sequential"])
@pytest.mark.parametrize("n", [1, 11])
def test_orders_of_many_runs_and_epochs_are_those_of_each(order, n):
    seeds, epochs = [7, 0, 2**63 - 1, 7], [0, 3, 4, 1000]
    index, draw = epoch_orders(order, n, seeds=torch.tensor(seeds), epochs=torch.tensor(epochs))
    for run, seed in enumerate(seeds):
        alone = [epoch_order(order, n, seed=seed, epoch=epoch) for epoch in epochs]
        assert torch.equal(index[run], torch.cat([one for one, _ in alone]))
        assert torch.equal(draw, torch.cat([name for _, name in alone]))


@pytest.mark.parametrize("world", [1, 2, 4])
def test_processes_share_out_the_batches_of_one(world):
    whole = list(BatchLoader(make_split(12), 8))
    shares = [list(BatchLoader(make_split(12), 8, rank=rank, world=world, even=True)) for rank in range(world)]
    for b, batch in enumerate(whole):
        together = torch.stack([share[b]["index"] for share in shares], dim=1).flatten()
        assert torch.equal(together, batch["index"])


@pytest.mark.parametrize(("n", "batch_size"), [(1, 4), (9, 4), (21, 5), (3, 1)])
def test_processes_evaluate_every_sample_once_in_equally_many_batches(n, batch_size):
    loaders = [BatchLoader(make_split(n), batch_size, order="sequential", rank=rank, world=2) for rank in range(2)]
    shares = [[batch["index"].tolist() for batch in loader] for loader in loaders]
    assert len(shares[0]) == len(shares[1]) == len(loaders[0])
    assert sorted(itertools.chain(*shares[0], *shares[1])) == list(range(n))


@pytest.mark.parametrize(("n", "batch_size"), [(12, 3), (11, 4)])
def test_even_batches_must_divide_among_the_processes(n, batch_size):
    with pytest.raises(ValueError, match=f"divide among 2 processes, got batches of {batch_size} and a last one of"):
        BatchLoader(make_split(n), batch_size, world=2, even=True)


def test_transform_sees_each_draw_and_index_once():
    def transform(inputs, *, draw, index):
        return torch.stack([inputs[:, 0], draw, index], dim=1)

    loader = BatchLoader(make_split(700), 2, order="replacement", transform=transform)
    for batch in loader:
        expected = torch.stack([2 * batch["index"], batch["draw"], batch["index"]], dim=1)
        assert torch.equal(batch["input"], expected.float())


def test_a_function_of_the_epoch_gives_each_epoch_its_samples():
    loader = BatchLoader(lambda epoch: Split(torch.full((4, 1), float(epoch)), torch.zeros(4, dtype=torch.int64)), 4)
    loader.set_epoch(6)
    assert next(iter(loader))["input"].tolist() == [[6.0]] * 4


def test_writing_into_a_batch_leaves_the_split_as_it_was():
    split = make_split()
    for batch in BatchLoader(split, 3, order="sequential"):
        batch["label"].fill_(9)
        batch["input"].fill_(9)
    assert torch.equal(split.labels, make_split().labels)
    assert torch.equal(split.inputs, make_split().inputs)


@pytest.mark.parametrize("order", ["shuffle", "replacement"])
@pytest.mark.parametrize("done", [0, 1, 2, 3])
def test_resumed_loader_goes_on_with_the_next_batch(order, done):
    loader = BatchLoader(make_split(), 3, order=order)
    loader.set_epoch(5)
    batches = iter(loader)
    for _ in range(done):
        next(batches)
    resumed = BatchLoader(make_split(), 3, order=order)
    resumed.load_state_dict(loader.state_dict())
    rest = iter(resumed)  # Lightning asks for the iterator first and names the epoch then
    resumed.set_epoch(5)
    assert [b["index"].tolist() for b in rest] == [b["index"].tolist() for b in batches]
    assert resumed.state_dict() == loader.state_dict()


def test_resume_at_the_end_of_an_epoch_starts_the_next_one():
    loader = BatchLoader(make_split(), 3)
    list(loader)
    resumed = BatchLoader(make_split(), 3)
    resumed.load_state_dict(loader.state_dict())
    loader.set_epoch(1)
    assert names(resumed) == names(loader)


def test_the_epoch_after_a_resumed_one_is_whole():
    resumed = BatchLoader(make_split(), 3)
    resumed.load_state_dict({**resumed.state_dict(), "batches": 2})
    assert len(list(resumed)) == 2
    resumed.set_epoch(1)
    assert len(list(resumed)) == 4


@pytest.mark.parametrize(("key", "other"), [("seed", 1), ("n", 12), ("batch_size", 4), ("order", "replacement")])
def test_resume_refuses_an_order_that_is_not_the_same(key, other):
    loader = BatchLoader(make_split(), 3)
    with pytest.raises(ValueError, match=f"made with {key}={other}, this run has {key}="):
        loader.load_state_dict({**loader.state_dict(), key: other})


def test_batch_size_must_be_positive():
    with pytest.raises(ValueError, match="batch_size must be a whole number, at least 1, got 0"):
        BatchLoader(make_split(), 0)


def test_order_must_be_known():
    with pytest.raises(ValueError, match="one of shuffle, replacement, sequential, got random"):
        BatchLoader(make_split(), 1, order="random")
