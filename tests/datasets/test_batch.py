from types import SimpleNamespace

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from noisereg.datasets.batch import FORM, describe_batch, inputs_of, labels_of, split_names

INPUTS, LABELS = torch.arange(6.0).view(3, 2), torch.tensor([0, 2, 1])


@pytest.mark.parametrize("batch", [{"input": INPUTS, "label": LABELS}, [INPUTS, LABELS], (INPUTS, LABELS, LABELS)])
def test_inputs_and_labels_are_found_in_every_form(batch):
    assert inputs_of(batch) is INPUTS
    assert labels_of(batch) is LABELS


def test_the_batch_of_torchs_default_collate_is_one_of_them():
    (batch,) = DataLoader(TensorDataset(INPUTS, LABELS), batch_size=3)
    assert torch.equal(inputs_of(batch), INPUTS) and torch.equal(labels_of(batch), LABELS)


@pytest.mark.parametrize(
    "batch",
    [
        INPUTS,
        [INPUTS],
        {"input": INPUTS},
        [INPUTS, [0, 2, 1]],
        [INPUTS, LABELS.float()],
        [INPUTS, LABELS.int()],
        [INPUTS, LABELS[:, None]],
        {"input": INPUTS, "label": "cat"},
    ],
    ids=str,
)
def test_what_is_no_int64_vector_is_no_labels(batch):
    assert labels_of(batch) is None
    assert inputs_of(batch) is INPUTS


def test_a_dict_without_input_is_refused_with_what_it_holds():
    with pytest.raises(
        ValueError, match=f"batches must be {FORM}, got a dict with 'image', 'label'".replace("[", r"\[")
    ):
        inputs_of({"image": INPUTS, "label": LABELS})


def test_a_batch_is_described_by_its_type_and_keys():
    assert describe_batch(INPUTS) == "a Tensor"
    assert describe_batch({"x": 1, 2: 3}) == "a dict with 'x', 2"


def test_splits_have_the_names_of_the_datamodule_and_then_numbers():
    data = SimpleNamespace(eval_splits=("test", "train"))
    assert split_names(data, default="val", num_loaders=1) == ["test"]
    assert split_names(data, default="val", num_loaders=4) == ["test", "train", "val3", "val4"]
    assert split_names(None, default="test", num_loaders=2) == ["test", "test2"]
