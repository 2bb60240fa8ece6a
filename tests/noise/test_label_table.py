import csv
import os
import zipfile

import numpy as np
import pytest
import torch

from noisereg.noise import label_table
from noisereg.noise.label_table import read_label_table, whole_numbers

CLEAN, GIVEN = [0, 1, 2], [2, 1, 0]


def write_csv(path):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("clean", "given"), *zip(CLEAN, GIVEN, strict=True)])


def write_npy(path):
    np.save(path, np.array(list(zip(CLEAN, GIVEN, strict=True)), dtype=[("clean", "i8"), ("given", "u1")]))


def write_npz(path):
    np.savez_compressed(path, clean=CLEAN, given=np.array(GIVEN)[:, None])


def write_torch(path, **how):
    """As the files of CIFAR-N are: arrays of numpy by name."""
    torch.save({"clean": np.array(CLEAN), "given": torch.tensor(GIVEN, dtype=torch.int32)}, path, **how)


def write_old_torch(path):
    """With the name that numpy had for its maker of arrays before version 2."""
    write_torch(path, _use_new_zipfile_serialization=False)
    content = path.read_bytes()
    assert b"numpy._core" in content
    path.write_bytes(content.replace(b"numpy._core", b"numpy.core"))


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("labels.csv", write_csv),
        ("labels.npy", write_npy),
        ("labels.npz", write_npz),
        ("labels.pt", write_torch),
        ("labels.pth", write_old_torch),
    ],
)
def test_every_kind_of_file_has_the_same_columns(name, write, tmp_path):
    write(tmp_path / name)
    found = read_label_table(tmp_path / name)
    assert {column: whole_numbers(values).tolist() for column, values in found.items()} == {
        "clean": CLEAN,
        "given": GIVEN,
    }


def test_one_array_is_a_column_without_a_name(tmp_path):
    np.save(tmp_path / "labels.npy", GIVEN)
    torch.save(torch.tensor(GIVEN), tmp_path / "labels.pt")
    for path in tmp_path.iterdir():
        assert {name: whole_numbers(values).tolist() for name, values in read_label_table(path).items()} == {"": GIVEN}


class Evil:
    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return os.mkdir, (str(self.canary),)


def make_large(path):
    with path.open("wb") as file:
        file.truncate(label_table._LARGEST + 1)  # takes no room on the disk


def many_in_a_small_archive(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("given.npy", bytes(label_table._LARGEST + 1))


@pytest.mark.parametrize(
    ("name", "write", "match"),
    [
        ("labels.txt", lambda path: path.write_text("1"), "must be a file of labels that is one of .csv, .npy"),
        ("labels.csv", lambda path: None, r"cannot be read as labels \(No such file"),
        ("labels.csv", lambda path: path.mkdir(), "it is no regular file"),
        ("labels.csv", os.mkfifo, "it is no regular file"),
        ("labels.csv", make_large, "at most 268,435,456 are read"),
        ("labels.csv", lambda path: path.write_text(""), "it is empty"),
        ("labels.csv", lambda path: path.write_text("3\n1\n"), "first line must name the columns, such as given"),
        ("labels.csv", lambda path: path.write_text("a,a\n1,1\n"), "two columns have one name"),
        ("labels.csv", lambda path: path.write_text("a,b\n1,2\n3\n"), "row 2 has 1 values, and the first line names 2"),
        ("labels.csv", lambda path: path.write_text("a\n1\n\n2\n"), "row 2 has 0 values"),
        ("labels.csv", lambda path: path.write_text('a\n"1\n'), "unexpected end of data"),
        ("labels.npy", lambda path: np.save(path, np.array([{}], dtype=object)), "allow_pickle=False"),
        ("labels.npy", lambda path: path.write_bytes(b"\x93NUMPY"), "cannot be read as labels"),
        ("labels.npy", lambda path: path.write_text("a"), "cannot be read as labels"),
        ("labels.npz", lambda path: path.write_text("PK"), "File is not a zip file"),
        ("labels.npz", many_in_a_small_archive, "it unpacks to more than 268,435,456 bytes"),
        ("labels.pt", many_in_a_small_archive, "it unpacks to more than 268,435,456 bytes"),
        ("labels.pt", lambda path: path.write_text("a"), "and is not loaded|cannot be read"),
    ],
)
def test_a_file_that_is_no_table_is_refused_in_a_line_that_names_it(name, write, match, tmp_path):
    write(tmp_path / name)
    with pytest.raises(ValueError, match=match) as error:
        read_label_table(tmp_path / name)
    assert str(error.value).startswith(f"path={tmp_path / name} ") and "\n" not in str(error.value)


def test_a_file_of_torch_that_would_run_something_is_not_loaded(tmp_path):
    canary, path = tmp_path / "canary", tmp_path / "labels.pt"
    torch.save({"given": Evil(canary)}, path)
    with pytest.raises(ValueError, match="holds more than arrays and plain values, and is not loaded"):
        read_label_table(path)
    assert not canary.exists()
    torch.load(path, weights_only=False)  # the attack works where nothing stands before it
    assert canary.exists()


def test_a_byte_order_mark_and_empty_lines_at_the_end_are_no_label(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_bytes(b"\xef\xbb\xbfgiven\r\n 1\r\n2\r\n\r\n\r\n")
    assert whole_numbers(read_label_table(path)["given"]).tolist() == [1, 2]


@pytest.mark.parametrize(
    ("values", "match"),
    [
        (["1", "2.0"], "got '2.0' in place 1"),
        (["nan"], "got 'nan' in place 0"),
        (["9" * 30], "must be whole numbers"),
        (["\uff11"], "must be whole numbers"),
        (np.array([1.0]), "got an array of float64: save it as int64"),
        (np.array([True]), "got an array of bool"),
        (np.zeros((2, 2), dtype=int), r"must be one number a sample, got an array of shape \(2, 2\)"),
        (np.array(3), "must be one number a sample"),
        (np.array([2**63], dtype=np.uint64), r"below 2\*\*63, got another in place 0"),
    ],
)
def test_what_are_no_whole_numbers_is_refused(values, match):
    with pytest.raises(ValueError, match=match):
        whole_numbers(values)
