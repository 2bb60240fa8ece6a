import os

import numpy as np
import pytest
from PIL import Image

from noisereg.datasets.image_files import decode_images, list_subfolders, list_tree, list_tree_files, tree_identity
from noisereg.errors import DatasetError


def load(root, classes, **settings):
    return decode_images(list_tree_files(root), classes, where=root, **{"size": 32, "resize": False, **settings})


def test_pixels_and_labels_are_those_of_the_files_in_order(tmp_path, make_tree):
    pixels = make_tree(tmp_path, ["a", "b"], per_class=3)
    arrays = load(tmp_path, ("a", "b"))
    for split in ("train", "test"):
        expected = np.concatenate([pixels[split, "a"], pixels[split, "b"]])
        np.testing.assert_array_equal(arrays[f"{split}_images"], expected)
        assert arrays[f"{split}_labels"].tolist() == [0, 0, 0, 1, 1, 1]
    assert arrays["formats"].tolist() == ["PNG"]


def test_gray_images_become_three_equal_channels(tmp_path, make_tree):
    make_tree(tmp_path, ["a"], per_class=1)
    Image.fromarray(np.full((32, 32), 7, dtype=np.uint8)).save(tmp_path / "train/a/0000.png")
    np.testing.assert_array_equal(load(tmp_path, ("a",))["train_images"], np.full((1, 32, 32, 3), 7))


def test_files_that_are_no_images_by_name_are_passed_over(tmp_path, make_tree):
    make_tree(tmp_path, ["a"])
    (tmp_path / "train/a/notes.txt").write_text("mine")
    (tmp_path / "train/.hidden").mkdir()
    assert len(load(tmp_path, ("a",))["train_images"]) == 2


def test_an_image_of_another_size_is_scaled_to_cover_and_cropped_about_its_centre(tmp_path, make_tree):
    make_tree(tmp_path, ["a"], per_class=1)
    wide = np.zeros((64, 192, 3), dtype=np.uint8)
    wide[:, 64:128] = 200  # the middle third is what is left
    Image.fromarray(wide).save(tmp_path / "train/a/0000.png")
    image = load(tmp_path, ("a",), resize=True)["train_images"][0]
    assert (image[:, 2:-2] == 200).all()


def test_an_image_of_another_size_is_refused_where_the_size_is_known(tmp_path, make_tree):
    make_tree(tmp_path, ["a"], size=(16, 8))
    with pytest.raises(DatasetError, match=f"{tmp_path}/train/a/0000.png is 16x8 pixels, not 32x32; put the original"):
        load(tmp_path, ("a",))


@pytest.mark.parametrize("content", [b"", b"not an image", None])
def test_an_image_that_does_not_decode_is_named(tmp_path, make_tree, content):
    make_tree(tmp_path, ["a"], suffix="jpg")
    path = tmp_path / "test/a/0001.jpg"
    path.write_bytes(path.read_bytes()[:600] if content is None else content)
    with pytest.raises(
        DatasetError, match=rf"{path} cannot be read \(it does not decode as an image\); put a whole copy"
    ):
        load(tmp_path, ("a",))


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(DatasetError, match=rf"{tmp_path}/none cannot be read \(No such file .* root=PATH"):
        list_subfolders(tmp_path / "none")


def test_a_folder_without_permission_is_named(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("os.listdir", refuse)
    with pytest.raises(DatasetError, match=rf"{tmp_path} cannot be read \(Permission denied\)"):
        list_subfolders(tmp_path)


def test_the_identity_of_a_tree_changes_with_its_files(tmp_path, make_tree):
    make_tree(tmp_path, ["a"])
    before = tree_identity(tmp_path)
    assert tree_identity(tmp_path) == before
    (tmp_path / "train/a/0001.png").rename(tmp_path / "gone")
    (tmp_path / "gone").unlink()
    assert tree_identity(tmp_path) != before


def test_the_list_of_a_tree_holds_training_images_first_in_the_order_of_their_classes(tmp_path, make_tree):
    make_tree(tmp_path, ["b", "a"], per_class=1)
    (tmp_path / "test/b/0000.png").rename(tmp_path / os.fsdecode(b"test/b/caf\xe9.png"))
    (tmp_path / "test/b/notes.txt").write_text("mine")
    names, labels, num_train = list_tree(tmp_path, ("a", "b"))
    assert names.tolist() == [b"train/a/0000.png", b"train/b/0000.png", b"test/a/0000.png", b"test/b/caf\xe9.png"]
    assert (labels.tolist(), num_train) == ([0, 1, 0, 1], 2)
