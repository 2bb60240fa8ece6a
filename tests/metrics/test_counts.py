import math
from functools import partial

import numpy as np
import pytest
import scipy.stats
import torch

from noisereg.metrics import (
    associated,
    associated_by_rate,
    count_firings,
    count_turnover,
    label_entropy,
    summarize_counts,
)


def _count_by_loop(activations, labels, num_classes):
    rows = activations.reshape(len(activations), -1).numpy()
    counts = np.zeros((num_classes, rows.shape[1]), dtype=np.int64)
    for row, label in zip(rows, labels.tolist(), strict=True):
        for unit, value in enumerate(row):
            counts[label, unit] += value > 0
    return counts


@pytest.mark.parametrize("shape", [(), (7,), (3, 4, 5), (2, 3), (2, 1, 3, 2)])
def test_counts_equal_those_of_a_loop_over_samples_and_units(shape):
    generator = torch.Generator().manual_seed(0)
    activations = torch.randn(40, *shape, generator=generator)
    labels = torch.randint(0, 5, (40,), generator=generator)
    counts = count_firings(activations, labels, 5)
    np.testing.assert_array_equal(counts.numpy(), _count_by_loop(activations, labels, 5))
    assert counts.dtype == torch.int64


def test_units_keep_their_order_whatever_the_memory_layout():
    activations = torch.randn(6, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(6) % 2
    expected = _count_by_loop(activations, labels, 2)
    layouts = [
        activations.contiguous(memory_format=torch.channels_last),
        activations.permute(3, 0, 1, 2).contiguous().permute(1, 2, 3, 0),
        torch.cat([activations, activations], dim=1)[:, :3],
    ]
    for laid in layouts:
        np.testing.assert_array_equal(count_firings(laid, labels, 2).numpy(), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("rows", "shape"), [(700, (3, 2, 2)), (5, (2, 1000, 600)), (3, (2**21 + 1,))])
def test_a_batch_is_counted_whole_where_it_is_counted_in_parts(dtype, rows, shape):
    activations = torch.rand(rows, *shape, generator=torch.Generator().manual_seed(0)).sub(0.1).to(dtype)
    laid = activations.contiguous(memory_format=torch.channels_last) if len(shape) == 3 else activations
    labels = (torch.arange(rows) > 1).long()
    fires = activations.flatten(1) > 0
    expected = torch.stack([fires[labels == label].sum(0) for label in (0, 1)])
    assert rows < 300 or expected.max() > 600  # more than bfloat16 can count
    assert torch.equal(count_firings(laid, labels, 2), expected)


def test_a_unit_at_exactly_zero_does_not_fire():
    activations = torch.tensor([[0.0, -0.0, 1e-45, -1.0, torch.inf]])
    assert count_firings(activations, torch.tensor([0]), 1).tolist() == [[0, 0, 1, 0, 1]]


def test_firings_beyond_the_whole_numbers_of_float32_are_counted():
    rows = 2**24 + 1
    activations = torch.ones(rows, 1)
    assert count_firings(activations, torch.zeros(rows, dtype=torch.int64), 1).item() == rows


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_does_not_round_the_counts(dtype):
    with torch.autocast("cpu", dtype=dtype):
        counts = count_firings(torch.ones(4099, 1, dtype=dtype), torch.zeros(4099, dtype=torch.int64), 1)
    assert counts.item() == 4099


def test_counts_do_not_depend_on_the_default_float_type():
    torch.set_default_dtype(torch.float64)
    try:
        counts = count_firings(torch.ones(3, 2), torch.tensor([0, 1, 1]), 2)
    finally:
        torch.set_default_dtype(torch.float32)
    assert counts.tolist() == [[1, 1], [2, 2]]


def test_counting_takes_no_part_in_the_graph():
    activations = torch.ones(2, 3, requires_grad=True) * 2
    assert not count_firings(activations, torch.zeros(2, dtype=torch.int64), 1).requires_grad


def test_summary_of_a_layer_counted_by_hand():
    # Five units on six samples, two of class 0: one dead, one always on, one on class 1 alone, two on one of each.
    fires = torch.tensor([[0, 2, 0, 1, 1], [0, 4, 3, 1, 1]])
    summary = {key: float(value) for key, value in summarize_counts(fires, torch.tensor([2, 4])).items()}
    one_third = -math.log2(1 / 3) / 3 - math.log2(2 / 3) * 2 / 3  # entropy of (1/3, 2/3)
    assert summary == {
        "active_neurons": pytest.approx(13 / 6),
        "active_fraction": pytest.approx(13 / 30),
        "sparsity": pytest.approx(17 / 30),
        "dead_fraction": pytest.approx(1 / 5),
        "always_on_fraction": pytest.approx(1 / 5),
        "associated_neurons": 2,  # the second and the third
        "associated_by_rate_neurons": 3,  # all but the first two
        "label_entropy": pytest.approx((one_third + 0 + 1 + 1) / 4),
    }


def test_summary_without_samples_is_nan():
    summary = summarize_counts(torch.zeros(2, 3, dtype=torch.int64), torch.zeros(2, dtype=torch.int64))
    assert all(value.isnan() for value in summary.values())
    assert len(summary) == 8


def test_a_layer_whose_units_are_all_dead_has_no_entropy_but_all_other_values():
    summary = summarize_counts(torch.zeros(2, 3, dtype=torch.int64), torch.tensor([4, 1]))
    assert [key for key, value in summary.items() if value.isnan()] == ["label_entropy"]


def test_one_row_of_counts_has_no_values_by_class():
    summary = summarize_counts(torch.tensor([[1]]), torch.tensor([1]))
    assert not summary.keys() & {"associated_neurons", "associated_by_rate_neurons", "label_entropy"}


def test_association_is_that_of_every_pair_of_classes():
    histogram = torch.randint(0, 9, (500, 4), generator=torch.Generator().manual_seed(0))
    expected = [
        any(row[c] > 0 and all(row[c] >= 2 * row[k] for k in range(4) if k != c) for c in range(4))
        for row in histogram.tolist()
    ]
    assert 0 < sum(expected) < 500
    assert associated(histogram).tolist() == expected


def test_twice_as_often_is_enough_and_a_dead_unit_is_not_associated():
    histogram = torch.tensor([[4, 2, 1], [2, 1, 0], [3, 2, 0], [1, 0, 0], [0, 0, 0]])
    assert associated(histogram).tolist() == [True, True, False, True, False]


def test_association_by_rate_divides_by_the_size_of_the_class():
    # Rates by hand: 0.4 against 0.2; 0.2 against 0.2; 0 against 0.3; dead.
    histogram = torch.tensor([[2, 2, 0], [1, 2, 0], [0, 3, 0], [0, 0, 0]])
    by_rate = associated_by_rate(histogram, torch.tensor([5, 10, 0]))
    assert by_rate.tolist() == [True, False, True, False]
    assert associated(histogram).tolist() == [False, True, True, False]


def test_a_rate_of_exactly_twice_is_enough_for_any_sizes():
    sizes = torch.arange(1, 200)
    histogram = torch.stack([2 * sizes, sizes.roll(7)], dim=1)
    for row, n in zip(histogram, sizes, strict=True):
        samples = torch.stack([3 * n, 3 * row[1]])
        assert associated_by_rate(row[None], samples).item()  # (2/3) against (1/3)


@pytest.mark.parametrize(
    "samples", [[5, 3, 9], [0, 0, 0], [0, 4, 1], [[[5, 3, 9]] * 4, [[0, 0, 0], [0, 4, 1], [2, 2, 2], [7, 1, 0]]]]
)
def test_a_stack_of_layers_is_summarised_one_by_one(samples):
    seen = torch.tensor(samples)
    share = torch.rand(2, 4, 3, 20, generator=torch.Generator().manual_seed(0)).mul(1.5).sub(0.25).clamp(0, 1)
    fires = (share * seen[..., None]).round().long()
    together = summarize_counts(fires, seen)
    assert len(together) == 8
    layers = list(zip(fires.flatten(0, 1), seen.expand(2, 4, 3).flatten(0, 1), strict=True))
    for key, values in together.items():
        alone = torch.stack([summarize_counts(layer, mine)[key] for layer, mine in layers]).view(2, 4)
        torch.testing.assert_close(values, alone, equal_nan=True)


@pytest.mark.parametrize("function", [associated, partial(associated_by_rate, samples=torch.tensor([9, 20, 8, 0]))])
def test_association_in_a_stack_is_that_of_each_layer(function):
    histogram = torch.randint(0, 9, (3, 50, 4), generator=torch.Generator().manual_seed(0))
    found = function(histogram)
    assert torch.equal(found, torch.stack([function(layer) for layer in histogram]))
    assert 0 < found.sum() < 150


def test_entropy_is_that_of_scipy():
    histogram = torch.randint(0, 60_000, (2, 50, 10), generator=torch.Generator().manual_seed(0)).sub(20_000).clamp(0)
    expected = scipy.stats.entropy(histogram.numpy(), base=2, axis=-1)
    np.testing.assert_allclose(label_entropy(histogram).numpy(), expected, rtol=1e-5)


def test_entropy_by_hand_of_units_that_are_dead_or_fire_for_one_or_for_all_classes():
    histogram = torch.tensor([[0, 0, 0, 0], [0, 7, 0, 0], [5, 5, 5, 5], [2, 1, 1, 0]])
    torch.testing.assert_close(label_entropy(histogram), torch.tensor([torch.nan, 0, 2, 1.5]), equal_nan=True)


def test_turnover_counts_what_sets_of_units_say():
    before, after = torch.rand(2, 3, 40, generator=torch.Generator().manual_seed(0)) < 0.5
    found = count_turnover(before, after)
    for layer in range(3):
        then, now = ({unit for unit in range(40) if mask[layer][unit]} for mask in (before, after))
        assert found["died_neurons"][layer] == len(then - now) > 0
        assert found["revived_neurons"][layer] == len(now - then) > 0


def test_nothing_turns_over_between_equal_measurements():
    units = torch.tensor([True, False])
    assert {key: value.item() for key, value in count_turnover(units, units).items()} == {
        "died_neurons": 0,
        "revived_neurons": 0,
    }


def test_a_unit_that_is_nan_is_neither_active_nor_silent():
    activations = torch.tensor([[1.0, 0.0], [float("nan"), 2.0], [3.0, 0.0]])
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        fires = count_firings(activations.to(dtype), torch.tensor([0, 1, 1]), 2)
        assert (fires < 0).all()
        summary = summarize_counts(fires + fires, 2 * torch.tensor([1, 2]))
        assert all(value.isnan() for value in summary.values())


def test_the_network_beside_one_that_is_nan_is_known():
    fires = torch.stack(
        [count_firings(torch.tensor([[value, 1.0]]), torch.tensor([0]), 1) for value in (math.nan, 0.0)]
    )
    summary = summarize_counts(fires, torch.tensor([1]))
    assert summary["active_neurons"][0].isnan() and summary["active_neurons"][1] == 1
