import pickle

import numpy as np
import pytest
import torch
from torch import nn
from torchmetrics import MeanMetric, MetricCollection

from noisereg.metrics import ActivationSparsity, collect_layer_values, summarize_layers


@pytest.fixture
def batches():
    generator = torch.Generator().manual_seed(0)
    sizes = [5, 1, 0, 8]
    return [
        (torch.randn(n, 3, 4, generator=generator).relu(), torch.randint(0, 3, (n,), generator=generator))
        for n in sizes
    ]


def _filled(batches, **kwargs):
    sparsity = ActivationSparsity(num_classes=3, **kwargs)
    for activations, labels in batches:
        sparsity.update(activations, labels)
    return sparsity


def _histogram_by_loop(batches):
    histogram = np.zeros((12, 3), dtype=np.int64)
    for activations, labels in batches:
        for sample, label in zip(activations.numpy(), labels.tolist(), strict=True):
            histogram[:, label] += (sample > 0).ravel()
    return histogram


def test_counts_equal_those_of_a_loop_over_all_batches(batches):
    sparsity = _filled(batches)
    histogram = _histogram_by_loop(batches)
    np.testing.assert_array_equal(sparsity.histogram.numpy(), histogram)
    np.testing.assert_array_equal(
        sparsity.samples.numpy(), np.bincount(torch.cat([y for _, y in batches]), minlength=3)
    )
    np.testing.assert_allclose(sparsity.firing_rate.numpy(), histogram.sum(1) / 14, rtol=1e-6)
    assert sparsity.num_units == 12


@pytest.mark.parametrize("conv", [False, True])
def test_active_neurons_follow_definition_1_by_brute_force(conv):
    torch.manual_seed(0)
    layer = nn.Conv2d(2, 3, 3) if conv else nn.Linear(5, 8)
    inputs = torch.randn(20, 2, 6, 6) if conv else torch.randn(20, 5)
    with torch.no_grad():
        patches = nn.functional.unfold(inputs, 3).transpose(1, 2).reshape(20, 16, 18) if conv else inputs[:, None]
        weight = layer.weight.flatten(1).double().numpy()
        active = 0
        for sample in patches.double().numpy():
            for patch in sample:
                for w, b in zip(weight, layer.bias.double().numpy(), strict=True):
                    active += float(np.dot(w, patch)) + float(b) > 0
        sparsity = ActivationSparsity()
        sparsity.update(layer(inputs).relu())
    units = 3 * 4 * 4 if conv else 8
    summary = sparsity.compute()
    assert summary["active_neurons"].item() == pytest.approx(active / 20, rel=1e-6)
    assert summary["active_fraction"].item() == pytest.approx(active / 20 / units, rel=1e-6)
    assert summary["sparsity"].item() == pytest.approx(1 - active / 20 / units, rel=1e-6)


def test_dead_always_on_and_associated_units_are_those_set_by_hand():
    # Units: dead, always on, class 0 alone, class 1 twice as often as class 0.
    activations = torch.tensor([[0, 1, 1, 1], [0, 2, 1, 0], [0, 1, 0, 1], [0, 3, 0, 1.0]])
    sparsity = ActivationSparsity(num_classes=2)
    sparsity.update(activations, torch.tensor([0, 0, 1, 1]))
    assert sparsity.dead.tolist() == [True, False, False, False]
    assert sparsity.always_on.tolist() == [False, True, False, False]
    assert sparsity.histogram.tolist() == [[0, 0], [2, 2], [2, 0], [1, 2]]
    assert sparsity.associated.tolist() == [False, False, True, True]
    assert sparsity.associated_by_rate.tolist() == [False, False, True, True]
    assert sparsity.label_entropy[1:].tolist() == pytest.approx([1, 0, 0.918296], rel=1e-6)
    assert sparsity.compute()["associated_neurons"] == 2


def test_raw_counts_and_rates_differ_when_classes_differ_in_size():
    sparsity = ActivationSparsity(num_classes=2)
    sparsity.update(torch.ones(6, 1), torch.tensor([0, 0, 0, 0, 1, 1]))
    assert sparsity.associated.tolist() == [True]
    assert sparsity.associated_by_rate.tolist() == [False]


def test_without_classes_labels_are_not_looked_at(batches):
    sparsity = ActivationSparsity()
    sparsity.update(batches[0][0], torch.full((5,), -7))
    sparsity.update(batches[1][0])
    assert sparsity.fires.shape == (1, 12)
    assert sparsity.samples.tolist() == [6]
    assert "associated_neurons" not in sparsity.compute()


def test_state_is_int64_and_holds_counts_beyond_float32():
    sparsity = ActivationSparsity()
    sparsity.update(torch.ones(1, 1))
    sparsity.merge_state({"fires": torch.tensor([[2**40]]), "samples": torch.tensor([2**40])})
    assert sparsity.fires.tolist() == [[2**40 + 1]]
    assert sparsity.always_on.tolist() == [True]
    assert sparsity.fires.dtype == sparsity.samples.dtype == torch.int64


def test_a_batch_without_rows_fixes_the_number_of_units():
    sparsity = ActivationSparsity()
    sparsity.update(torch.empty(0, 3, 4))
    assert sparsity.num_units == 12
    assert sparsity.samples.tolist() == [0]
    assert all(value.isnan() for value in sparsity.compute().values())


def test_another_number_of_units_is_an_error_until_reset():
    sparsity = ActivationSparsity()
    sparsity.update(torch.ones(2, 3))
    with pytest.raises(ValueError, match="activations must have 3 units as before, got 1"):
        sparsity.update(torch.ones(2, 1))
    sparsity.reset()
    assert sparsity.num_units == 0
    sparsity.update(torch.ones(2, 4))
    assert sparsity.samples.tolist() == [2]


def test_activations_without_units_are_an_error():
    with pytest.raises(ValueError, match="at least one unit, got none"):
        ActivationSparsity().update(torch.ones(2, 0))


@pytest.mark.parametrize("num_classes", [1, 0, -3])
def test_fewer_than_two_classes_are_an_error(num_classes):
    with pytest.raises(ValueError, match=rf"num_classes must be at least 2.*got {num_classes}"):
        ActivationSparsity(num_classes=num_classes)


def test_missing_labels_are_an_error():
    with pytest.raises(ValueError, match="labels must be given with num_classes=3, got None"):
        ActivationSparsity(num_classes=3).update(torch.ones(2, 1))


@pytest.mark.parametrize("labels", [[0, 3], [-1, 0]])
def test_labels_out_of_range_are_an_error_that_counts_nothing(labels):
    sparsity = ActivationSparsity(num_classes=3)
    with pytest.raises(ValueError, match=rf"labels must be in \[0, 3\), got {labels[0]} to {labels[1]}"):
        sparsity.update(torch.ones(2, 1), torch.tensor(labels))
    assert sparsity.samples.tolist() == [0, 0, 0]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32])
def test_labels_may_be_of_any_type_of_whole_numbers(dtype):
    sparsity = ActivationSparsity(num_classes=3)
    sparsity.update(torch.ones(2, 1), torch.tensor([0, 2], dtype=dtype))
    assert sparsity.histogram.tolist() == [[1, 0, 1]]


def test_labels_that_are_no_whole_numbers_are_an_error():
    with pytest.raises(ValueError, match="labels must be whole numbers, got float32"):
        ActivationSparsity(num_classes=3).update(torch.ones(2, 1), torch.tensor([0.0, 1.0]))


def test_too_few_labels_are_an_error():
    with pytest.raises(ValueError, match=r"labels must have shape \(2,\), one a row of activations, got \(3,\)"):
        ActivationSparsity(num_classes=3).update(torch.ones(2, 1), torch.zeros(3, dtype=torch.int64))


@pytest.mark.parametrize("name", ["histogram", "associated", "associated_by_rate"])
def test_what_needs_classes_says_so(name):
    with pytest.raises(ValueError, match="need num_classes, got None"):
        getattr(ActivationSparsity(), name)


def test_merged_halves_equal_the_whole(batches):
    first, second = _filled(batches[:2]), _filled(batches[2:])
    first.compute()
    first.merge_state(second)
    assert torch.equal(first.fires, _filled(batches).fires)
    _equal(first.compute(), _filled(batches).compute())


def test_a_new_metric_takes_over_what_is_merged_into_it(batches):
    merged = ActivationSparsity(num_classes=3)
    merged.merge_state(ActivationSparsity(num_classes=3))
    merged.merge_state(_filled(batches).metric_state)
    _equal(merged.compute(), _filled(batches).compute())
    merged.merge_state(ActivationSparsity(num_classes=3))
    assert merged.samples.sum() == 14


def test_merging_another_kind_is_an_error(batches):
    with pytest.raises(ValueError, match="must be a dict or an ActivationSparsity"):
        ActivationSparsity().merge_state(MeanMetric())
    with pytest.raises(ValueError, match="must count 1 classes as this does, got 3"):
        ActivationSparsity().merge_state(_filled(batches))
    narrow = _filled([(torch.ones(1, 5), torch.tensor([0]))])
    with pytest.raises(ValueError, match="must have 5 units as before, got 12"):
        narrow.merge_state(_filled(batches))


def test_forward_returns_the_batch_and_counts_it_once(batches):
    sparsity = ActivationSparsity(num_classes=3)
    for activations, labels in (batches[0], batches[3]):
        value = sparsity(activations, labels)
        alone = _filled([(activations, labels)])
        _equal(value, alone.compute())
    _equal(sparsity.compute(), _filled([batches[0], batches[3]]).compute())


def test_forward_takes_activations_that_need_a_gradient():
    weight = torch.ones(3, requires_grad=True)
    value = ActivationSparsity()(torch.ones(2, 3) * weight)
    assert value["active_neurons"] == 3


def test_compute_is_not_stale_after_another_update(batches):
    sparsity = _filled(batches[:1])
    sparsity.compute()
    for activations, labels in batches[1:]:
        sparsity.update(activations, labels)
    _equal(sparsity.compute(), _filled(batches).compute())


@pytest.mark.parametrize(
    "change",
    [
        lambda s: pickle.loads(pickle.dumps(s)),
        lambda s: s.clone(),
        lambda s: s.half(),
        lambda s: s.to(torch.bfloat16),
        lambda s: s.to("cpu"),
        lambda s: nn.Sequential(s).half()[0],
        lambda s: nn.Sequential(s).double()[0],
        lambda s: nn.Sequential(s).to(torch.bfloat16)[0],
    ],
    ids=[
        "pickle",
        "clone",
        "half",
        "to bfloat16",
        "to cpu",
        "half in a module",
        "double in a module",
        "bf16 in a module",
    ],
)
def test_counts_survive_and_go_on(batches, change):
    changed = change(_filled(batches[:2]))
    for activations, labels in batches[2:]:
        changed.update(activations, labels)
    assert torch.equal(changed.fires, _filled(batches).fires)
    assert changed.fires.dtype == changed.samples.dtype == torch.int64
    _equal(changed.compute(), _filled(batches).compute())


def test_a_clone_leads_its_own_life(batches):
    original = _filled(batches[:1])
    clone = original.clone()
    clone.update(*batches[3])
    assert original.samples.sum() == 5
    assert clone.samples.sum() == 13


def test_counts_made_in_inference_mode_go_on_outside_of_it(batches):
    sparsity = ActivationSparsity(num_classes=3)
    with torch.inference_mode():
        sparsity.update(*batches[0])
        sparsity.compute()
    sparsity.update(*batches[3])
    restored = pickle.loads(pickle.dumps(sparsity.clone()))
    assert torch.equal(restored.fires, _filled([batches[0], batches[3]]).fires)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_any_float_type_gives_the_same_counts(batches, dtype):
    exact = [(activations.bool().to(torch.float32), labels) for activations, labels in batches]
    cast = [(activations.to(dtype), labels) for activations, labels in exact]
    assert torch.equal(_filled(cast).fires, _filled(exact).fires)


def test_it_works_in_a_metric_collection(batches):
    collection = MetricCollection({"relu": ActivationSparsity(num_classes=3), "relu2": ActivationSparsity()})
    collection.update(batches[0][0], labels=batches[0][1])
    assert collection.compute()["relu_associated_neurons"] == _filled(batches[:1]).compute()["associated_neurons"]


def test_a_single_process_gathers_its_own_counts(batches):
    sparsity = _filled(batches)
    whole = sparsity.gathered()
    assert torch.equal(whole.fires, sparsity.fires)
    whole.update(*batches[0])
    assert sparsity.samples.sum() == 14


def _equal(left, right):
    assert left.keys() == right.keys()
    for key, value in left.items():
        torch.testing.assert_close(value, right[key], rtol=1e-6, atol=1e-7)


def test_pooled_layers_equal_one_layer_with_all_their_units():
    generator = torch.Generator().manual_seed(0)
    activations, labels = torch.randn(14, 12, generator=generator), torch.randint(0, 3, (14,), generator=generator)
    activations[:, [1, 7]] = 0  # dead units on both sides
    left, right, both = (ActivationSparsity(num_classes=3) for _ in range(3))
    for metric, units in {left: slice(5), right: slice(5, 12), both: slice(12)}.items():
        metric.update(activations[:, units], labels)
    pooled, expected = summarize_layers([left, right]), both.compute()
    assert pooled.keys() == expected.keys()
    for key, value in pooled.items():
        torch.testing.assert_close(value, expected[key], rtol=1e-6, atol=1e-7)


def test_pooled_entropy_is_the_mean_over_live_units_and_nan_without_any():
    # By hand: the left layer has two dead units and one of 1 bit, the right one three of 0 bits, the last none alive.
    labels = torch.tensor([0, 1])
    layers = [torch.tensor([[0, 0, 1.0]] * 2), torch.tensor([[1.0, 1, 1], [0, 0, 0]]), torch.zeros(2, 5)]
    left, right, dead = (ActivationSparsity(num_classes=2) for _ in layers)
    for metric, activations in zip((left, right, dead), layers, strict=True):
        metric.update(activations, labels)
    assert summarize_layers([left, right, dead])["label_entropy"].item() == pytest.approx(1 / 4)
    assert left.label_entropy.isnan().tolist() == [True, True, False]
    assert summarize_layers([dead, dead])["label_entropy"].isnan()


@pytest.mark.parametrize("tau", [0.0, 0.3, 1.0])
def test_dormant_units_are_those_whose_mean_is_at_most_tau_of_the_mean_of_the_layer(tau):
    activations = torch.randn(50, 7, generator=torch.Generator().manual_seed(3)).relu() * torch.arange(7)
    sparsity = ActivationSparsity(dormant=tau)
    for part in activations.split(8):
        sparsity.update(part)
    means = activations.double().numpy().mean(axis=0)
    expected = means / means.mean() <= tau
    assert sparsity.dormant_units.tolist() == expected.tolist() and expected[0] and not expected.all()
    assert collect_layer_values({"relu": sparsity})["dormant_fraction"] == pytest.approx(expected.mean())


def test_a_channel_is_dormant_by_its_mean_over_samples_and_positions():
    activations = torch.zeros(2, 3, 1, 2)
    activations[0, 0, 0, 1], activations[:, 1] = 0.8, 1.0  # means 0.2, 1 and 0 of a layer's 0.4
    for tau, dormant in {0.0: [False, False, True], 0.4: [False, False, True], 0.6: [True, False, True]}.items():
        sparsity = ActivationSparsity(dormant=tau)
        sparsity.update(activations)
        assert sparsity.dormant_units.tolist() == dormant


def test_magnitudes_are_merged_and_pickled_and_must_be_there(batches):
    whole, first, second = (
        _filled(batches, dormant=0.5),
        _filled(batches[:2], dormant=0.5),
        _filled(batches[2:], dormant=0.5),
    )
    first.merge_state(second)
    torch.testing.assert_close(first.magnitudes, whole.magnitudes)
    again = pickle.loads(pickle.dumps(whole)).gathered()
    assert torch.equal(again.dormant_units, whole.dormant_units)
    with pytest.raises(ValueError, match=r"must have magnitudes, as this is of dormant=0\.5"):
        whole.merge_state(_filled(batches))
    with pytest.raises(ValueError, match="dormant units need tau"):
        _filled(batches).dormant_units  # noqa: B018
    with pytest.raises(ValueError, match="dormant must be a number, at least 0, or None, got -1"):
        ActivationSparsity(dormant=-1)


def test_a_unit_that_is_nan_leaves_no_rate_of_firing():
    sparsity = ActivationSparsity()
    sparsity.update(torch.tensor([[1.0, torch.nan], [1.0, 1.0]]))
    assert not sparsity.is_known
    assert sparsity.firing_rate.isnan().all()
