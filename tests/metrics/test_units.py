import pytest
import torch
from torch import nn
from torch.nn import functional

from noisereg.metrics.units import Layouts, find_batch_first, split_rows, spread_labels, spread_mask


def test_the_last_layer_with_weights_of_a_shape_says_where_its_features_are():
    layouts = Layouts()
    layouts.note(functional.conv2d, torch.zeros(2, 8, 5, 5))
    layouts.note(functional.linear, torch.zeros(2, 8))  # as of a squeeze: it has no places
    layouts.note(functional.relu, torch.zeros(9, 9, 9, 9))  # has no weights
    assert not layouts.features_last(torch.zeros(2, 8, 5, 5))
    assert not layouts.features_last(torch.zeros(2, 8, 2, 2))  # after a pooling
    layouts.note(functional.linear, torch.zeros(2, 5, 5, 32))
    assert layouts.features_last(torch.zeros(2, 5, 5, 32)) and not layouts.features_last(torch.zeros(2, 8, 5, 5))


@pytest.mark.parametrize(("shape", "last"), [((2, 3), True), ((2, 3, 4), True), ((2, 3, 4, 5), False)])
def test_without_such_a_layer_three_axes_are_those_of_tokens_and_more_are_those_of_images(shape, last):
    assert Layouts().features_last(torch.zeros(shape)) is last


@pytest.mark.parametrize(
    ("shape", "how", "found"),
    [
        ((6, 5), (True, None, True), ((6, 5), (6,))),
        ((6,), (True, None, True), ((6,), (6,))),
        ((6, 7, 5), (True, None, True), ((42, 5), (6, 7))),
        ((6, 7, 5), (True, "positions", True), ((6, 7, 5), (6,))),
        ((6, 7, 5), (True, "positions", False), ((7, 6, 5), (7,))),
        ((6, 7, 5), (False, None, True), ((6, 7, 5), (6,))),
        ((6, 7, 5), (False, "features", True), ((30, 7), (6, 5))),
        ((6, 2, 3, 5), (False, None, True), ((6, 2, 3, 5), (6,))),
        ((6, 2, 3, 5), (True, None, True), ((36, 5), (6, 2, 3))),
        ((6, 2, 3, 5), (True, "positions", True), ((6, 5, 2, 3), (6,))),
    ],
)
def test_rows_are_samples_or_tokens_and_units_are_what_is_left(shape, how, found):
    last, units, batch_first = how
    rows, lead = split_rows(torch.zeros(shape), features_last=last, units=units, batch_first=batch_first)
    assert (tuple(rows.shape), tuple(lead)) == found


@pytest.mark.parametrize(
    ("lead", "batch_first", "expected"),
    [
        ((2,), True, [3, 4]),
        ((2, 3), True, [3, 3, 3, 4, 4, 4]),
        ((3, 2), True, [3, 4, 3, 4, 3, 4]),  # only the second axis can be the batch
        ((2, 2), True, [3, 3, 4, 4]),
        ((2, 2), False, [3, 4, 3, 4]),
        ((6,), True, [3, 3, 3, 4, 4, 4]),
        ((6,), False, [3, 4, 3, 4, 3, 4]),
        ((4, 3), True, [3] * 6 + [4] * 6),  # two windows a sample
    ],
)
def test_a_label_of_a_sample_is_that_of_all_its_rows(lead, batch_first, expected):
    labels = torch.tensor([3, 4])
    assert spread_labels(labels, torch.Size(lead), batch_first=batch_first, is_named=False).tolist() == expected


def test_a_mask_is_by_batch_and_token_whatever_the_network_has_first():
    mask = torch.tensor([[True, True], [True, False]])
    assert spread_mask(mask, torch.Size([2, 2]), batch_first=True).tolist() == [True, True, True, False]
    assert spread_mask(mask, torch.Size([4]), batch_first=True).tolist() == [True, True, True, False]
    assert spread_mask(torch.tensor([True, False]), torch.Size([2, 2]), batch_first=False).tolist() == [True, False] * 2
    assert spread_mask(mask, torch.Size([2]), batch_first=True) is None  # one row a sample
    with pytest.raises(ValueError, match="mask must be one a token"):
        spread_mask(mask, torch.Size([2, 3]), batch_first=True)


def test_the_layout_is_that_of_the_attention_in_a_module():
    assert find_batch_first(nn.TransformerEncoderLayer(4, 1, batch_first=True)) is True
    assert find_batch_first(nn.ModuleList([nn.LSTM(2, 2)])) is False
    assert find_batch_first(nn.Sequential(nn.Linear(1, 1))) is None
