import numpy as np
import pytest
import torch
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from noisereg.metrics import UnitCorrelation, first_of_groups


@pytest.fixture
def activations():
    """2,000 samples: six units, of which 1 copies 0, 3 is 0 scaled and shifted, 4 is dead and 5 is noise of its own."""
    first, second, third = torch.randn(3, 2000, generator=torch.Generator().manual_seed(0)).relu()
    return torch.stack([first, first, second, 50 * first + 7, torch.zeros(2000), third], dim=1)


def _seen(*batches):
    layer = UnitCorrelation()
    for batch in batches:
        layer.update(batch)
    return layer


def test_copies_are_merged_and_dead_units_left_out(activations):
    distinct = _seen(activations).distinct()
    assert distinct.units.tolist() == [0, 2, 5]
    assert distinct.neurons == 3
    active = (activations[:, [0, 2, 5]] > 0).sum(dim=1).double().mean().item()
    assert distinct.active_neurons == pytest.approx(active)
    assert distinct.active_fraction == pytest.approx(active / 3)


@pytest.mark.parametrize("size", [1, 300, 2000])
def test_correlations_are_those_of_numpy_for_any_size_of_batch(activations, size):
    alive = [0, 1, 2, 3, 5]
    few = activations[:600]
    expected = np.corrcoef(few[:, alive].double().numpy(), rowvar=False)
    found = _seen(*few.split(size)).correlation()
    np.testing.assert_allclose(found[alive][:, alive].numpy(), expected, atol=1e-5)
    assert not found[4].any() and not found[:, 4].any()


def test_small_differences_beside_a_large_mean_are_kept():
    small = 1e-3 * torch.randn(1000, 8, generator=torch.Generator().manual_seed(0))
    large = small + 100
    expected = np.corrcoef(large.double().numpy(), rowvar=False)
    np.testing.assert_allclose(_seen(*large.split(128)).correlation().numpy(), expected, atol=1e-4)


def test_batches_that_differ_in_kind_correlate_as_one():
    # As in a test set that is sorted by class: the first batch says little of the others.
    generator = torch.Generator().manual_seed(0)
    batches = [torch.randn(200, 5, generator=generator) + shift for shift in (0, 30, -20)]
    expected = np.corrcoef(torch.cat(batches).double().numpy(), rowvar=False)
    np.testing.assert_allclose(_seen(*batches).correlation().numpy(), expected, atol=1e-5)


def test_constant_units_are_live_and_each_a_group_of_its_own():
    varying = torch.rand(50, 1, generator=torch.Generator().manual_seed(0))
    constant = torch.tensor([[0.1, 0.3]]).expand(50, 2).clone()
    constant[25:] = torch.nextafter(constant[25:], torch.tensor(1.0))  # as another size of batch may round
    distinct = _seen(*torch.cat([constant, varying], dim=1).split(25)).distinct()
    assert distinct.units.tolist() == [0, 1, 2]
    assert distinct.active_fraction == 1


def test_a_layer_of_dead_units_has_none():
    distinct = _seen(torch.zeros(4, 3)).distinct()
    assert (distinct.neurons, distinct.active_neurons) == (0, 0)
    assert np.isnan(distinct.active_fraction)


def test_units_that_oppose_each_other_stay_apart():
    values = torch.linspace(0.1, 1, 20)
    assert _seen(torch.stack([values, 1.1 - values], dim=1)).distinct().neurons == 2


def test_positions_of_a_channel_are_units_in_any_memory_format():
    images = torch.rand(30, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    expected = np.corrcoef(images.flatten(1).double().numpy(), rowvar=False)
    for laid in (images, images.to(memory_format=torch.channels_last)):
        np.testing.assert_allclose(_seen(laid).correlation().numpy(), expected, atol=1e-5)


def test_autocast_does_not_round_the_products(activations):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = _seen(activations).correlation()
    assert torch.equal(found, _seen(activations).correlation())


def test_groups_are_those_of_a_search_by_hand():
    values = torch.rand(40, 40, generator=torch.Generator().manual_seed(0)) ** 0.01
    correlation = torch.minimum(values, values.T)
    threshold = correlation.flatten().quantile(0.96).item()
    linked = (correlation > threshold).numpy()
    left, firsts = set(range(40)), []
    while left:
        first = min(left)
        group, border = {first}, {first}
        while border:
            border = {unit for unit in left - group if linked[unit, list(group)].any()}
            group |= border
        left -= group
        firsts.append(first)
    assert 5 < len(firsts) < 35
    assert first_of_groups(correlation, threshold).tolist() == firsts


@pytest.mark.parametrize("size", [1, 7, 1500, 3000])
@pytest.mark.parametrize("shape", ["chains", "chance"])
def test_groups_are_the_connected_components_of_scipy(size, shape):
    generator = torch.Generator().manual_seed(size)
    if shape == "chains":  # of some hundred units each, in any order
        order = torch.randperm(size, generator=generator)
        ends = torch.stack([order[:-1], order[1:]])[:, torch.arange(size - 1) % 400 > 0]
    else:
        ends = torch.randint(size, (2, size // 2), generator=generator)
    correlation = torch.zeros(size, size)
    correlation[ends[0], ends[1]] = correlation[ends[1], ends[0]] = 1
    number, groups = connected_components(csr_array(correlation.numpy()), directed=False)
    firsts = np.unique(groups, return_index=True)[1]
    assert len(firsts) == number
    assert first_of_groups(correlation).tolist() == sorted(firsts)


def test_a_chain_is_one_group_and_the_threshold_is_not_above_itself():
    chain = torch.eye(4)
    chain[0, 2] = chain[2, 0] = chain[2, 3] = chain[3, 2] = 0.96
    chain[0, 1] = chain[1, 0] = 0.5
    assert first_of_groups(chain).tolist() == [0, 1]
    assert first_of_groups(chain, 0.5).tolist() == [0, 1]
    assert first_of_groups(chain, 0.4).tolist() == [0]


def test_an_empty_batch_adds_nothing(activations):
    layer = _seen(activations[:0], activations, activations[:0])
    assert layer.num_samples == 2000
    assert torch.equal(layer.correlation(), _seen(activations).correlation())


@pytest.mark.parametrize("threshold", [-0.1, 1.0])
def test_a_threshold_out_of_range_is_refused(threshold):
    with pytest.raises(ValueError, match=rf"threshold must be in \[0, 1\), got {threshold}"):
        first_of_groups(torch.eye(2), threshold)


@pytest.mark.parametrize("ask", [UnitCorrelation.correlation, UnitCorrelation.live, UnitCorrelation.distinct])
def test_nothing_can_be_said_before_a_batch(ask):
    with pytest.raises(ValueError, match="no activations were seen: call update"):
        ask(_seen(torch.empty(0, 3)))
