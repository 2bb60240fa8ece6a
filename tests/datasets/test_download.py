import pytest

from noisereg.datasets.download import download
from noisereg.errors import DatasetError


def fetch(folder):
    (folder / "MNIST" / "raw").mkdir(parents=True)
    (folder / "MNIST" / "raw" / "images").write_text("pixels")
    (folder / "archive.gz").write_text("leftover")


def fetch_half(folder):
    fetch(folder)
    raise OSError("Name or service\nnot known")


def test_a_download_appears_whole_and_leaves_nothing_else(tmp_path):
    root = tmp_path / "new" / "data"
    download(root, "MNIST/raw", fetch)
    assert (root / "MNIST/raw/images").read_text() == "pixels"
    assert [path.name for path in root.iterdir()] == ["MNIST"]


def test_a_failed_download_leaves_no_new_folder(tmp_path):
    root = tmp_path / "new" / "data"
    with pytest.raises(
        DatasetError,
        match=r"new/data/MNIST/raw does not exist and the download failed \(Name or "
        r"service not known\); .* root=PATH",
    ):
        download(root, "MNIST/raw", fetch_half)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_download_leaves_an_old_folder_as_it_was(tmp_path):
    (tmp_path / "mine").write_text("kept")
    with pytest.raises(DatasetError):
        download(tmp_path, "MNIST/raw", fetch_half)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_root_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DatasetError, match=r"file/data/MNIST/raw .* failed .*Not a directory"):
        download(tmp_path / "file" / "data", "MNIST/raw", fetch)


def test_another_process_may_have_been_first(tmp_path):
    download(tmp_path, "MNIST/raw", fetch)
    download(tmp_path, "MNIST/raw", fetch)
    assert (tmp_path / "MNIST/raw/images").read_text() == "pixels"
