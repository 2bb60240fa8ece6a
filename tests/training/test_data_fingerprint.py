import hashlib
import os
import shutil

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from noisereg.config.composing import compose_settings
from noisereg.config.same_run import describe_changes, differing
from noisereg.datasets import Hypercube, Split
from noisereg.errors import ConfigError
from noisereg.training.data_fingerprint import count_samples, fingerprint_data, fingerprint_samples
from noisereg.training.prepare import prepare

pytestmark = pytest.mark.filterwarnings("ignore:.*smaller than the logging interval")
QUIET = Console(quiet=True)
FOLDER = ["dataset=image_folder", "dataset.image_size=4", "dataset.augment=false", "noise.p=0.1", "logger=csv"]
FOLDER += ["trainer.max_epochs=1", "trainer.precision=32-true", "dataset.batch_size=1", "model=two_layer"]
FOLDER += ["model.hidden=4"]
ENGINES = {
    "fused": ["engine=fused", "loss=logistic", "seeds=1"],
    "blocked": ["engine=blocked", "loss=logistic", "seeds=1"],
    "stacked": ["engine=stacked", "seeds=2"],
    "single": ["engine=single", "seeds=1"],
    "one by one": ["engine=single", "seeds=2"],
}


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("NOISEREG_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def photos(tmp_path):
    """Six images of each of two classes: files of one size, whatever the pixels, as random ones are."""
    return draw_photos(tmp_path / "photos", seed=0)


def draw_photos(root, *, seed, classes=("ant", "bee"), num_images=6):
    generator = np.random.default_rng(seed)
    for split in ("train", "test"):
        for label in classes:
            (root / split / label).mkdir(parents=True, exist_ok=True)
            for number in range(num_images):
                pixels = generator.integers(0, 256, (4, 4, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / split / label / f"{number}.bmp")
    return root


def settings_of(root, *overrides):
    return compose_settings(*FOLDER, f"dataset.root={root}", *overrides)


def more_images(root):
    draw_photos(root, seed=0, num_images=9)


def renamed_classes(root):
    for split in ("train", "test"):
        (root / split / "ant").rename(root / split / "wasp")
        (root / split / "bee").rename(root / split / "ant")


def third_class(root):
    draw_photos(root, seed=3, classes=["cat"])


def other_pixels(root):
    draw_photos(root, seed=1)


CHANGES = {
    more_images: "train_images was 12 and is 18, test_images was 12 and is 18, classes.ant was 12 and is 18, ",
    renamed_classes: "classes.bee is gone, classes.wasp is new, names was ",
    third_class: "train_images was 12 and is 18, test_images was 12 and is 18, classes.cat is new, ",
    other_pixels: "contents was ",
}


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_it_is_said_in_what_images_have_changed(change, photos):
    before = fingerprint_data(settings_of(photos))
    change(photos)
    words = describe_changes(before, fingerprint_data(settings_of(photos)))
    assert words.startswith(CHANGES[change]) and "\n" not in words


@pytest.mark.parametrize("engine", ENGINES)
def test_no_engine_goes_on_from_a_checkpoint_of_other_data(engine, photos, tmp_path):
    settings = settings_of(photos, *ENGINES[engine])
    prepare(settings, folder=tmp_path / "run", console=QUIET).train()
    more_images(photos)
    for record in (tmp_path / "run").rglob("result.json"):  # of a replica, which refuses them too
        record.unlink()
    told = r"^\S+/last\.ckpt is of a run on other data \(train_images was 12 and is 18, .*\); put its own there"
    with pytest.raises(ConfigError, match=told):
        prepare(settings, folder=tmp_path / "run", console=QUIET).train()


def test_a_replica_that_is_finished_on_other_data_is_not_taken(photos, tmp_path):
    settings = settings_of(photos, *ENGINES["one by one"])
    prepare(settings, folder=tmp_path / "run", console=QUIET).train()
    other_pixels(photos)
    with pytest.raises(ConfigError, match=r"p=0\.1,seed=0 holds a run on other data \(contents was "):
        prepare(settings, folder=tmp_path / "run", console=QUIET).train()


@pytest.mark.parametrize("engine", ["one by one", "stacked"])
def test_data_that_change_between_the_replicas_of_a_run_end_it(engine, photos, tmp_path):
    settings = settings_of(photos, *ENGINES[engine], "dataset.train_size=8")  # another part of them for each seed
    training = prepare(settings, folder=tmp_path / "run", console=QUIET)
    other_pixels(photos)
    with pytest.raises(ConfigError, match=r"run holds a run on other data \(contents was "):
        training.build_data(1)
    assert training.build_data(0) is training.data


def test_a_checkpoint_of_another_run_of_the_same_shape_is_not_gone_on_from(tmp_path):
    small = ["dataset.d=6", "dataset.train_size=8", "dataset.test_size=4", "model.hidden=4", "trainer.max_epochs=1"]
    small += ["noise.p=0.1", "logger=csv", "engine=blocked", "seeds=1", "dataset.batch_size=4"]
    for seed in (0, 1):
        settings = compose_settings(*small, f"seed={seed}")
        prepare(settings, folder=tmp_path / str(seed), console=QUIET).train()
    shutil.copy(tmp_path / "1" / "checkpoints" / "last.ckpt", tmp_path / "0" / "checkpoints" / "last.ckpt")
    told = r"0/checkpoints/last\.ckpt is of a run of another configuration \(seed was 1 and is 0\); put its own there"
    with pytest.raises(ConfigError, match=told):
        prepare(compose_settings(*small), folder=tmp_path / "0", console=QUIET).train()


def test_the_fingerprint_of_a_folder_counts_its_images_and_knows_a_copy(photos, tmp_path):
    found = fingerprint_data(settings_of(photos))
    assert {key: found[key] for key in ("train_images", "test_images", "classes")} == {
        "train_images": 12,
        "test_images": 12,
        "classes": {"ant": 12, "bee": 12},
    }
    shutil.copytree(photos, tmp_path / "copy")
    (tmp_path / "copy" / "train" / "ant" / "notes.txt").write_text("no image")
    assert fingerprint_data(settings_of(tmp_path / "copy", "seed=5", "dataset.stream=true")) == found


def test_synthetic_data_are_told_apart_by_their_settings():
    found = fingerprint_data(compose_settings("dataset.d=30"))["settings"]
    assert (found["_target_"], found["d"], found["eps"]) == ("noisereg.datasets.Hypercube", 30, 0.3)
    assert fingerprint_data(compose_settings("dataset.d=30", "seed=3"))["settings"] == found
    assert fingerprint_data(compose_settings("dataset.d=31"))["settings"] != found


class Own(Hypercube):
    """Data of the user's own, which name a root."""

    def __init__(self, *, told=None, **settings):
        super().__init__(**settings)
        self.told = told

    def fingerprint(self):
        if isinstance(self.told, Exception):
            raise self.told
        return super().fingerprint() if self.told is None else self.told


def own_fingerprint(told, root="here"):
    section = {"_target_": "mine.Own", "root": root, "workers": 3, "d": 5}
    return fingerprint_samples(Own(told=told, d=5), {"dataset": section})


def test_own_data_are_told_apart_by_what_they_say():
    assert own_fingerprint({"file": "ab"}) == own_fingerprint({"file": "ab"}, root="there") == {"file": "ab"}


def test_own_data_that_say_nothing_are_told_apart_by_their_settings_and_the_whole_path_of_their_root(tmp_path):
    expected = {"_target_": "mine.Own", "root": os.path.realpath("here"), "d": 5}
    assert own_fingerprint(None) == own_fingerprint({}) == {"settings": expected}
    assert own_fingerprint(None, root="there") != own_fingerprint(None)


@pytest.mark.parametrize(
    ("told", "line"),
    [
        ({"x": np.float32(1)}, r"^dataset: Own\.fingerprint must return a dict of plain values, got "),
        ({"x": float("nan")}, r"^dataset: Own\.fingerprint must return a dict of plain values, got "),
        ("ab", r"^dataset: Own\.fingerprint must return a dict of plain values, got 'ab'"),
        (7, r"^dataset: Own\.fingerprint must return a dict of plain values, got 7"),
        (KeyError("x"), r"^dataset: 'x'$"),
        (ValueError("told must be odd"), r"^dataset\.told must be odd$"),
    ],
    ids=["numpy", "nan", "text", "number", "error", "argument"],
)
def test_a_fingerprint_that_is_none_is_refused_in_one_line(told, line):
    with pytest.raises(ConfigError, match=line):
        own_fingerprint(told)


def test_samples_are_counted_and_their_labels_hashed(monkeypatch):
    data = Hypercube(d=3, train_size=5, test_size=2, val_size=1)
    data.setup()
    labels, inputs = (
        hashlib.sha256(
            b"".join(getattr(data.splits[name], part).numpy().tobytes() for name in ("train", "test", "val"))
        )
        for part in ("labels", "inputs")
    )
    expected = {"train": 4, "test": 2, "val": 1, "classes": 2, "labels": labels.hexdigest()[:16]}
    assert count_samples(data) == {**expected, "inputs": inputs.hexdigest()[:16]}
    monkeypatch.setattr(Hypercube, "fingerprint", lambda self: {"files": 3})
    assert count_samples(data) == expected


@pytest.mark.parametrize("part", ["labels", "inputs"])
def test_data_that_do_not_tell_of_their_files_are_refused_by_a_checkpoint_of_others(part, tmp_path, monkeypatch):
    small = ["dataset.d=6", "dataset.train_size=8", "dataset.test_size=4", "model.hidden=4", "trainer.max_epochs=1"]
    settings = compose_settings(*small, "noise.p=0.1", "logger=csv", "engine=blocked", "seeds=1")
    prepare(settings, folder=tmp_path, console=QUIET).train()
    load = Hypercube.load

    def other(data):
        train, test = load(data)
        changed = {"labels": (train.inputs, 1 - train.labels), "inputs": (-train.inputs, train.labels)}
        return Split(*changed[part]), test

    monkeypatch.setattr(Hypercube, "load", other)
    words = rf"last\.ckpt is of a run on other data \(samples\.{part} was \w+ and is \w+\)"
    with pytest.raises(ConfigError, match=words):
        prepare(settings, folder=tmp_path, console=QUIET).train()


def test_a_checkpoint_of_a_version_that_hashed_no_inputs_is_gone_on_with(tmp_path, monkeypatch):
    small = ["dataset.d=6", "dataset.train_size=8", "dataset.test_size=4", "model.hidden=4", "trainer.max_epochs=1"]
    settings = compose_settings(*small, "noise.p=0.1", "logger=csv", "engine=blocked", "seeds=1")
    with monkeypatch.context() as older:
        older.setattr("noisereg.training.training.count_samples", _count_without_inputs)
        prepare(settings, folder=tmp_path, console=QUIET).train()
    assert prepare(settings, folder=tmp_path, console=QUIET).start == tmp_path / "checkpoints" / "last.ckpt"


def _count_without_inputs(data):
    return {key: value for key, value in count_samples(data).items() if key != "inputs"}


def test_a_file_of_labels_is_told_apart_by_its_contents_and_not_by_its_place(tmp_path):
    for name, labels in {"first": "0\n1", "moved": "0\n1", "changed": "1\n1"}.items():
        (tmp_path / f"{name}.csv").write_text(f"given\n{labels}\n")
    chosen = [
        compose_settings("noise=file", f"noise.path={tmp_path / name}.csv") for name in ("first", "moved", "changed")
    ]
    first, moved, changed = map(fingerprint_data, chosen)
    assert describe_changes(first, moved) == "" and differing(chosen[0], chosen[1]) == ({}, {})
    assert describe_changes(first, changed).startswith("label_file.sha256 was ")
    assert "label_file" not in fingerprint_data(compose_settings())
    (tmp_path / "first.csv").unlink()
    with pytest.raises(ConfigError, match=r"^noise\.path=.*first\.csv cannot be read as labels \(No such file"):
        fingerprint_data(chosen[0])
