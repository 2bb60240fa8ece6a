import hashlib
import os
import shutil

import pytest

from noisereg.files.fingerprint import fingerprint_files

NAMES = ["a/1.png", "a/2.png", "b/1.png"]


@pytest.fixture
def folder(tmp_path):
    """Three files of the same size."""
    for number, name in enumerate(NAMES):
        (tmp_path / "first" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "first" / name).write_bytes(bytes([number]) * 100)
    return tmp_path / "first"


def test_a_fingerprint_is_the_sum_of_sizes_and_hashes_of_names_and_first_bytes(folder):
    listed = b"a/1.png\x00100\x00a/2.png\x00100\x00b/1.png\x00100\x00"
    assert fingerprint_files(folder, NAMES) == {
        "bytes": 300,
        "names": hashlib.sha256(listed).hexdigest()[:16],
        "contents": hashlib.sha256(b"\0" * 100 + b"\1" * 100 + b"\2" * 100).hexdigest()[:16],
    }
    assert fingerprint_files(folder, list(map(os.fsencode, NAMES))) == fingerprint_files(folder, NAMES)
    assert fingerprint_files(folder, [])["bytes"] == 0


def test_a_copy_at_another_place_and_time_is_the_same(folder):
    before = fingerprint_files(folder, NAMES)
    shutil.copytree(folder, folder.parent / "second")
    os.utime(folder.parent / "second" / NAMES[0], (1, 1))
    assert fingerprint_files(folder.parent / "second", NAMES) == before


@pytest.mark.parametrize(
    ("change", "differs"),
    [
        (lambda folder: (folder / "a/1.png").write_bytes(b"\5" * 100), {"contents"}),
        (lambda folder: (folder / "a/1.png").write_bytes(b"\0" * 101), {"bytes", "names", "contents"}),
        (lambda folder: (folder / "a/1.png").rename(folder / "a/3.png"), {"names"}),
    ],
    ids=["other bytes", "one byte more", "another name"],
)
def test_a_file_that_is_another_one_is_seen(change, differs, folder):
    before = fingerprint_files(folder, NAMES)
    change(folder)
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.png"))
    after = fingerprint_files(folder, sorted(names, key=lambda name: NAMES.index(name) if name in NAMES else 0))
    assert {key for key in before if after[key] != before[key]} == differs


def test_of_many_files_every_name_and_size_counts_and_a_thousand_are_read(tmp_path):
    for number in range(2001):
        (tmp_path / str(number)).write_bytes(b"x")
    names = [str(number) for number in range(2001)]
    before = fingerprint_files(tmp_path, names)
    assert before["contents"] == hashlib.sha256(b"x" * 1000).hexdigest()[:16]
    (tmp_path / "2000").write_bytes(b"y")
    assert fingerprint_files(tmp_path, names)["contents"] != before["contents"]
    (tmp_path / "1").write_bytes(b"xx")
    assert fingerprint_files(tmp_path, names)["names"] != before["names"]


def test_of_a_large_file_the_first_64_kib_are_read(tmp_path):
    (tmp_path / "a").write_bytes(b"x" * (1 << 17))
    assert fingerprint_files(tmp_path, ["a"])["contents"] == hashlib.sha256(b"x" * (1 << 16)).hexdigest()[:16]


def test_a_pipe_is_not_read_and_a_missing_file_is_named(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="it is no regular file"):
        fingerprint_files(tmp_path, ["pipe"])
    with pytest.raises(FileNotFoundError, match="gone"):
        fingerprint_files(tmp_path, ["gone"])
