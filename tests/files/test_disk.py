import errno
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from small_disk import fill_disk, list_names, make_read_only, small_disk

from noisereg.errors import DiskError
from noisereg.files import disk as disk_module
from noisereg.files.disk import check_space, disk_error


def test_a_folder_with_room_is_accepted_and_left_empty(tmp_path):
    check_space(tmp_path / "run", shutil.disk_usage(tmp_path).free // 2)
    assert list((tmp_path / "run").iterdir()) == []


def test_a_disk_without_the_room_is_refused_with_both_numbers(tmp_path):
    with small_disk(tmp_path / "disk", size=2**20) as disk:
        check_space(disk, 2**20)
        with pytest.raises(DiskError) as refusal:
            check_space(disk, 2**20 + 1)
    assert str(refusal.value) == (
        f"disk too small: the run needs 1,048,577 bytes, and 1,048,576 are free in {disk}: "
        "make room, or name a folder on another disk by hydra.run.dir"
    )
    assert refusal.value.errno == errno.ENOSPC


def test_the_probe_finds_a_full_disk_and_leaves_nothing(tmp_path):
    with small_disk(tmp_path / "disk") as disk:
        fill_disk(disk)
        with pytest.raises(DiskError, match=f"^disk full: 0 bytes free in {disk} while writing .*: make room"):
            check_space(disk, 0)
        assert list_names(disk) == set()


def test_the_probe_finds_a_disk_that_is_read_only(tmp_path):
    with small_disk(tmp_path / "disk") as disk:
        make_read_only(disk)
        for folder in (disk, disk / "run"):
            with pytest.raises(DiskError, match=f"^disk is read-only while writing {folder}/probe: let it be written"):
                check_space(folder, 0)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO])
def test_every_fault_of_a_disk_is_one_line_that_names_the_file_and_the_mend(code, tmp_path):
    told = disk_error(OSError(code, os.strerror(code)), tmp_path / "none" / "last.ckpt", written=4096)
    assert told.errno == code
    assert str(tmp_path / "none" / "last.ckpt") in str(told) and "\n" not in str(told)
    assert ("4,096 bytes written" in str(told)) == (code in (errno.ENOSPC, errno.EDQUOT))
    assert ("hydra.run.dir" in str(told)) != ("make room" in str(told))


def test_a_disk_without_inodes_is_not_told_as_one_without_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(disk_module.os, "statvfs", lambda path: SimpleNamespace(f_files=100, f_favail=0))
    told = str(disk_error(OSError(errno.ENOSPC, "No space left on device"), tmp_path / "last.ckpt"))
    assert told.startswith(f"no room for another file in {tmp_path}, whose disk has no free inodes, while writing ")
    assert "bytes" not in told and told.endswith("delete files there and give the same command again")


def test_a_file_system_without_a_limit_of_inodes_is_short_of_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(disk_module.os, "statvfs", lambda path: SimpleNamespace(f_files=0, f_favail=0))
    monkeypatch.setattr(disk_module.shutil, "disk_usage", lambda path: SimpleNamespace(free=0))
    told = str(disk_error(OSError(errno.ENOSPC, "No space left on device"), tmp_path / "last.ckpt"))
    assert told.startswith(f"disk full: 0 bytes free in {tmp_path}")


def test_other_errors_are_no_fault_of_the_disk():
    assert disk_error(FileNotFoundError(errno.ENOENT, "No such file"), Path("x")) is None
    assert disk_error(OSError("words alone"), Path("x")) is None
