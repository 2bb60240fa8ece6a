import hashlib
import struct

import numpy as np
import pytest
import torch
import torchvision

from noisereg.datasets import FashionMnist, Mnist
from noisereg.datasets.download import torchvision_dataset
from noisereg.errors import DatasetError

COUNTS = {"train": 6, "t10k": 4}


def write_idx(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    path.write_bytes(header + array.tobytes())


@pytest.fixture(params=[Mnist, FashionMnist])
def kind(request, tmp_path, monkeypatch):
    """A data set of ten images in tmp_path, with checksums of its own."""
    generator = np.random.default_rng(0)
    folder = tmp_path / request.param.folder
    for part, n in COUNTS.items():
        write_idx(folder / f"{part}-images-idx3-ubyte", generator.integers(0, 256, (n, 28, 28), dtype=np.uint8))
        write_idx(folder / f"{part}-labels-idx1-ubyte", generator.integers(0, 10, n, dtype=np.uint8))
    sums = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    monkeypatch.setattr(Mnist, "checksums", sums)
    monkeypatch.setattr(Mnist, "counts", COUNTS)
    return request.param


def set_up(kind, root, **settings):
    data = kind(root, **settings)
    data.prepare_data()
    data.setup()
    return data


def test_images_and_labels_are_those_torchvision_reads(kind, tmp_path):
    data = set_up(kind, tmp_path)
    for name, train in (("train", True), ("test", False)):
        original = torchvision_dataset(kind.original)(tmp_path, train=train)
        assert torch.equal(data.splits[name].inputs[:, 0], original.data)
        assert torch.equal(data.splits[name].labels, original.targets)


def test_batches_are_scaled_to_the_unit_interval(kind, tmp_path):
    data = set_up(kind, tmp_path)
    batch = next(iter(data.val_dataloader()[0]))
    assert torch.equal(batch["input"], data.splits["test"].inputs / 255)
    assert batch["input"].shape == (4, *data.input_shape)


def test_a_damaged_file_is_named(kind, tmp_path):
    path = tmp_path / kind.folder / "t10k-images-idx3-ubyte"
    content = bytearray(path.read_bytes())
    path.write_bytes(content[:-7])
    with pytest.raises(DatasetError, match=f"{path} has {len(content) - 7} bytes, its header promises {len(content)}"):
        set_up(kind, tmp_path)


def test_one_flipped_byte_of_mnist_is_seen(kind, tmp_path):
    path = tmp_path / kind.folder / "train-labels-idx1-ubyte"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    if kind is FashionMnist:
        assert set_up(kind, tmp_path).splits["train"].labels[-1] == content[-1]
    else:
        with pytest.raises(DatasetError, match=f"{path} is damaged"):
            set_up(kind, tmp_path)


@pytest.mark.parametrize("wrong", ["count", "shape", "label"])
def test_whole_files_of_something_else_are_refused(kind, tmp_path, monkeypatch, wrong):
    monkeypatch.setattr(Mnist, "checksums", {})
    folder = tmp_path / kind.folder
    if wrong == "label":
        write_idx(folder / "train-labels-idx1-ubyte", np.full(6, 10, dtype=np.uint8))
    else:
        shape = (5, 28, 28) if wrong == "count" else (6, 14, 56)
        write_idx(folder / "train-images-idx3-ubyte", np.zeros(shape, dtype=np.uint8))
    with pytest.raises(DatasetError, match=f"{folder}/train-.* are not 6 images of 28x28 pixels with labels 0 to 9"):
        set_up(kind, tmp_path)


def test_files_that_are_compared_with_the_originals_are_told_apart_by_their_name(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(kind, "checksums", Mnist.checksums)
    assert kind(tmp_path).fingerprint() == kind(tmp_path / "elsewhere").fingerprint() == {"name": kind.source}


def test_files_that_are_not_are_told_apart_by_what_they_hold(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(kind, "checksums", {})
    before = kind(tmp_path).fingerprint()
    assert (before["name"], before["bytes"]) == (kind.source, 10 * 28 * 28 + 10 + 2 * 16 + 2 * 8)
    write_idx(tmp_path / kind.folder / "t10k-labels-idx1-ubyte", np.zeros(4, dtype=np.uint8))
    after = kind(tmp_path).fingerprint()
    assert {key for key in before if after[key] != before[key]} == {"contents"}
    with pytest.raises(DatasetError, match=r"elsewhere/\S+ does not exist; name the folder that holds it"):
        kind(tmp_path / "elsewhere").fingerprint()


def test_a_missing_file_is_named(kind, tmp_path):
    path = tmp_path / kind.folder / "train-images-idx3-ubyte"
    path.unlink()
    with pytest.raises(
        DatasetError, match=f"{path} cannot be read .* delete {path.parent} and start again to download"
    ):
        set_up(kind, tmp_path)


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("kind", [Mnist, FashionMnist])
def test_without_files_and_network_one_line_says_so(tmp_path, capsys, kind):
    root = tmp_path / "data"
    with pytest.raises(DatasetError, match=f"{root}/{kind.folder} does not exist and the download failed .*root") as e:
        kind(root).prepare_data()
    assert "\n" not in str(e.value)
    assert not root.exists()


def test_setup_without_files_says_so(tmp_path):
    with pytest.raises(DatasetError, match=f"{tmp_path}/MNIST/raw does not exist; .* root=PATH, or call prepare"):
        Mnist(tmp_path).setup()


@pytest.mark.slow
def test_the_original_files_pass(real_data):
    data = set_up(Mnist, real_data)
    original = torchvision.datasets.MNIST(real_data)
    assert torch.equal(data.splits["train"].inputs[:, 0], original.data)
    assert torch.equal(data.splits["train"].labels, original.targets)
    assert len(data.splits["test"]) == 10_000
