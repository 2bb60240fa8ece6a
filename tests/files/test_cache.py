import logging

import numpy as np
import pytest

from noisereg.files.cache import cache_folder, cached


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NOISEREG_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    return tmp_path / "cache"


def build():
    return {"pixels": np.arange(1000, dtype=np.uint8).reshape(10, 100), "names": np.array(["a", "bc"])}


def fail():
    raise AssertionError("built again")


def assert_same(arrays):
    assert set(arrays) == {"pixels", "names"}
    np.testing.assert_array_equal(arrays["pixels"], build()["pixels"])
    assert arrays["names"].tolist() == ["a", "bc"]


def test_arrays_are_built_once(cache):
    assert_same(cached("data", ("x", 1), build))
    assert_same(cached("data", ("x", 1), fail))
    assert len(list(cache.iterdir())) == 1


def test_another_identity_is_another_entry():
    cached("data", ("x", 1), build)
    assert cached("data", ("x", 2), lambda: {"n": np.zeros(1)}).keys() == {"n"}


@pytest.mark.parametrize("damage", ["short", "empty", "flipped", "text"])
def test_a_broken_entry_is_built_anew_with_a_warning(cache, caplog, damage):
    cached("data", 1, build)
    (path,) = cache.iterdir()
    content = bytearray(path.read_bytes())
    content[content.index(bytes(range(100, 120)))] ^= 1
    path.write_bytes({"short": content[:500], "empty": b"", "flipped": content, "text": b"not arrays"}[damage])
    with caplog.at_level(logging.WARNING):
        assert_same(cached("data", 1, build))
    assert f"{path} is broken and is built anew" in caplog.text
    assert_same(cached("data", 1, fail))


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("NOISEREG_CACHE", str(tmp_path / "file" / "cache"))
    with caplog.at_level(logging.WARNING):
        assert_same(cached("data", 1, build))
    assert "could not be" in caplog.text


def test_a_build_that_fails_leaves_nothing(cache):
    with pytest.raises(AssertionError, match="built again"):
        cached("data", 1, fail)
    assert list(cache.iterdir()) == []


def test_without_the_variable_the_cache_is_where_the_system_keeps_caches(monkeypatch):
    monkeypatch.delenv("NOISEREG_CACHE")
    assert cache_folder().name == "noisereg"
