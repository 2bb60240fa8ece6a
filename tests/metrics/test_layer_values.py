import pytest
import torch

from noisereg.metrics import ActivationSparsity, check_by_layer, collect_layer_values, select_layers


def measured(*batches, labels=None, num_classes=None):
    metric = ActivationSparsity(num_classes)
    for batch in batches:
        metric.update(torch.tensor(batch), None if labels is None else torch.tensor(labels))
    return metric


def plain(values):
    return {key: pytest.approx(value.item()) for key, value in values.items()}


ROWS = measured([[1.0, 0.0, 0.0], [1.0, 1.0, 0.0]])  # of three units one fires always, one on half, one never
# two channels of 1 x 2 positions; the second is dead, and so is one position of the first
IMAGES = measured([[[[0.0, 2.0]], [[0.0, 0.0]]], [[[0.0, 0.0]], [[0.0, -1.0]]]])


def test_one_layer_has_the_values_of_all_and_none_of_its_own():
    assert plain(collect_layer_values({"relu": ROWS})) == {
        "active_neurons": 1.5,
        "active_fraction": 0.5,
        "dead_fraction": 1 / 3,
        "always_on_fraction": 1 / 3,
    }


def test_several_layers_are_counted_together_and_each_by_its_name():
    values = plain(collect_layer_values({"a": ROWS, "b": IMAGES}))
    # of the four positions one fires, on one of two images
    assert values == {
        "active_neurons": 2.0,
        "active_fraction": 2 / 7,
        "dead_fraction": 4 / 7,
        "always_on_fraction": 1 / 7,
        "active_fraction/a": 0.5,
        "active_fraction/b": 1 / 8,
        "dead_fraction/a": 1 / 3,
        "dead_fraction/b": 3 / 4,
        "dead_channel_fraction": 0.5,
        "dead_channel_fraction/b": 0.5,
    }


def test_channels_are_told_of_second_calls_too():
    both = collect_layer_values({"relu": IMAGES, "relu:2": IMAGES})
    assert both["dead_channel_fraction/relu:2"].item() == 0.5


def test_classes_are_counted_where_there_are_labels():
    # units of class 0 alone, of class 1 alone, of both
    metric = measured([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]], labels=[0, 1], num_classes=2)
    values = collect_layer_values({"relu": metric})
    assert values["associated_neurons"] == values["associated_by_rate_neurons"] == 2


def test_the_values_of_single_layers_are_those_of_the_last_two_unless_all_are_wanted():
    layers = ["a", "b.c", "d"]
    values = collect_layer_values(dict.fromkeys(layers, IMAGES))
    last = select_layers(values, layers=layers, by_layer="last")
    assert {name.partition("/")[2] for name in last} == {"", "b.c", "d"}
    assert {name: values[name] for name in last} == last
    assert select_layers(values, layers=layers, by_layer="all") == values


def test_another_word_for_the_layers_is_refused():
    with pytest.raises(ValueError, match="by_layer must be last or all, got 'some'"):
        check_by_layer("some")


def test_a_unit_that_is_nan_leaves_no_share_of_dead_channels_or_dormant_units():
    broken, whole = ActivationSparsity(dormant=0.1), ActivationSparsity(dormant=0.1)
    broken.update(torch.tensor([[[[1.0, torch.nan]], [[0.0, 0.0]]]]))
    whole.update(torch.tensor([[[[1.0, 1.0]], [[0.0, 0.0]]]]))
    values = collect_layer_values({"broken": broken, "whole": whole})
    shares = {name: value for name, value in values.items() if name.startswith(("dead_channel", "dormant"))}
    known = {"dead_channel_fraction/whole", "dormant_fraction/whole"}
    assert {name for name, value in shares.items() if not value.isnan()} == known
    assert [float(values[name]) for name in sorted(known)] == [0.5, 0.5]
