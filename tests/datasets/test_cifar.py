import gzip
import hashlib
import pickle
import tarfile

import numpy as np
import pytest
import torch
import torchvision

from noisereg.datasets import Cifar10, Cifar100
from noisereg.errors import DatasetError

FILES = [f"data_batch_{i}" for i in range(1, 6)]


def set_up(kind, root, **settings):
    data = kind(root, **settings)
    data.prepare_data()
    data.setup()
    return data


def pack(root, path):
    with tarfile.open(path, "w:gz") as archive:
        archive.add(root / "cifar10", "cifar10")


def expected_pixels(pixels, split):
    return np.concatenate([pixels[split, label] for label in Cifar10.classes]).transpose(0, 3, 1, 2)


@pytest.fixture
def small(monkeypatch):
    """CIFAR-10 with two images a class."""
    monkeypatch.setattr(Cifar10, "counts", {"train": 20, "test": 20})


@pytest.fixture
def tree(small, tmp_path, make_tree):
    return make_tree(tmp_path / "cifar10", Cifar10.classes)


@pytest.fixture
def archive(tree, tmp_path):
    root = tmp_path / "packed"
    root.mkdir()
    pack(tmp_path, root / "cifar10.tgz")
    return root / "cifar10.tgz"


@pytest.fixture
def original(tmp_path, monkeypatch):
    """Files in torchvision's format, three images each, and their pixels."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    generator = np.random.default_rng(0)
    data = {name: generator.integers(0, 256, (3, 3072), dtype=np.uint8) for name in [*FILES, "test_batch"]}
    for name, pixels in data.items():
        (folder / name).write_bytes(pickle.dumps({"data": pixels, "labels": [0, 9, 3]}))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list(Cifar10.classes)}))
    sums = {path.name: hashlib.md5(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    kind = torchvision.datasets.CIFAR10
    monkeypatch.setattr(kind, "train_list", [[name, sums[name]] for name in FILES])
    monkeypatch.setattr(kind, "test_list", [["test_batch", sums["test_batch"]]])
    monkeypatch.setattr(kind, "meta", {"filename": "batches.meta", "key": "label_names", "md5": sums["batches.meta"]})
    return {name: pixels.reshape(3, 3, 32, 32) for name, pixels in data.items()}


def test_torchvision_files_are_read_as_they_are(original, tmp_path):
    data = set_up(Cifar10, tmp_path)
    train, test = data.splits["train"], data.splits["test"]
    np.testing.assert_array_equal(train.inputs.numpy(), np.concatenate([original[name] for name in FILES]))
    np.testing.assert_array_equal(test.inputs.numpy(), original["test_batch"])
    assert test.labels.tolist() == [0, 9, 3]
    assert data.source == "CIFAR-10"


def test_a_damaged_torchvision_file_is_named(original, tmp_path):
    path = tmp_path / "cifar-10-batches-py" / "data_batch_3"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DatasetError, match=f"{path} is missing or damaged .* delete {path.parent} and start again"):
        set_up(Cifar10, tmp_path)


def test_a_tree_is_read_in_the_order_of_its_classes(tree, tmp_path):
    data = set_up(Cifar10, tmp_path)
    for split in ("train", "test"):
        np.testing.assert_array_equal(data.splits[split].inputs.numpy(), expected_pixels(tree, split))
        assert data.splits[split].labels.tolist() == [label for label in range(10) for _ in range(2)]
    assert data.source == "CIFAR-10 (PNG)"


def test_an_archive_holds_the_same_and_is_not_extracted(tree, archive):
    data = set_up(Cifar10, archive.parent)
    np.testing.assert_array_equal(data.splits["train"].inputs.numpy(), expected_pixels(tree, "train"))
    assert list(archive.parent.iterdir()) == [archive]


def test_the_second_start_takes_the_pixels_from_the_cache(archive, monkeypatch):
    first = set_up(Cifar10, archive.parent)
    monkeypatch.setattr("noisereg.datasets.image_files.open_image", None)
    second = set_up(Cifar10, archive.parent)
    assert torch.equal(first.splits["train"].inputs, second.splits["train"].inputs)
    assert second.source == first.source == "CIFAR-10 (PNG)"


def test_a_source_that_changed_is_decoded_anew(tree, tmp_path, make_tree, cache):
    set_up(Cifar10, tmp_path)
    path = tmp_path / "cifar10/train/cat/0000.png"
    path.write_bytes((tmp_path / "cifar10/train/dog/0000.png").read_bytes())
    changed = set_up(Cifar10, tmp_path).splits["train"].inputs
    np.testing.assert_array_equal(changed[6].numpy(), tree["train", "dog"][0].transpose(2, 0, 1))


def test_training_batches_are_augmented_and_evaluation_is_not(tree, tmp_path):
    data = set_up(Cifar10, tmp_path, normalize="unit")
    batch = next(iter(data.train_dataloader()))
    assert batch["input"].shape == (20, 3, 32, 32)
    assert not torch.equal(batch["input"], data.splits["train"].inputs[batch["index"]] / 255)
    plain = next(iter(data.val_dataloader()[1]))
    assert torch.equal(plain["input"], data.splits["train"].inputs / 255)


def test_defaults_are_those_of_the_usual_recipe():
    data = Cifar10()
    assert (data.batch_size, data.train_eval_size, data.normalize, data.augment) == (128, 10_000, "imagenet", True)
    assert (data.order, data.eval_splits, data.input_shape) == ("shuffle", ("test", "train"), (3, 32, 32))
    assert Cifar10(batch_size=7).batch_size == 7


@pytest.mark.parametrize("kind", [Cifar10, Cifar100])
def test_classes_are_in_sorted_order(kind):
    assert len(set(kind.classes)) == kind.num_classes
    assert list(kind.classes) == sorted(kind.classes)


def test_a_missing_image_is_counted(tree, tmp_path):
    (tmp_path / "cifar10/test/cat/0001.png").unlink()
    with pytest.raises(DatasetError, match=f"{tmp_path}/cifar10/test has 19 images, CIFAR-10 has 20; put a whole copy"):
        set_up(Cifar10, tmp_path)


def test_a_class_too_many_or_too_few_is_named(tree, tmp_path):
    (tmp_path / "cifar10/train/cat").rename(tmp_path / "cifar10/train/lion")
    with pytest.raises(
        DatasetError, match=r"cifar10/train has classes missing or too many: cat, lion; put a whole copy"
    ):
        set_up(Cifar10, tmp_path)


def test_an_image_that_does_not_decode_is_named_inside_the_archive(tree, tmp_path):
    (tmp_path / "cifar10/train/cat/0001.png").write_bytes(b"no image")
    pack(tmp_path, tmp_path / "cifar10.tgz")
    (tmp_path / "cifar10").rename(tmp_path / "elsewhere")
    with pytest.raises(DatasetError, match=f"{tmp_path}/cifar10.tgz/train/cat/0001.png cannot be read"):
        set_up(Cifar10, tmp_path)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda content: content[: len(content) // 2], "is cut short or damaged"),
        (lambda content: content[:-4], "is cut short or damaged"),
        (lambda content: b"", "is cut short or damaged"),
        (lambda content: b"<html>not found</html>", "is damaged or no .tgz"),
        (lambda content: content[:-8] + bytes(4) + content[-4:], "is damaged or no .tgz"),
        (lambda content: gzip.compress(b"not a tar" * 100), "is cut short or damaged"),
    ],
    ids=["half", "tail", "empty", "page", "sum", "no tar"],
)
def test_a_broken_archive_is_named(archive, damage, words):
    archive.write_bytes(damage(archive.read_bytes()))
    with pytest.raises(DatasetError, match=f"{archive} ({words}) .*; copy it again, or delete it and start again"):
        set_up(Cifar10, archive.parent)


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("kind", [Cifar10, Cifar100])
def test_without_files_and_network_one_line_says_so(tmp_path, kind):
    root = tmp_path / "data"
    with pytest.raises(
        DatasetError, match=f"{root}/cifar-.* does not exist and the download failed .*dataset.root"
    ) as e:
        kind(root).prepare_data()
    assert "\n" not in str(e.value)
    assert not root.exists()


def test_setup_without_files_says_what_it_looked_for(tmp_path):
    with pytest.raises(
        DatasetError, match=r"has none of cifar-10-batches-py, cifar10, cifar10.tgz; .* dataset.root=PATH"
    ):
        Cifar10(tmp_path).setup()


@pytest.mark.slow
def test_the_archive_of_real_images_decodes(real_data):
    data = set_up(Cifar10, real_data)
    assert data.source == "CIFAR-10 (JPEG)"
    assert torch.equal(torch.bincount(data.splits["train"].labels), torch.full((10,), 5000))
    mean = data.splits["train"].inputs.float().mean(dim=(0, 2, 3)) / 255
    torch.testing.assert_close(mean, torch.tensor(Cifar10.statistics.mean), atol=2e-3, rtol=0)
