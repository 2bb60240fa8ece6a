import os
import shutil
import tempfile

import numpy as np
import pytest
from small_disk import fill_disk, list_names, small_disk

from noisereg.files.aside import SetAside

KINDS = {"float32": (5, 3), "float64": (4,), "uint8": (2, 3, 4), "int64": (1,), "float16": (0, 2)}


def some(key):
    rng = np.random.default_rng(key)
    return {"test": [(100 * rng.random(shape)).astype(kind) for kind, shape in KINDS.items()], "val": [np.arange(key)]}


def assert_same(found, expected):
    assert list(found) == list(expected)
    for name, arrays in expected.items():
        for ours, array in zip(found[name], arrays, strict=True):
            assert ours.dtype == array.dtype
            assert ours.shape == array.shape
            assert ours.tobytes() == array.tobytes()


def test_arrays_come_back_as_they_were_in_any_order():
    aside = SetAside(need=1000)
    for key in range(5):
        aside.put(key, some(key))
    for key in (3, 0, 4, 4, 1):
        assert_same(aside.get(key), some(key))
    assert aside.get(5) is None


def test_columns_and_steps_of_arrays_are_kept_too():
    whole = np.arange(24.0).reshape(4, 6)
    aside = SetAside(need=1000)
    aside.put(0, {"x": [whole[:, :3], whole[::2], whole.T]})
    assert_same(aside.get(0), {"x": [whole[:, :3], whole[::2], whole.T]})


def test_no_name_is_left_in_the_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    aside = SetAside(need=1000)
    aside.put(1, some(1))
    assert list(tmp_path.iterdir()) == []
    assert_same(aside.get(1), some(1))


def test_half_of_a_disk_is_left_free(tmp_path, monkeypatch):
    with small_disk(tmp_path / "disk", size=2**20) as disk:
        monkeypatch.setattr(tempfile, "tempdir", str(disk))
        fits, too_large = SetAside(need=2**19), SetAside(need=2**19 + 1)
        for aside in (fits, too_large):
            aside.put(0, some(0))
        assert_same(fits.get(0), some(0))
        assert too_large.get(0) is None


def test_a_disk_that_others_have_filled_meanwhile_keeps_nothing(tmp_path, monkeypatch):
    with small_disk(tmp_path / "disk", size=2**20) as disk:
        monkeypatch.setattr(tempfile, "tempdir", str(disk))
        aside = SetAside(need=2**18)
        aside.put(0, some(0))
        aside.put(3, {"x": [np.ones(2**14)]})
        fill_disk(disk, leave=2**12)
        aside.put(1, {"x": [np.zeros(2**17)]})
        assert aside.get(0) is None
        assert aside.get(1) is None
        aside.put(2, some(2))
        assert aside.get(2) is None
        assert list_names(disk) == set()
        assert shutil.disk_usage(disk).free > 2**17  # what it held is given back


def test_what_is_no_longer_all_there_is_not_taken_for_it():
    aside = SetAside(need=1000)
    for key in (0, 1):
        aside.put(key, some(key))
    os.ftruncate(aside._file.fileno(), aside._end - 1)
    assert_same(aside.get(0), some(0))
    assert aside.get(1) is None
    assert aside.get(0) is None


@pytest.mark.parametrize("folder", ["/nowhere/at/all", "/proc"])
def test_a_folder_that_takes_no_file_keeps_nothing(folder, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", folder)
    aside = SetAside(need=1)
    aside.put(0, some(0))
    assert aside.get(0) is None
