import math

import pytest
import torch

from noisereg.metrics import ActivationSparsity, Memorization, activity_by_group

CLEAN = torch.tensor([0, 1, 2, 2, 0])
GIVEN = torch.tensor([0, 2, 2, 1, 1])  # the second, fourth and fifth are wrong
PREDICTED = torch.tensor([1, 2, 2, 2, 2])
LOSSES = torch.tensor([1.0, 2.0, 4.0, 8.0, 16.0])


def test_right_and_wrong_labels_are_counted_by_hand():
    memorization = Memorization()
    memorization.update(PREDICTED, CLEAN, GIVEN, LOSSES)
    assert {key: value.item() for key, value in memorization.compute().items()} == {
        "wrong_labels": 3,
        "error_right": 1 / 2,
        "error_wrong": pytest.approx(2 / 3),
        "loss_right": 5 / 2,
        "loss_wrong": pytest.approx(26 / 3),
        "memorized": pytest.approx(1 / 3),  # the second: the fifth is neither the clean nor the given class
    }


def test_batches_add_up():
    whole, parts = Memorization(), Memorization()
    whole.update(PREDICTED, CLEAN, GIVEN, LOSSES)
    for part in (slice(0, 2), slice(2, 2), slice(2, 5)):
        parts.update(PREDICTED[part], CLEAN[part], GIVEN[part], LOSSES[part])
    assert parts.compute() == whole.compute()


def test_of_no_wrong_label_nothing_is_said_but_their_number():
    memorization = Memorization()
    memorization.update(PREDICTED, CLEAN, CLEAN, LOSSES)
    values = memorization.compute()
    assert values["wrong_labels"].item() == 0
    assert {key for key, value in values.items() if math.isnan(value)} == {"error_wrong", "loss_wrong", "memorized"}
    assert values["error_right"].item() == pytest.approx(3 / 5)


def test_activity_is_that_of_each_group_over_all_layers():
    first, second = ActivationSparsity(num_classes=2), ActivationSparsity(num_classes=2)
    groups = torch.tensor([0, 0, 1])
    first.update(torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]]), groups)
    second.update(torch.tensor([[1.0], [0.0], [2.0]]), groups)
    assert {key: value.item() for key, value in activity_by_group({"a": first, "b": second}).items()} == {
        "active_neurons_right": 2.0,
        "active_fraction_right": pytest.approx(2 / 3),
        "active_neurons_wrong": 1.0,
        "active_fraction_wrong": pytest.approx(1 / 3),
    }


def test_a_unit_that_is_nan_leaves_no_activity_of_either_group():
    layer = ActivationSparsity(num_classes=2)
    layer.update(torch.tensor([[1.0, 0.0], [math.nan, 1.0]]), torch.tensor([0, 1]))
    assert all(value.isnan() for value in activity_by_group({"relu": layer}).values())
