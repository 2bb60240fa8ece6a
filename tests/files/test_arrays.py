import io

import numpy as np
import pytest

from noisereg.files.arrays import load_arrays

ARRAYS = {"train": np.arange(60).reshape(3, 20) % 7, "b": np.linspace(0, 1, 20)}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_no_flipped_bit_is_more_than_a_value_error(save):
    """A flip in the list of entries may lose one of them, which is why records have digests of their files."""
    whole = io.BytesIO()
    save(whole, **ARRAYS)
    refused = 0
    for place in range(len(whole.getvalue())):
        for bit in (0, 3, 7):
            broken = bytearray(whole.getvalue())
            broken[place] ^= 1 << bit
            try:
                found = load_arrays(io.BytesIO(broken))
            except ValueError:
                refused += 1
            else:
                assert found.keys() <= ARRAYS.keys()
                np.testing.assert_equal(found, {name: ARRAYS[name] for name in found})
    assert refused > 300


def test_objects_are_not_loaded():
    file = io.BytesIO()
    np.savez(file, a=np.array([{"pickled": 1}], dtype=object))
    file.seek(0)
    with pytest.raises(ValueError, match="Object arrays cannot be loaded"):
        load_arrays(file)
