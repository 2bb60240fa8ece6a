"""Arrays from an .npz file that may be damaged, or a stranger's."""

import io

import numpy as np


def load_arrays(file: io.BufferedIOBase) -> dict[str, np.ndarray]:
    """Return the arrays of an .npz file, each by its name.

    Raises:
        ValueError: if it is damaged, or holds more than arrays of numbers and texts.

    Example:
        >>> file = io.BytesIO()
        >>> np.savez(file, ones=np.ones(2))
        >>> _ = file.seek(0)
        >>> load_arrays(file)
        {'ones': array([1., 1.])}
    """
    try:
        with np.load(file, allow_pickle=False) as arrays:
            return dict(arrays)
    except Exception as error:  # of a damaged archive numpy, zipfile and zlib raise whatever its bytes lead them to
        raise ValueError(" ".join(str(error).split()) or type(error).__name__) from None
