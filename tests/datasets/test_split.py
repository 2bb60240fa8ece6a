import numpy as np
import pytest
import torch

from noisereg.datasets import Split


def test_split_keeps_inputs_and_labels_of_one_length():
    with pytest.raises(ValueError, match="one length, got 3 and 2"):
        Split(torch.zeros(3, 4), torch.zeros(2, dtype=torch.int64))


def test_select_gives_the_samples_in_the_order_asked_for():
    split = Split(torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([5, 6, 7]))
    chosen = split.select(torch.tensor([2, 0, 2]))
    assert chosen.inputs.tolist() == [[2.0], [0.0], [2.0]]
    assert chosen.labels.tolist() == [7, 5, 7]


def test_moving_to_where_it_is_copies_nothing():
    split = Split(torch.zeros(3, 4), torch.zeros(3, dtype=torch.int64))
    assert split.to("cpu").inputs.data_ptr() == split.inputs.data_ptr()
    assert split.to("meta").labels.device.type == "meta"


@pytest.mark.parametrize("labels", [torch.zeros(3), torch.zeros(3, dtype=torch.int32), torch.eye(3).long()])
@pytest.mark.usefixtures("unchecked")
def test_labels_are_class_indices(labels):
    with pytest.raises(ValueError, match=r"^labels must be class indices, int64 of shape \(3,\), got (float32|int)"):
        Split(torch.zeros(3, 4), labels)


@pytest.mark.usefixtures("unchecked")
def test_what_is_no_tensor_is_refused_with_the_way_to_one():
    with pytest.raises(ValueError, match=r"^inputs must be a tensor, got ndarray; torch.as_tensor makes one of it$"):
        Split(np.zeros((3, 4)), torch.zeros(3, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"^labels must be a tensor, got list"):
        Split(torch.zeros(3, 4), [0, 1, 2])


def test_complex_inputs_are_refused_as_no_network_here_takes_them():
    with pytest.raises(ValueError, match=r"^inputs must be real, got complex numbers"):
        Split(torch.zeros(3, 4, dtype=torch.complex64), torch.zeros(3, dtype=torch.int64))


@pytest.mark.parametrize(("label", "sample"), [(-1, 0), (3, 2), (255, 1)])
def test_a_label_outside_the_classes_is_named(label, sample):
    labels = torch.tensor([0, 1, 2])
    Split(torch.zeros(3), labels).check_labels(3)
    labels[sample] = label
    with pytest.raises(ValueError, match=rf"^labels must be in \[0, 3\), got {label} for sample {sample}$"):
        Split(torch.zeros(3), labels).check_labels(3)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_an_input_that_is_not_finite_is_named(value):
    inputs = torch.zeros(3, 2, 2)
    Split(inputs, torch.zeros(3, dtype=torch.int64)).check_inputs()
    inputs[2, 0, 1] = value
    with pytest.raises(ValueError, match=rf"^inputs must be finite, got {value} in sample 2$"):
        Split(inputs, torch.zeros(3, dtype=torch.int64)).check_inputs()


def test_inputs_with_a_graph_are_refused():
    split = Split(torch.zeros(3, 2, requires_grad=True), torch.zeros(3, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"^inputs must need no gradients; take inputs.detach\(\)$"):
        split.check_inputs()
