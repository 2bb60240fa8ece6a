import errno
import os
import stat
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from small_disk import fill_disk, list_names, make_read_only, small_disk

from noisereg.engine.measurement import Measurement
from noisereg.errors import DiskError
from noisereg.files.atomic import remove_leftovers, write_atomically
from noisereg.runs.checkpoints import AtomicCheckpointIO
from noisereg.runs.curves import Curves
from noisereg.runs.record import RunRecord

SIZE = 600_000  # bytes of each file; a disk of 2 MiB holds three


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "result.json"
    path.write_text("old")

    def half(file):
        file.write(b"half of the n")
        raise OSError("no disk in it")

    with pytest.raises(OSError, match=r"^no disk in it$"):
        write_atomically(path, half)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("has_links", [True, False])
def test_a_file_that_must_be_new_takes_the_place_of_no_other(has_links, tmp_path, monkeypatch):
    if not has_links:

        def refuse(source, target):
            if os.path.exists(target):
                raise FileExistsError(errno.EEXIST, "File exists")
            raise PermissionError(errno.EPERM, "no links on this disk")

        monkeypatch.setattr(os, "link", refuse)
    path = tmp_path / "labels.csv"
    write_atomically(path, b"first", is_new=True)
    with pytest.raises(FileExistsError):
        write_atomically(path, b"second", is_new=True)
    assert path.read_bytes() == b"first" and list(tmp_path.iterdir()) == [path]


def test_an_interrupt_stays_an_interrupt(tmp_path):
    def interrupted(file):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "file", interrupted)
    assert list(tmp_path.iterdir()) == []


def test_a_file_has_the_rights_that_the_umask_leaves(tmp_path):
    old = os.umask(0o027)
    try:
        write_atomically(tmp_path / "deep" / "file", lambda file: file.write(b"x"))
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "deep" / "file").stat().st_mode) == 0o640


def test_no_other_thread_can_see_a_changed_umask(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "umask", None)
    write_atomically(tmp_path / "file", lambda file: file.write(b"x"))


def test_the_folder_is_synced_after_the_file_was_moved_there(tmp_path, monkeypatch):
    done, sync, move = [], os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (done.append(os.readlink(f"/proc/self/fd/{handle}")), sync(handle)))
    monkeypatch.setattr(os, "replace", lambda source, target: (done.append("moved"), move(source, target)))
    write_atomically(tmp_path / "file", lambda file: file.write(b"x"))
    file, *rest = done
    assert file.startswith(f"{tmp_path}/.file.")
    assert rest == ["moved", str(tmp_path)]


@pytest.mark.parametrize(("code", "is_told"), [(errno.EINVAL, False), (errno.EIO, True)])
def test_a_disk_that_syncs_no_folders_is_used_and_one_that_fails_is_told(code, is_told, tmp_path, monkeypatch):
    sync = os.fsync

    def refuse_folders(handle):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(code, os.strerror(code))
        sync(handle)

    monkeypatch.setattr(os, "fsync", refuse_folders)
    with pytest.raises(DiskError, match=r"^disk error while writing") if is_told else nullcontext():
        write_atomically(tmp_path / "file", lambda file: file.write(b"x"))
    assert (tmp_path / "file").read_bytes() == b"x"


def checkpoint(folder, value):
    state = {"weights": torch.full((SIZE // 4,), float(value))}
    write_atomically(folder / "last.ckpt", lambda file: torch.save(state, file))


def many_tensors(folder, value):
    """Whose small parts torch.save passes on one by one."""
    state = {str(number): torch.full((100,), float(value)) for number in range(SIZE // 600)}
    write_atomically(folder / "last.ckpt", lambda file: torch.save(state, file))


def curves(folder, value):
    names = [{"p": 0.1, "seed": seed} for seed in range(SIZE // 15)]
    table = Curves(folder / "metrics.csv", names)
    table.observe(Measurement(0, 0, range(len(names)), {"loss": np.full(len(names), value)}))
    table.write()


def record(folder, value):
    RunRecord(folder, {"seed": 0}).write("running", replicas=[value] * (SIZE // 8))


def fires(folder, value):
    counts = np.random.default_rng(value).integers(0, 2**62, SIZE // 8)
    write_atomically(folder / "fires.npz", lambda file: np.savez_compressed(file, train=counts))


def figure(folder, value):
    write_atomically(folder / "curves.png", lambda file: file.write(bytes([value]) * SIZE))


WRITERS = [checkpoint, many_tensors, curves, record, fires, figure]


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("leave", [4096, 300_000])
def test_on_a_full_disk_the_old_file_stays_whole_and_one_line_tells(write, leave, tmp_path):
    with small_disk(tmp_path / "disk") as disk:
        write(disk, 1)
        ((name, before),) = contents(disk).items()
        assert len(before) > 300_000
        fill_disk(disk, leave=leave)
        with pytest.raises(DiskError) as told:
            write(disk, 2)
        assert contents(disk) == {name: before}
        (disk / "filler").unlink()
        write(disk, 2)
        assert contents(disk).keys() == {name}
        assert contents(disk)[name] != before
    line = str(told.value)
    assert line.startswith("disk full: ") and "\n" not in line
    assert f"bytes free in {disk} while writing {disk / name} (" in line
    written = int(line.rpartition(" bytes written")[0].rpartition("(")[2].replace(",", ""))
    assert max(leave - 8192, 0) <= written <= leave + 4096  # a head may be written twice


@pytest.mark.parametrize("write", WRITERS)
def test_a_disk_that_became_read_only_is_told(write, tmp_path):
    with small_disk(tmp_path / "disk") as disk:
        write(disk, 1)
        before = contents(disk)
        make_read_only(disk)
        (name,) = list_names(disk)
        with pytest.raises(
            DiskError, match=f"^disk is read-only while writing {disk / name}: let it be written to, or"
        ):
            write(disk, 2)
        assert contents(disk) == before


def test_a_checkpoint_from_before_the_disk_was_full_can_be_loaded(tmp_path):
    weights = torch.ones(SIZE // 4)
    with small_disk(tmp_path / "disk") as disk:
        AtomicCheckpointIO().save_checkpoint({"weights": weights}, disk / "last.ckpt")
        fill_disk(disk, leave=300_000)
        with pytest.raises(DiskError, match="disk full"):
            AtomicCheckpointIO().save_checkpoint({"weights": 2 * weights}, disk / "last.ckpt")
        loaded = AtomicCheckpointIO().load_checkpoint(disk / "last.ckpt", weights_only=True)
    assert torch.equal(loaded["weights"], weights)


def test_what_a_killed_write_left_is_deleted_and_nothing_else(tmp_path):
    kept = [".hydra", ".tmp", "a.tmp", ".note.tmp", ".last.ckpt.12345678.tmp.py", "last.ckpt", ".x.1234567.tmp"]
    for name in kept:
        (tmp_path / name).touch()
    (tmp_path / "arm").mkdir()
    (tmp_path / "arm" / ".result.json.abcdefgh.tmp").touch()
    left = tmp_path / left_by_a_kill(tmp_path / "last.ckpt")
    assert remove_leftovers(tmp_path, tmp_path / "checkpoints") == [left]
    assert {path.name for path in tmp_path.iterdir()} == {*kept, "arm"}
    assert (tmp_path / "arm" / ".result.json.abcdefgh.tmp").exists()


def left_by_a_kill(path):
    """Return the name of what a process leaves that dies in the middle of a write."""
    if (child := os.fork()) == 0:
        write_atomically(path, lambda file: os._exit(9))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    (left,) = path.parent.glob(f".{path.name}.*.tmp")
    return left.name if len(left.name) == len(".last.ckpt.12345678.tmp") else None


def contents(disk):
    """Return the bytes of each file, but not of what fills the disk."""
    return {name: (disk / name).read_bytes() for name in list_names(disk)}


def test_a_folder_in_the_place_of_a_file_and_a_file_in_that_of_a_folder_are_told(tmp_path):
    (tmp_path / "analysis.npz").mkdir()
    with pytest.raises(
        DiskError, match=r"^a folder is in the place of the file while writing .*/analysis.npz: remove it"
    ):
        write_atomically(tmp_path / "analysis.npz", b"new")
    (tmp_path / "checkpoints").write_text("")
    with pytest.raises(DiskError, match=r"^a file is in the place of a folder while writing .*/last.ckpt: remove it"):
        write_atomically(tmp_path / "checkpoints" / "last.ckpt", b"new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["analysis.npz", "checkpoints"]
