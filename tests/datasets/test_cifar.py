import gzip
import hashlib
import io
import os
import pickle
import struct
import tarfile
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from noisereg.datasets import Cifar10, Cifar100
from noisereg.datasets.cifar import fetch_archive, read_batch, unpack_files
from noisereg.datasets.image_files import list_archive_files
from noisereg.errors import DatasetError
from noisereg.noise import FileLabels

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


COLUMNS = ("clean_label", "aggre_label", "worse_label", "random_label1", "random_label2", "random_label3")


def write_cifar_n(path):
    """Write labels as the authors of CIFAR-10N publish them: arrays by name, saved by a torch beside numpy 1.

    Label i of column k is that of image i in the order of CIFAR's files, k further on for every fifth image.
    """
    clean = np.array([0, 9, 3] * len(FILES))
    wrong = np.arange(len(clean)) % 5 == 0
    columns = {name: np.where(wrong, (clean + k) % 10, clean) for k, name in enumerate(COLUMNS)}
    torch.save(columns, path)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    assert any(b"numpy._core" in content for content in parts.values())
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content.replace(b"numpy._core", b"numpy.core"))
    return columns


@pytest.mark.parametrize("column", COLUMNS[1:])
def test_labels_as_those_of_cifar_n_go_by_the_order_of_the_original_files(column, original, tmp_path):
    columns = write_cifar_n(tmp_path / "CIFAR-10_human.pt")
    samples = set_up(Cifar10, tmp_path, val_size=4).training_samples()
    rule = FileLabels(p=1.0, path=str(tmp_path / "CIFAR-10_human.pt"), column=column)
    found = rule.of(samples, num_classes=10)
    assert found.clean_column == "clean_label"
    assert found.assigned.labels.tolist() == columns[column][samples.trained].tolist()
    assert found.assigned.counts.diagonal().sum() == 15 - 3


def test_labels_as_those_of_cifar_n_are_refused_in_another_order_and_without_a_column(original, tmp_path):
    columns = write_cifar_n(tmp_path / "CIFAR-10_human.pt")
    samples = set_up(Cifar10, tmp_path).training_samples()
    by_class = replace(samples, labels=samples.labels.sort().values)  # the order of folders of classes
    rule = FileLabels(p=1.0, path=str(tmp_path / "CIFAR-10_human.pt"), column="aggre_label")
    with pytest.raises(ValueError, match=r"clean labels in clean_label are not those of .* in another order"):
        rule.of(by_class, num_classes=10)
    with pytest.raises(
        ValueError, match=r"column must name the labels in .*, which has the columns aggre_label, worse"
    ):
        replace(rule, column=None).of(samples, num_classes=10)
    with pytest.raises(ValueError, match=r"column=worst_label: .* did you mean worse_label"):
        replace(rule, column="worst_label").of(samples, num_classes=10)
    np.save(tmp_path / "CIFAR-10_human_ordered.npy", np.array(columns, dtype=object))
    with pytest.raises(ValueError, match=r"cannot be read as labels .*allow_pickle=False"):
        replace(rule, path=str(tmp_path / "CIFAR-10_human_ordered.npy")).of(samples, num_classes=10)


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


def test_deep_turned_and_foreign_files_in_an_archive_are_read_as_in_a_tree(tree, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 3  # half a turn
    stored = np.arange(1024, dtype=np.uint16).reshape(32, 32) * 64
    path = tmp_path / "cifar10/train/airplane/0000.png"
    Image.fromarray(stored).save(path, exif=exif)
    (path.parent / "._0000.png").write_bytes(b"\0\x05\x16\x07")
    packed = tmp_path / "packed"
    packed.mkdir()
    pack(tmp_path, packed / "cifar10.tgz")
    expected = np.round(stored[::-1, ::-1] / 257)
    for root in (tmp_path, packed):
        train = set_up(Cifar10, root).splits["train"]
        assert len(train) == 20
        np.testing.assert_array_equal(train.inputs[0].numpy(), np.stack([expected] * 3))


def test_samples_of_a_tree_and_an_archive_have_the_names_of_their_files_in_the_order_of_their_numbers(tree, archive):
    expected = [f"{label}/{number:04}.png" for label in Cifar10.classes for number in range(2)]
    for root in (archive.parent.parent, archive.parent):
        data = set_up(Cifar10, root, train_size=5)
        samples = data.training_samples()
        assert samples.names == expected
        for row, inputs in zip(samples.trained.tolist(), data.splits["train"].inputs.numpy(), strict=True):
            label, _, number = samples.names[row].removesuffix(".png").partition("/")
            np.testing.assert_array_equal(inputs, tree["train", label][int(number)].transpose(2, 0, 1))


def test_arrays_that_another_decoder_cached_are_not_used(archive, cache, monkeypatch):
    set_up(Cifar10, archive.parent)
    monkeypatch.setattr("noisereg.datasets.cifar.DECODING", 1)
    set_up(Cifar10, archive.parent)
    assert len(list(cache.iterdir())) == 2


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


def test_files_of_the_authors_are_told_apart_by_their_name(original, tmp_path):
    assert Cifar10(tmp_path).fingerprint() == Cifar10(tmp_path / "elsewhere").fingerprint() == {"name": "CIFAR-10"}
    assert Cifar100(tmp_path).fingerprint() == {"name": "CIFAR-100"}


def test_a_tree_and_an_archive_are_told_apart_by_their_files(tree, archive, tmp_path, make_tree):
    before = {root: Cifar10(root).fingerprint() for root in (tmp_path, archive.parent)}
    assert all(found["name"] == "CIFAR-10" for found in before.values())
    Image.new("RGB", (32, 32)).save(tmp_path / "cifar10" / "train" / "cat" / "0000.png")
    pack(tmp_path, archive)
    for root, found in before.items():
        assert Cifar10(root).fingerprint() != found


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
    with pytest.raises(DatasetError, match=f"{root}/cifar-.* does not exist and the download failed .*root") as e:
        kind(root).prepare_data()
    assert "\n" not in str(e.value)
    assert not root.exists()


def test_setup_without_files_says_what_it_looked_for(tmp_path):
    with pytest.raises(DatasetError, match=r"has none of cifar-10-batches-py, cifar10, cifar10.tgz; .* root=PATH"):
        Cifar10(tmp_path).setup()


@pytest.mark.slow
def test_the_archive_of_real_images_decodes(real_data):
    data = set_up(Cifar10, real_data)
    assert data.source == "CIFAR-10 (JPEG)"
    assert torch.equal(torch.bincount(data.splits["train"].labels), torch.full((10,), 5000))
    mean = data.splits["train"].inputs.float().mean(dim=(0, 2, 3)) / 255
    torch.testing.assert_close(mean, torch.tensor(Cifar10.statistics.mean), atol=2e-3, rtol=0)


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


def pack_members(path, *members):
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
    pack_members(
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
    unpack_files(tmp_path / "a.tgz", tmp_path / "to" / "batches", NAMES)
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
    pack_members(folder / kind.filename, *((f"{kind.base_folder}/{name}", tarfile.REGTYPE, content) for name in files))
    md5 = hashlib.md5(content).hexdigest()
    for name in ("train_list", "test_list"):
        monkeypatch.setattr(kind, name, [[file, md5] for file, _ in getattr(kind, name)])
    monkeypatch.setattr(
        "torchvision.datasets.utils.download_url",
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


def test_fetching_leaves_no_archive_behind(server, tmp_path):
    (tmp_path / "to").mkdir()
    fetch_archive(torchvision.datasets.CIFAR10, tmp_path / "to", sha256=hashlib.sha256(server.read_bytes()).hexdigest())
    assert [path.name for path in (tmp_path / "to").iterdir()] == ["cifar-10-batches-py"]


def test_a_pipe_in_the_place_of_a_file_is_refused_before_it_is_opened(tmp_path):
    os.mkfifo(tmp_path / "data_batch_1")
    with pytest.raises(DatasetError, match=r"data_batch_1 cannot be read \(it is no regular file\)"):
        list_archive_files(tmp_path / "data_batch_1", "cifar10")
    with pytest.raises(DatasetError, match=r"data_batch_1 is missing or damaged \(it is no regular file\)"):
        read_batch(tmp_path / "data_batch_1", md5="0" * 32)
