import numpy as np
import pytest
import torch

from noisereg.models.vector import ToVector


def test_images_become_vectors_in_row_major_order():
    images = torch.arange(2 * 3 * 4 * 5.0).view(2, 3, 4, 5)
    vector = ToVector((3, 4, 5))
    np.testing.assert_array_equal(vector(images), images.numpy().reshape(2, 60))
    assert vector.num_features == 60


def test_an_appended_one_stands_last():
    inputs = torch.tensor([[2.0, 3.0], [4.0, 5.0]])
    vector = ToVector((2,), append_one=True)
    assert vector(inputs).tolist() == [[2, 3, 1], [4, 5, 1]]
    assert vector.num_features == 3


@pytest.mark.parametrize("shape", [(), (0,), (3, -1, 4)])
def test_an_empty_shape_is_refused(shape):
    with pytest.raises(ValueError, match="input_shape must hold sizes of at least 1"):
        ToVector(shape)


def test_the_printed_model_names_the_setting():
    assert repr(ToVector((2,), append_one=True)) == "ToVector(append_one=True)"
