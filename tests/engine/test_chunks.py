import itertools

import pytest

from noisereg.engine.chunks import ChunkLoader, Timeline


def make_loader(plan, *, replicas=1, width=None):
    return ChunkLoader(lambda first, stop: {"range": (first, stop)}, plan, replicas=replicas, width=width)


def ranges(plan, *, leg=0, width=None):
    """The ranges of draws of one leg, as a loader gives them."""
    loader = make_loader(plan, width=width)
    loader.set_epoch(leg)
    chunks = [chunk["range"] for chunk in loader]
    assert len(loader) == len(chunks)
    return chunks


SHORT_BATCHES = Timeline(num_epochs=5, every_n_epochs=2, n=10, batch_size=4)  # batches of 4, 4 and 2


@pytest.mark.parametrize(
    ("plan", "legs", "steps"),
    [
        (Timeline(num_epochs=5, every_n_epochs=2, n=100), [(0, 200), (200, 400), (400, 500)], 500),
        (Timeline(num_epochs=4, every_n_epochs=2, n=3), [(0, 6), (6, 12)], 12),
        (Timeline(num_epochs=2, every_n_epochs=1, n=10, batch_size=7), [(0, 10), (10, 20)], 4),
        (Timeline(num_epochs=2, every_n_epochs=1, n=14, batch_size=7), [(0, 14), (14, 28)], 4),
        (Timeline(num_epochs=4, every_n_epochs=10, n=10, batch_size=7), [(0, 40)], 8),
        (Timeline(num_epochs=3, every_n_epochs=1, n=1, batch_size=7), [(0, 1), (1, 2), (2, 3)], 3),
        (Timeline(num_epochs=5, every_n_epochs=2, n=10, max_steps=23), [(0, 20), (20, 23)], 23),
        (Timeline(num_epochs=5, every_n_epochs=2, n=10, max_steps=20), [(0, 20)], 20),
        (Timeline(num_epochs=5, every_n_epochs=2, n=10, batch_size=7, max_steps=5), [(0, 20), (20, 27)], 5),
        (Timeline(num_epochs=5, every_n_epochs=2, n=10, batch_size=7, max_steps=6), [(0, 20), (20, 30)], 6),
        (Timeline(num_epochs=5, every_n_epochs=9, n=10, batch_size=7, max_steps=1), [(0, 7)], 1),
        (Timeline(num_epochs=2, every_n_epochs=1, n=10, batch_size=7, max_steps=99), [(0, 10), (10, 20)], 4),
    ],
)
def test_legs_and_steps_of_a_training_are_those_counted_by_hand(plan, legs, steps):
    assert [plan.leg(number) for number in range(plan.num_legs)] == legs
    assert plan.num_draws == legs[-1][1]
    assert plan.steps(plan.num_draws) == steps


@pytest.mark.parametrize(("n", "batch_size"), [(10, 1), (10, 7), (14, 7), (3, 7), (1, 1)])
def test_a_step_begins_at_every_batch_size_draws_of_an_epoch(n, batch_size):
    plan = Timeline(num_epochs=4, every_n_epochs=1, n=n, batch_size=batch_size)
    begins = [draw % n % batch_size == 0 for draw in range(plan.num_draws)]
    assert [plan.steps(draws) for draws in range(plan.num_draws + 1)] == [0, *itertools.accumulate(begins)]


@pytest.mark.parametrize("width", [1, 3, 20, 1000, None])
@pytest.mark.parametrize(
    "plan",
    [SHORT_BATCHES, Timeline(num_epochs=5, every_n_epochs=2, n=10), Timeline(num_epochs=9, every_n_epochs=9, n=1)],
)
def test_chunks_visit_the_draws_of_each_leg_once_and_in_order(plan, width):
    for leg in range(plan.num_legs):
        draws = [draw for first, stop in ranges(plan, leg=leg, width=width) for draw in range(first, stop)]
        assert draws == list(range(*plan.leg(leg)))


def test_chunks_of_single_steps_cross_the_ends_of_epochs():
    assert ranges(Timeline(num_epochs=3, every_n_epochs=3, n=10), width=12) == [(0, 12), (12, 24), (24, 30)]


@pytest.mark.parametrize("width", [1, 2, 7, 20, None])
def test_no_chunk_begins_between_the_two_steps_of_a_pair(width):
    plan = Timeline(num_epochs=6, every_n_epochs=3, n=15)
    assert all((first - 45 * leg) % 2 == 0 for leg in (0, 1) for first, _ in ranges(plan, leg=leg, width=width))


@pytest.mark.parametrize(
    ("width", "expected"),
    [
        (1, [(0, 4), (4, 8), (8, 10), (10, 14), (14, 18), (18, 20)]),  # never less than a batch
        (7, [(0, 4), (4, 8), (8, 10), (10, 14), (14, 18), (18, 20)]),
        (8, [(0, 8), (8, 10), (10, 18), (18, 20)]),
        (100, [(0, 10), (10, 20)]),
    ],
)
def test_chunks_of_batches_are_whole_batches_except_where_an_epoch_ends(width, expected):
    assert ranges(SHORT_BATCHES, width=width) == expected


def test_a_training_that_ends_within_an_epoch_ends_with_a_whole_batch():
    plan = Timeline(num_epochs=5, every_n_epochs=2, n=10, batch_size=4, max_steps=7)
    assert ranges(plan, leg=1, width=100) == [(20, 24)]


def test_replicas_share_out_the_draws_of_a_chunk():
    def first_chunk(plan, replicas):
        return next(iter(make_loader(plan, replicas=replicas)))["range"]

    long = Timeline(num_epochs=1, every_n_epochs=1, n=300_000)
    (_, alone), (_, among_ten) = first_chunk(long, 1), first_chunk(long, 10)
    assert alone == 10 * among_ten
    assert first_chunk(long, 10**6) == (0, 4)
    assert first_chunk(Timeline(num_epochs=1, every_n_epochs=1, n=100, batch_size=8), 10**6) == (0, 8)


@pytest.mark.parametrize("plan", [SHORT_BATCHES, Timeline(num_epochs=5, every_n_epochs=2, n=10)])
@pytest.mark.parametrize("done", [0, 1, 2, 3])
def test_a_resumed_loader_goes_on_with_the_next_chunk(plan, done):
    loader = make_loader(plan, width=6)
    loader.set_epoch(1)
    chunks = iter(loader)
    for _ in range(done):
        next(chunks)
    resumed = make_loader(plan, width=6)
    resumed.load_state_dict(loader.state_dict())
    rest = iter(resumed)  # Lightning asks for the iterator first and names the leg then
    resumed.set_epoch(1)
    assert list(rest) == list(chunks)
    assert resumed.state_dict() == loader.state_dict()


def test_resume_at_the_end_of_a_leg_starts_the_next_one():
    loader, resumed = make_loader(SHORT_BATCHES, width=8), make_loader(SHORT_BATCHES, width=8)
    list(loader)
    resumed.load_state_dict(loader.state_dict())
    assert [chunk["range"] for chunk in resumed] == [(20, 28), (28, 30), (30, 38), (38, 40)]


def test_the_leg_after_a_resumed_one_is_whole():
    resumed = make_loader(SHORT_BATCHES, width=8)
    resumed.load_state_dict({**resumed.state_dict(), "chunks": 3})
    assert [chunk["range"] for chunk in resumed] == [(18, 20)]
    resumed.set_epoch(1)
    assert next(iter(resumed)) == {"range": (20, 28)}
    resumed.set_epoch(2)
    assert [chunk["range"] for chunk in resumed] == [(40, 48), (48, 50)]


def test_resume_refuses_chunks_of_another_width():
    with pytest.raises(ValueError, match=r"made with chunks of 8 draws, this run has chunks of 4; .* a new run"):
        make_loader(SHORT_BATCHES, width=4).load_state_dict(make_loader(SHORT_BATCHES, width=9).state_dict())


def test_lightning_finds_set_epoch_at_the_sampler():
    loader = make_loader(SHORT_BATCHES, width=8)
    assert loader.batch_sampler is None
    loader.sampler.set_epoch(2)
    assert next(iter(loader)) == {"range": (40, 48)}
