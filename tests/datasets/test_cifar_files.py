"""Files of CIFAR from a stranger: what they hold is read, and never run."""

import hashlib
import io
import os
import pickle
import struct
import tarfile

import numpy as np
import pytest
import torchvision

from noisereg.datasets import Cifar10
from noisereg.datasets.cifar_files import fetch, read_batch, unpack
from noisereg.errors import DatasetError

NAMES = ("data_batch_1", "test_batch")


class Attack:
    """A pickle that writes a file when it is loaded."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


def as_published(pixels, labels):
    """A batch as the authors' Python 2 wrote it: byte strings, and the array's module of that time."""
    n, width = pixels.shape
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    dtype = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    state = b"(K\x01K" + bytes([n]) + b"M" + struct.pack("<H", width) + b"\x86" + dtype + b"\x89"
    data = b"T" + struct.pack("<I", pixels.size) + pixels.tobytes() + b"tb"
    listed = b"".join(b"K" + bytes([label]) for label in labels)
    return b"\x80\x02}(U\x04data" + array + state + data + b"U\x06labels](" + listed + b"eu."


def read(path, content):
    path.write_bytes(content)
    return read_batch(path, md5=hashlib.md5(content).hexdigest())


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (3, 3072), dtype=np.uint8)


def test_a_file_of_the_authors_is_read_as_an_ordinary_unpickler_reads_it(tmp_path, pixels):
    content = as_published(pixels, [0, 9, 3])
    expected = pickle.loads(content, encoding="latin1")
    np.testing.assert_array_equal(expected["data"], pixels)
    images, labels = read(tmp_path / "batch", content)
    np.testing.assert_array_equal(images, pixels.reshape(3, 3, 32, 32))
    assert labels == expected["labels"] == [0, 9, 3]


def test_the_attack_of_these_tests_runs_in_an_ordinary_unpickler(tmp_path):
    pickle.loads(pickle.dumps(Attack(tmp_path / "ran")))
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "attack",
    [
        lambda marker, pixels: pickle.dumps(Attack(marker)),
        lambda marker, pixels: pickle.dumps({"data": pixels, "labels": [0, 1, Attack(marker)]}),
        lambda marker, pixels: pickle.dumps({"data": np.array([Attack(marker)], dtype=object), "labels": [0]}),
        lambda marker, pixels: f"cos\nsystem\n(S'touch {marker}'\ntR.".encode(),
        lambda marker, pixels: f"cnumpy\nos.system\n(S'touch {marker}'\ntR.".encode(),
        lambda marker, pixels: f"\x80\x04\x8c\x05numpy\x8c\x04load\x93\x8c\x05{'x' * 5}\x85R.".encode("latin1"),
        lambda marker, pixels: f"c__builtin__\neval\n(S'open({str(marker)!r}, chr(119))'\ntR.".encode(),
    ],
    ids=["itself", "a label", "an object array", "by hand", "through numpy", "numpy.load", "eval"],
)
def test_what_a_pickle_would_run_is_refused(attack, tmp_path, pixels):
    marker = tmp_path / "ran"
    with pytest.raises(DatasetError, match=r"does not hold images and labels \(it names .*, which is no array\)"):
        read(tmp_path / "batch", attack(marker, pixels))
    assert not marker.exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"no pickle", pickle.dumps([1, 2]), pickle.dumps({"data": 3, "labels": [1]}), pickle.dumps({"labels": [1]})],
)
def test_another_content_is_refused(content, tmp_path):
    with pytest.raises(DatasetError, match=f"{tmp_path}/batch does not hold images and labels .*; delete {tmp_path}"):
        read(tmp_path / "batch", content)


def test_a_file_is_not_even_read_if_its_sum_is_another(tmp_path):
    (tmp_path / "batch").write_bytes(pickle.dumps(Attack(tmp_path / "ran")))
    with pytest.raises(DatasetError, match=f"{tmp_path}/batch is missing or damaged .its md5 is not the original's."):
        read_batch(tmp_path / "batch", md5="0" * 32)
    with pytest.raises(DatasetError, match=f"{tmp_path}/none is missing or damaged"):
        read_batch(tmp_path / "none", md5="0" * 32)


def pack(path, *members):
    with tarfile.open(path, "w:gz") as archive:
        for name, kind, content in members:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, content if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE) else ""
            member.size = len(content) if kind == tarfile.REGTYPE else 0
            archive.addfile(member, io.BytesIO(content) if kind == tarfile.REGTYPE else None)


def test_members_that_lead_elsewhere_are_not_unpacked(tmp_path):
    outside = tmp_path / "outside"
    outside.write_text("mine")
    file, link, hard = tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE
    pack(
        tmp_path / "a.tgz",
        ("batches/data_batch_1", file, b"good"),
        ("../evil", file, b"x"),
        ("batches/../../evil", file, b"x"),
        (str(tmp_path / "evil"), file, b"x"),
        ("batches/more/data_batch_1", file, b"x"),
        ("batches/unknown", file, b"x"),
        ("batches/test_batch", link, str(outside)),
        ("batches/test_batch", hard, "../outside"),
        ("batches/test_batch", tarfile.CHRTYPE, ""),
        ("batches/test_batch", tarfile.FIFOTYPE, ""),
    )
    (tmp_path / "to").mkdir()
    unpack(tmp_path / "a.tgz", tmp_path / "to" / "batches", NAMES)
    written = [str(path.relative_to(tmp_path)) for path in sorted((tmp_path / "to").rglob("*"))]
    assert written == ["to/batches", "to/batches/data_batch_1"]
    assert (tmp_path / "to/batches/data_batch_1").read_bytes() == b"good"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tgz", "outside", "to"]


@pytest.fixture
def server(tmp_path, monkeypatch, pixels):
    """A download that gives an archive of this test's own, and the folder it lies in."""
    kind, folder = torchvision.datasets.CIFAR10, tmp_path / "server"
    folder.mkdir()
    content = as_published(pixels, [0, 9, 3])
    files = [*(name for name, _ in (*kind.train_list, *kind.test_list)), "batches.meta"]
    pack(folder / kind.filename, *((f"{kind.base_folder}/{name}", tarfile.REGTYPE, content) for name in files))
    md5 = hashlib.md5(content).hexdigest()
    for name in ("train_list", "test_list"):
        monkeypatch.setattr(kind, name, [[file, md5] for file, _ in getattr(kind, name)])
    monkeypatch.setattr(
        "noisereg.datasets.cifar_files.download_url",
        lambda url, root, name: (root / name).write_bytes((folder / name).read_bytes()),
    )
    return folder / kind.filename


def test_a_download_with_the_right_sum_is_unpacked_and_read(server, tmp_path, monkeypatch, pixels):
    monkeypatch.setattr(Cifar10, "sha256", hashlib.sha256(server.read_bytes()).hexdigest())
    data = Cifar10(tmp_path / "data")
    data.prepare_data()
    data.setup()
    assert len(data.splits["train"]) == 15
    np.testing.assert_array_equal(data.splits["test"].inputs.numpy(), pixels.reshape(3, 3, 32, 32))
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["cifar-10-batches-py"]


def test_a_download_with_another_sum_is_not_unpacked(server, tmp_path):
    with pytest.raises(DatasetError, match=r"cifar-10-python.tar.gz is not the original: its sha256 is .*, not 6d958b"):
        Cifar10(tmp_path / "data").prepare_data()
    assert not (tmp_path / "data").exists()


def test_fetch_leaves_no_archive_behind(server, tmp_path):
    (tmp_path / "to").mkdir()
    fetch(torchvision.datasets.CIFAR10, tmp_path / "to", sha256=hashlib.sha256(server.read_bytes()).hexdigest())
    assert [path.name for path in (tmp_path / "to").iterdir()] == ["cifar-10-batches-py"]
