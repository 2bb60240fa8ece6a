"""Small data of the tests' own, and a cache that no other test or run sees."""

import os
from pathlib import Path

import jaxtyping
import numpy as np
import pytest
from PIL import Image


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("NOISEREG_CACHE", str(folder))
    return folder


@pytest.fixture
def real_data():
    if "NOISEREG_DATA" not in os.environ:
        pytest.skip("needs NOISEREG_DATA: a folder with MNIST/raw and cifar10.tgz")
    return Path(os.environ["NOISEREG_DATA"])


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError("Name or service\nnot known")

    monkeypatch.setattr("urllib.request.urlopen", refuse)


@pytest.fixture
def make_tree():
    """A function that writes an image tree, `per_class` images a class, and gives their pixels by (split, class)."""

    def make(root, classes, *, per_class=2, size=(32, 32), suffix="png"):
        generator = np.random.default_rng(0)
        pixels = {}
        for split in ("train", "test"):
            for label in classes:
                folder = root / split / label
                folder.mkdir(parents=True)
                pixels[split, label] = generator.integers(0, 256, (per_class, *size[::-1], 3), dtype=np.uint8)
                for number, image in enumerate(pixels[split, label]):
                    Image.fromarray(image).save(folder / f"{number:04}.{suffix}")
        return pixels

    return make


@pytest.fixture
def unchecked():
    """Annotations that are not checked, as for a user."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
