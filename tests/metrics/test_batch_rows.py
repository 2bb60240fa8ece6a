import pytest
import torch

from noisereg.metrics.batch_rows import BatchRows


def rows_of(**arguments):
    asked = {"units": None, "batch_first": None, "ignore_index": -100, "has_classes": True, "has_tokens_first": False}
    return BatchRows(**{**asked, **arguments})


def test_a_token_counts_if_the_mask_and_its_label_say_so():
    rows = rows_of()
    rows.start(torch.tensor([[3, 4], [-100, 5]]), torch.tensor([[1, 0], [1, 1]]))
    outputs = torch.arange(4.0).view(2, 2, 1)
    units, labels = rows.split("relu", outputs, features_last=True, batch_first=None)
    assert units.flatten().tolist() == [0, 3]
    assert labels.tolist() == [3, 5]


def test_labels_of_samples_are_not_laid_over_rows_that_have_no_classes():
    rows = rows_of(has_classes=False)
    rows.start(torch.tensor([3, -100]), None)
    units, labels = rows.split("relu", torch.ones(2, 5), features_last=True, batch_first=None)
    assert len(units) == 2
    assert labels is None


def test_two_ways_in_which_labels_fit_are_an_error_until_the_sizes_have_shown_which_it_is():
    rows, square = rows_of(has_tokens_first=True), torch.ones(2, 2, 5)
    rows.start(torch.tensor([3, 4]), None)
    with pytest.raises(ValueError, match=r"fit activations \(2, 2\) in two ways"):
        rows.split("relu", square, features_last=True, batch_first=None)
    rows.split("relu", torch.ones(7, 2, 5), features_last=True, batch_first=None)
    _, labels = rows.split("relu", square, features_last=True, batch_first=None)
    assert labels.tolist() == [3, 4, 3, 4]
    rows.forget()
    with pytest.raises(ValueError, match="in two ways"):
        rows.split("relu", square, features_last=True, batch_first=None)
