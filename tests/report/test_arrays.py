import numpy as np
import pytest

from noisereg.report.arrays import read_arrays


def test_arrays_are_read_by_name(tmp_path):
    np.savez(tmp_path / "some.npz", a=np.arange(3), b=np.ones((2, 2)))
    found = read_arrays(tmp_path / "some.npz")
    assert {name: array.tolist() for name, array in found.items()} == {"a": [0, 1, 2], "b": [[1, 1], [1, 1]]}


def test_a_file_that_is_not_there_has_no_arrays(tmp_path):
    assert read_arrays(tmp_path / "none.npz") is None


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 half of one"])
def test_a_file_that_is_damaged_is_named(content, tmp_path):
    (tmp_path / "some.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"some\.npz cannot be read \(.*\); delete it"):
        read_arrays(tmp_path / "some.npz")


def test_a_single_array_is_no_archive_of_them(tmp_path):
    with (tmp_path / "some.npz").open("wb") as file:
        np.save(file, np.arange(3))
    with pytest.raises(ValueError, match=r"some\.npz cannot be read"):
        read_arrays(tmp_path / "some.npz")


def test_code_in_a_file_is_not_run(tmp_path):
    np.savez(tmp_path / "some.npz", a=np.array([{"pickled": 1}], dtype=object))
    with pytest.raises(ValueError, match="Object arrays cannot be loaded"):
        read_arrays(tmp_path / "some.npz")
