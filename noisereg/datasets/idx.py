"""The IDX format of MNIST and its kin."""

import hashlib
import math
import struct
from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor

from noisereg.errors import DatasetError
from noisereg.files.reading import read_file

_UNSIGNED_BYTES = 0x08


def read_idx(path: Path, *, sha256: str | None = None) -> UInt8[Tensor, "..."]:
    """Read a file of unsigned bytes, and trust it only if it is whole.

    A file is two zero bytes, the code of the type, the number of dimensions, each dimension as a big-endian 32-bit
    number, and the data in row-major order.

    Args:
        path: of the file.
        sha256: of the whole file in hexadecimal; None checks header and length only.

    Raises:
        DatasetError: if the file cannot be read, is not of this format, is of the wrong length or has another sum.

    Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits".
    """
    mend = f"delete {path.parent} and start again to download"
    try:
        content = read_file(path)
    except OSError as error:
        raise DatasetError(f"{path} cannot be read ({error.strerror}); {mend}") from error
    shape = _read_shape(content)
    if shape is None:
        raise DatasetError(f"{path} is not an IDX file of bytes; {mend}")
    header = 4 + 4 * len(shape)
    expected = header + math.prod(shape)
    if len(content) != expected:
        raise DatasetError(f"{path} has {len(content)} bytes, its header promises {expected}; {mend}")
    if sha256 is not None and (actual := hashlib.sha256(content).hexdigest()) != sha256:
        raise DatasetError(f"{path} is damaged: its sha256 is {actual[:16]}..., not {sha256[:16]}...; {mend}")
    return torch.frombuffer(bytearray(content), dtype=torch.uint8, offset=header).view(shape)


def _read_shape(content: bytes) -> tuple[int, ...] | None:
    if len(content) < 4 or content[:3] != bytes([0, 0, _UNSIGNED_BYTES]) or len(content) < 4 + 4 * content[3]:
        return None
    return struct.unpack_from(f">{content[3]}I", content, 4)
