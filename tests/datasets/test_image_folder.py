import multiprocessing
import os

import numpy as np
import pytest
import torch
from PIL import Image
from run_program import read_result, run_program

from noisereg.datasets import BatchLoader, ImageFolder, StreamLoader
from noisereg.datasets.image_folder import memory_limit
from noisereg.datasets.resized_crop import resized_crop
from noisereg.errors import DatasetError


def set_up(root, **settings):
    data = ImageFolder(root, **settings)
    data.prepare_data()
    data.setup()
    return data


@pytest.fixture
def photos(tmp_path):
    """A folder of twelve training and five test images of different sizes and modes, in two classes."""
    generator = np.random.default_rng(0)
    for split, counts in (("train", (8, 4)), ("test", (2, 3))):
        for label, n in zip("ab", counts, strict=True):
            (tmp_path / split / label).mkdir(parents=True)
            for number in range(n):
                height, width = generator.integers(9, 40, 2)
                shape = (height, width) if number == 1 else (height, width, 3)
                pixels = generator.integers(0, 256, shape, dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / split / label / f"{number}.png")
    return tmp_path


def all_batches(data, epoch):
    """Of training, and then of every split that is evaluated."""
    train = data.train_dataloader()
    train.set_epoch(epoch)
    return [batch for loader in (train, *data.val_dataloader()) for batch in loader]


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


@pytest.mark.parametrize("stream", [False, True])
def test_samples_have_the_names_of_their_files_in_the_order_of_their_numbers(tmp_path, make_tree, stream):
    make_tree(tmp_path, ["a", "b"], per_class=3)
    samples = set_up(tmp_path, image_size=32, train_size=4, stream=stream).training_samples()
    assert samples.names == [f"{label}/000{number}.png" for label in "ab" for number in range(3)]
    assert samples.labels.tolist() == [0, 0, 0, 1, 1, 1] and len(samples.trained) == 4


def test_images_are_decoded_once_for_each_size(tmp_path, make_tree, cache):
    make_tree(tmp_path, ["a", "b"])
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
    with pytest.raises(DatasetError, match=f"{tmp_path}/none/train cannot be read .* root=PATH"):
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
    with pytest.raises(ValueError, match=r"^image_size must be a whole number, at least 1, got 0"):
        ImageFolder(tmp_path, image_size=0)


@pytest.mark.parametrize(
    "settings",
    [
        {"augment": True, "order": "replacement", "seed": 3},
        {"normalize": "unit", "train_size": 9, "test_size": 4, "val_size": 2, "train_eval_size": 3},
    ],
)
def test_streamed_batches_are_those_from_memory(photos, settings):
    settings = {"image_size": 16, "batch_size": 4, "eval_batch_size": 2, **settings}
    held, streamed = (set_up(photos, stream=stream, **settings) for stream in (False, True))
    assert (held.streamed, streamed.streamed) == (False, True)
    assert {name: len(split) for name, split in held.splits.items()} == {
        name: len(split) for name, split in streamed.splits.items()
    }
    for epoch in (0, 2):
        for batch, other in zip(all_batches(held, epoch), all_batches(streamed, epoch), strict=True):
            assert batch.keys() == other.keys() == {"input", "label", "index", "draw"}
            assert all(torch.equal(part, other[name]) for name, part in batch.items())


def test_a_stream_writes_no_cache(photos, cache):
    set_up(photos, stream=True)
    assert list(cache.iterdir()) == []


def test_resized_crops_are_of_the_training_photos_alone(photos):
    data = set_up(photos, image_size=8, augment="resized_crop", normalize="unit", batch_size=12, seed=5)
    loader = data.train_dataloader()
    loader.set_epoch(2)
    (batch,) = loader
    paths = [photos / "train" / label / f"{number}.png" for label, n in (("a", 8), ("b", 4)) for number in range(n)]
    for image, index in zip(batch["input"], batch["index"].tolist(), strict=True):
        expected = np.asarray(resized_crop(Image.open(paths[index]), 8, seed=5, draw=2, index=index))
        np.testing.assert_array_equal((image * 255).round().numpy(), expected.transpose(2, 0, 1))
    held = set_up(photos, image_size=8, normalize="unit")
    for mine, theirs in zip(data.val_dataloader(), held.val_dataloader(), strict=True):
        assert torch.equal(next(iter(mine))["input"], next(iter(theirs))["input"])
    assert data.varies and not held.varies


def show(data):
    """The training images as they come out of the batches, in the order of their files."""
    batches = list(data.train_dataloader())
    order = torch.cat([batch["index"] for batch in batches]).argsort()
    return torch.cat([batch["input"] for batch in batches])[order]


@pytest.mark.parametrize("stream", [False, True])
def test_a_ramp_has_the_mean_of_a_half_in_8_and_in_16_bits(tmp_path, stream):
    ramp = np.tile(np.linspace(0, 1, 16), (16, 1))
    for split in ("train", "test"):
        for label, pixels in {"a": (ramp * 255).astype(np.uint8), "b": (ramp * 65535).astype(np.uint16)}.items():
            (tmp_path / split / label).mkdir(parents=True)
            Image.fromarray(pixels).save(tmp_path / split / label / "ramp.png")
    images = show(set_up(tmp_path, image_size=16, normalize="unit", stream=stream))
    torch.testing.assert_close(images.mean(dim=(1, 2, 3)), torch.tensor([0.5, 0.5]), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "settings", [{"stream": False}, {"stream": True}, {"augment": "resized_crop"}], ids=["held", "streamed", "crops"]
)
def test_photos_are_turned_upright(tmp_path, settings):
    exif = Image.Exif()
    exif[0x0112] = 6  # of a camera held upright: the stored rows are the columns, its top is at the left
    stored = np.zeros((32, 64), dtype=np.uint8)
    stored[:, :32] = 255
    for place in ("train/a", "train/b", "test/a", "test/b"):
        (tmp_path / place).mkdir(parents=True)
        Image.fromarray(stored).save(tmp_path / place / "1.png", exif=exif)
    upright = Image.fromarray(np.repeat([255, 0], 32)[:, None].repeat(32, axis=1).astype(np.uint8)).convert("RGB")
    images = show(set_up(tmp_path, image_size=32, normalize="unit", seed=1, **settings))
    for index, image in enumerate(images):
        expected = upright.crop((0, 16, 32, 48))
        if "augment" in settings:
            expected = resized_crop(upright, 32, seed=1, draw=0, index=index)
        np.testing.assert_array_equal((255 * image).round().numpy(), np.asarray(expected).transpose(2, 0, 1))


def test_arrays_that_another_decoder_cached_are_not_used(photos, cache, monkeypatch):
    set_up(photos, stream=False, image_size=8)
    monkeypatch.setattr("noisereg.datasets.image_folder.DECODING", 1)
    set_up(photos, stream=False, image_size=8)
    assert len(list(cache.iterdir())) == 2


@pytest.mark.parametrize("stream", [False, True])
def test_files_that_are_left_out_are_counted_in_the_source(photos, stream):
    (photos / "train/a/1.gif").write_bytes(b"GIF89a")
    (photos / "train/a/._0.png").write_bytes(b"\0\x05\x16\x07")
    (photos / "test/b/deeper").mkdir()
    (photos / "test/b/2.png").rename(photos / "test/b/deeper/2.png")
    data = set_up(photos, stream=stream, image_size=8)
    counts = "3 files left out (1 .gif, 1 AppleDouble, 1 in folders below a class)"
    assert data.source.removesuffix(", streamed from disk (3.07e-06 GB decoded)") == f"images of {photos}, {counts}"
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 12, "test": 4}


@pytest.mark.parametrize("stream", [False, True])
def test_folders_beside_train_and_test_are_named_in_the_source_as_not_read(photos, stream):
    for name in ("val", "extra", ".hidden"):
        (photos / name / "a").mkdir(parents=True)
    (photos / "notes").write_text("")
    data = set_up(photos, stream=stream, image_size=8)
    assert data.source.removesuffix(", streamed from disk (3.26e-06 GB decoded)") == (
        f"images of {photos}, extra, val beside train and test not read"
    )
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 12, "test": 5}


@pytest.mark.parametrize("stream", [False, True, "auto"])
def test_a_class_without_images_is_named(photos, stream):
    for path in (photos / "train/b").iterdir():
        path.rename(path.with_suffix(".gif"))
    for path in (photos / "test/a").iterdir():
        path.unlink()
    fault = r"has no images in train/b, test/a; 4 files left out \(4 \.gif\); put some of \.jpg, .* or remove"
    with pytest.raises(DatasetError, match=f"^root={photos} {fault}"):
        set_up(photos, stream=stream)


def test_of_many_classes_without_images_a_few_are_named(tmp_path, make_tree):
    make_tree(tmp_path, [f"{number:02}" for number in range(8)], per_class=0)
    with pytest.raises(DatasetError, match=r"no images in train/00, .*, train/04 and 11 more; put some of"):
        set_up(tmp_path)


def test_one_class_is_none_to_learn(tmp_path, make_tree):
    make_tree(tmp_path, ["cat"])
    with pytest.raises(
        DatasetError, match=rf"^root={tmp_path} has one class, cat, and at least 2 are needed; add root"
    ):
        ImageFolder(tmp_path)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "make", [os.mkfifo, lambda path: path.symlink_to("nowhere"), lambda path: path.symlink_to(path)]
)
def test_what_is_no_file_is_refused_and_never_opened(photos, stream, make):
    make(photos / "train/a/x.png")
    with pytest.raises(
        DatasetError, match=f"^{photos}/train/a/x.png cannot be read .* put an image there, or remove it"
    ):
        set_up(photos, stream=stream)


def test_a_file_that_becomes_a_pipe_is_refused_when_it_is_read(photos):
    data = set_up(photos, stream=True)
    (photos / "train/a/0.png").unlink()
    os.mkfifo(photos / "train/a/0.png")
    with pytest.raises(DatasetError, match=rf"^{photos}/train/a/0.png cannot be read \(it is no regular file\)"):
        list(data.train_dataloader())


@pytest.mark.parametrize("stream", [False, True])
def test_floats_are_refused_in_one_line(photos, stream):
    Image.fromarray(np.ones((9, 9), dtype=np.float32)).save(photos / "train/a/f.tif")
    with pytest.raises(DatasetError, match=rf"^{photos}/train/a/f.tif has signed, 32-bit or float pixels") as caught:
        list(set_up(photos, stream=stream, image_size=8).train_dataloader())
    assert "\n" not in str(caught.value)


def test_a_channel_that_is_constant_in_training_is_zero_and_finite_in_the_test_images(tmp_path, make_tree):
    pixels = make_tree(tmp_path, ["a", "b"])
    for (split, label), images in pixels.items():
        for number, image in enumerate(images):
            image[..., 2] = 100 if split == "train" else 151
            Image.fromarray(image).save(tmp_path / split / label / f"{number:04}.png")
    data = set_up(tmp_path, image_size=32, normalize="standard")
    test, train = (next(iter(loader))["input"] for loader in data.val_dataloader())
    assert (train[:, 2] == 0).all()
    torch.testing.assert_close(test[:, 2], torch.full((4, 32, 32), 0.2))
    torch.testing.assert_close(train[:, :2].std(dim=(0, 2, 3), correction=0), torch.ones(2), atol=1e-4, rtol=0)


@pytest.mark.parametrize(("most", "streamed"), [(17 * 3 * 16**2 - 1, True), (17 * 3 * 16**2, False)])
def test_images_are_streamed_if_they_take_more_memory_than_the_limit(photos, monkeypatch, most, streamed):
    monkeypatch.setattr("noisereg.datasets.image_folder.memory_limit", lambda: most)
    data = set_up(photos, image_size=16)
    assert data.streamed is streamed
    assert type(data.train_dataloader()) is (StreamLoader if streamed else BatchLoader)
    assert data.source == f"images of {photos}" + (", streamed from disk (1.31e-05 GB decoded)" if streamed else "")


@pytest.mark.parametrize(
    ("text", "most"),
    [
        ("MemTotal: 9 kB\nMemAvailable:  4000 kB\n", 1_024_000),
        ("MemAvailable: 99000000 kB\n", 2**32),
        ("MemTotal: 9 kB\n", 2**32),
        (None, 2**32),
    ],
)
def test_the_limit_is_a_quarter_of_the_free_memory_and_at_most_four_gigabytes(monkeypatch, text, most):
    def read_text(path):
        if text is None:
            raise FileNotFoundError(2, "No such file or directory", str(path))
        return text

    monkeypatch.setattr("pathlib.Path.read_text", read_text)
    assert memory_limit() == most


def test_the_end_of_a_training_ends_its_workers(photos):
    data = set_up(photos, stream=True, workers=1)
    before = set(multiprocessing.active_children())
    batches = iter(data.train_dataloader())
    next(batches)
    assert len(set(multiprocessing.active_children()) - before) == 1
    data.on_exception(KeyboardInterrupt())
    assert set(multiprocessing.active_children()) <= before


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"augment": "crop"}, r"^augment must be True, False or resized_crop, got crop"),
        ({"augment": 1}, r"^augment must be True, False or resized_crop, got 1"),
        ({"augment": "resized_crop", "stream": 0}, r"^stream must be True, False or auto, got 0"),
        ({"stream": "yes"}, r"^stream must be True, False or auto, got yes"),
        ({"workers": -1}, r"^workers must be at least 0, got -1"),
        ({"augment": "resized_crop", "stream": False}, r"resized_crop takes parts .* set stream=True"),
        ({"normalize": "standard", "stream": True}, r"needs all images in memory; set normalize=imagenet, or"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_options_that_cannot_be_had_are_refused(photos, settings, message):
    with pytest.raises(ValueError, match=message):
        ImageFolder(photos, **settings)


def test_statistics_of_images_too_large_for_memory_are_refused(photos, monkeypatch):
    monkeypatch.setattr("noisereg.datasets.image_folder.memory_limit", lambda: 0)
    with pytest.raises(ValueError, match=r"normalize=standard needs all images in memory"):
        set_up(photos, normalize="standard")


def test_a_run_reads_a_stream_with_workers_and_names_a_broken_file(photos, tmp_path_factory):
    cwd = tmp_path_factory.mktemp("runs")
    command = ["dataset=image_folder", f"dataset.root={photos}", "dataset.stream=true", "dataset.workers=2"]
    command += ["model=resnet20", "model.depth=8", "dataset.image_size=8", "dataset.batch_size=4", "logger=csv"]
    whole = run_program(*command, "trainer.max_steps=2", "hydra.run.dir=whole", cwd=cwd)
    assert whole.returncode == 0, whole.stderr
    result = read_result(cwd / "whole")
    assert (result["status"], result["steps"]) == ("finished", 2)
    assert result["data"] == f"images of {photos}, streamed from disk (3.26e-06 GB decoded)"
    broken = photos / "test/b/1.png"
    broken.write_bytes(b"")
    failed = run_program(*command, "hydra.run.dir=failed", cwd=cwd)
    fault = f"{broken} cannot be read (it does not decode as an image); put a whole copy there"
    assert (failed.returncode, failed.stderr) == (2, f"error: {fault}\n")
    assert read_result(cwd / "failed")["reason"] == f"ConfigError: {fault}"
