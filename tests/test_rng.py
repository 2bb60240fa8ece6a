import math
import random
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import scipy.stats
import torch

from noisereg import rng
from noisereg.rng import Stream


def test_hash_follows_the_published_splitmix64_sequence(monkeypatch):
    # Outputs of the reference implementation for the start 1234567 (S. Vigna, splitmix64.c).
    monkeypatch.setattr(rng, "hash_key", lambda *names: 1234567)
    expected = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    bits = rng._hash(0, 0, 0, torch.arange(5))
    assert [int(b) % 2**64 for b in bits] == expected


def test_tensors_and_arrays_give_the_same_bits():
    """The path of a GPU, run on tensors of the CPU."""
    steps, places = torch.arange(-3, 997), torch.arange(2**40, 2**40 + 1000)
    assert rng._hash(3, 2, 7, places).tolist() == rng._hash(3, 2, 7, places.numpy()).tolist()
    assert rng._hash(3, 2, steps, places).tolist() == rng._hash(3, 2, steps.numpy(), places.numpy()).tolist()


def test_a_tensor_of_steps_gives_the_draws_of_its_entries():
    steps = torch.tensor([0, 1, 7, 2**40])
    together = rng.uniform(3, Stream.NOISE, steps, torch.arange(4))
    alone = [rng.uniform(3, Stream.NOISE, int(s), i) for i, s in enumerate(steps)]
    assert together.tolist() == [float(u) for u in alone]


SEEDS = [0, 1, 12345, 2**32, 2**62 + 7, 2**63 - 1]


def test_a_tensor_of_seeds_gives_the_draws_of_its_entries():
    together = rng.uniform(torch.tensor(SEEDS), Stream.NOISE, 5, torch.arange(6))
    assert together.tolist() == [float(rng.uniform(seed, Stream.NOISE, 5, i)) for i, seed in enumerate(SEEDS)]
    assert together.tolist() == [_reference(seed, Stream.NOISE, 5, i) for i, seed in enumerate(SEEDS)]


def test_seeds_steps_and_indices_broadcast():
    seeds, steps, places = torch.tensor(SEEDS)[:, None, None], torch.tensor([0, 3, 2**40])[:, None], torch.arange(4)
    together = rng.uniform(seeds, Stream.ORDER, steps, places)
    assert together.shape == (6, 3, 4)
    for r, seed in enumerate(SEEDS):
        assert torch.equal(together[r], rng.uniform(seed, Stream.ORDER, steps, places))
        for s, step in enumerate((0, 3, 2**40)):
            assert torch.equal(together[r, s], rng.uniform(seed, Stream.ORDER, step, places))


def test_one_step_and_one_index_serve_many_seeds():
    alone = torch.stack([rng.uniform(seed, Stream.NOISE, 2, 9) for seed in SEEDS])
    assert torch.equal(rng.uniform(torch.tensor(SEEDS), Stream.NOISE, 2, 9), alone)
    assert torch.equal(rng.uniform(torch.tensor(SEEDS)[:, None], Stream.NOISE, 2, 9), alone[:, None])


def test_tensors_without_axes_are_numbers():
    number = rng.uniform(7, Stream.NOISE, 2, 9)
    for seed, step in [(7, torch.tensor(2)), (torch.tensor(7), 2), (torch.tensor(7), torch.tensor(2))]:
        assert torch.equal(rng.uniform(seed, Stream.NOISE, step, torch.tensor(9)), number)
        assert torch.equal(rng.uniform(seed, Stream.NOISE, step, torch.tensor([9])), number[None])


def test_tensors_and_arrays_of_seeds_give_the_same_bits():
    """The path of a GPU, run on tensors of the CPU."""
    seeds, places = torch.tensor(SEEDS)[:, None], torch.arange(1000)
    bits = rng._hash(seeds, 2, 7, places)
    assert bits.tolist() == rng._hash(seeds.numpy(), 2, 7, places.numpy()).tolist()
    assert bits.tolist() == [rng._hash(seed, 2, 7, places).tolist() for seed in SEEDS]


def test_a_draw_does_not_depend_on_its_neighbours():
    whole = rng.uniform(0, Stream.NOISE, 5, torch.arange(1000))
    order = torch.randperm(1000, generator=torch.Generator().manual_seed(0))
    assert torch.equal(whole[order], rng.uniform(0, Stream.NOISE, 5, order))


@pytest.mark.parametrize("stream", list(Stream))
def test_uniform_passes_a_kolmogorov_smirnov_test(stream):
    u = rng.uniform(1, stream, 2, torch.arange(200_000)).numpy()
    assert scipy.stats.kstest(u, "uniform").pvalue > 1e-4
    assert 0 <= u.min() and u.max() < 1


def test_normal_passes_a_kolmogorov_smirnov_test():
    z = rng.normal(1, Stream.INIT, 2, torch.arange(200_000)).numpy()
    assert scipy.stats.kstest(z, "norm").pvalue > 1e-4


def test_seeds_streams_and_steps_are_uncorrelated():
    names = [(seed, stream, step) for seed in range(6) for stream in (1, 2, 3) for step in range(6)]
    draws = torch.stack([rng.uniform(*name, torch.arange(4000)) for name in names])
    correlations = torch.corrcoef(draws)[*torch.triu_indices(len(names), len(names), offset=1)]
    z = correlations * math.sqrt(4000)
    assert z.abs().max() < 5.5  # 5778 pairs: the largest of so many normal values is beyond 5.5 once in 5,000
    assert abs(z.std() - 1) < 5 / math.sqrt(2 * len(z))


def test_permutation_holds_every_index_once_and_each_place_is_uniform():
    first = torch.stack([rng.permutation(0, Stream.ORDER, epoch, 10) for epoch in range(5000)])
    assert torch.equal(first.sort(dim=1).values, torch.arange(10).expand(5000, 10))
    counts = torch.bincount(first[:, 0], minlength=10)
    assert scipy.stats.chisquare(counts.numpy()).pvalue > 1e-4


def _draw_from_libraries():
    return [torch.rand(3).tolist(), np.random.random(3).tolist(), random.random()]  # noqa: NPY002


def _seed_by_hand():
    torch.manual_seed(0), np.random.seed(0), random.seed(0)  # noqa: NPY002


def test_library_generator_leaves_the_generators_that_libraries_share_as_they_were():
    _seed_by_hand()
    expected = _draw_from_libraries()
    _seed_by_hand()
    with rng.library_generator(seed=5):
        inner = _draw_from_libraries()
    assert _draw_from_libraries() == expected
    with rng.library_generator(seed=5):
        assert _draw_from_libraries() == inner
    with rng.library_generator(seed=5, step=1):
        assert all(one != other for one, other in zip(_draw_from_libraries(), inner, strict=True))


def test_threads_draw_from_what_libraries_share_as_one_thread_would():
    def draw(seed):
        with rng.library_generator(seed):
            first = _draw_from_libraries()
            time.sleep(0.01)  # in which others would begin
            return first, _draw_from_libraries()

    expected = list(map(draw, range(8)))
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(draw, range(8))) == expected


def test_draws_stay_the_same_from_release_to_release():
    u = rng.uniform(0, Stream.NOISE, 0, torch.arange(3))
    assert u.tolist() == pytest.approx(EXPECTED_FIRST_DRAWS, abs=0)


def test_the_greatest_draw_is_a_normal_number():
    mask, gamma, first, second = 2**64 - 1, 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB

    def undo_shift(z, shift):
        found = z
        for _ in range(64 // shift):
            found = z ^ (found >> shift)
        return found

    z = undo_shift(mask, 31) * pow(second, -1, 2**64) & mask  # SplitMix64 backwards, from 64 bits of 1
    z = undo_shift(z, 27) * pow(first, -1, 2**64) & mask
    place = (undo_shift(z, 30) - rng.hash_key(0, Stream.INIT, 0)) * pow(gamma, -1, 2**64) - 1 & mask
    index = torch.tensor([place - 2**64 if place >= 2**63 else place])
    assert rng.uniform(0, Stream.INIT, 0, index).tolist() == [1 - 2**-53]
    assert rng.normal(0, Stream.INIT, 0, index).item() == pytest.approx(scipy.stats.norm.isf(2**-53), rel=1e-9)


def _reference(seed, stream, step, index):
    """SplitMix64 in plain Python integers, written apart from the code under test."""
    mask, gamma = 2**64 - 1, 0x9E3779B97F4A7C15

    def output(state):
        z = (state + gamma) & mask
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & mask
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB & mask
        return z ^ (z >> 31)

    begin = output(output(output(seed) + stream) + step)
    return (output(begin + index * gamma) >> 11) / 2**53


EXPECTED_FIRST_DRAWS = [_reference(0, Stream.NOISE, 0, index) for index in range(3)]
