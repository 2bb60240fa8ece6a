import hashlib
import os
import struct

import pytest

from noisereg.datasets.idx import read_idx
from noisereg.errors import DatasetError

CONTENT = struct.pack(">HBBIII", 0, 8, 3, 2, 1, 3) + bytes([0, 1, 2, 253, 254, 255])
SUM = hashlib.sha256(CONTENT).hexdigest()


def write(tmp_path, content):
    path = tmp_path / "images"
    path.write_bytes(content)
    return path


def test_a_file_is_its_bytes_in_the_shape_of_its_header(tmp_path):
    images = read_idx(write(tmp_path, CONTENT), sha256=SUM)
    assert images.tolist() == [[[0, 1, 2]], [[253, 254, 255]]]


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT + b"0", CONTENT[:16]])
def test_a_file_of_the_wrong_length_is_refused(tmp_path, content):
    path = write(tmp_path, content)
    with pytest.raises(
        DatasetError, match=f"{path} has {len(content)} bytes, its header promises 22; delete {tmp_path}"
    ):
        read_idx(path)


@pytest.mark.parametrize("content", [b"", b"\0\0\x08", CONTENT[:10], b"\0\0\x0d" + CONTENT[3:], b"<html>sorry</html>"])
def test_a_file_of_another_format_is_refused(tmp_path, content):
    path = write(tmp_path, content)
    with pytest.raises(DatasetError, match=f"{path} is not an IDX file of bytes; delete {tmp_path} and start again"):
        read_idx(path)


@pytest.mark.parametrize("place", range(16, 22))
def test_one_flipped_byte_is_seen(tmp_path, place):
    content = bytearray(CONTENT)
    content[place] ^= 1
    path = write(tmp_path, content)
    with pytest.raises(DatasetError, match=f"{path} is damaged: its sha256 is .* not {SUM[:16]}"):
        read_idx(path, sha256=SUM)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DatasetError, match=rf"{tmp_path}/images cannot be read \(No such file or directory\); delete"):
        read_idx(tmp_path / "images")


def test_a_pipe_is_refused_before_it_is_opened(tmp_path):
    os.mkfifo(tmp_path / "images")
    with pytest.raises(DatasetError, match=r"images cannot be read \(it is no regular file\); delete"):
        read_idx(tmp_path / "images")
