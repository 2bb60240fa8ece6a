import numpy as np
import pytest
import torch

from noisereg.datasets import DatasetError, ImageFolder


def set_up(root, **settings):
    data = ImageFolder(root, **settings)
    data.prepare_data()
    data.setup()
    return data


def test_classes_and_shape_are_known_before_any_image_is_read(tmp_path, make_tree):
    make_tree(tmp_path, ["b", "a", "c"])
    data = ImageFolder(tmp_path, image_size=16)
    assert data.classes == ("a", "b", "c")
    assert (data.num_classes, data.input_shape) == (3, (3, 16, 16))
    assert data.splits == {}


def test_images_of_the_right_size_are_kept_pixel_by_pixel(tmp_path, make_tree):
    pixels = make_tree(tmp_path, ["a", "b"])
    train = set_up(tmp_path, image_size=32).splits["train"]
    expected = np.concatenate([pixels["train", "a"], pixels["train", "b"]]).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(train.inputs.numpy(), expected)
    assert train.labels.tolist() == [0, 0, 1, 1]


def test_images_are_decoded_once_for_each_size(tmp_path, make_tree, cache):
    make_tree(tmp_path, ["a"])
    for image_size in (8, 8, 12):
        assert set_up(tmp_path, image_size=image_size).splits["train"].inputs.shape[2:] == (image_size, image_size)
    assert len(list(cache.iterdir())) == 2


def test_standard_normalisation_measures_the_training_images(tmp_path, make_tree):
    make_tree(tmp_path, ["a", "b"], per_class=5)
    data = set_up(tmp_path, image_size=32, normalize="standard")
    inputs = next(iter(data.val_dataloader()[1]))["input"]
    torch.testing.assert_close(inputs.mean(dim=(0, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(inputs.std(dim=(0, 2, 3), correction=0), torch.ones(3), atol=1e-4, rtol=0)


def test_a_missing_root_is_named(tmp_path):
    with pytest.raises(DatasetError, match=f"{tmp_path}/none/train cannot be read .* dataset.root=PATH"):
        ImageFolder(tmp_path / "none")


def test_a_root_without_classes_is_refused(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "test").mkdir()
    with pytest.raises(DatasetError, match=f"{tmp_path}/train has no class folders"):
        ImageFolder(tmp_path)


def test_training_and_test_classes_must_agree(tmp_path, make_tree):
    make_tree(tmp_path, ["a", "b"])
    (tmp_path / "test" / "c").mkdir()
    with pytest.raises(DatasetError, match="must have the same classes, differ in c"):
        ImageFolder(tmp_path)


def test_image_size_must_be_positive(tmp_path):
    with pytest.raises(ValueError, match=r"dataset.image_size must be a positive whole number, got 0"):
        ImageFolder(tmp_path, image_size=0)
