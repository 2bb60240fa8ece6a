"""Real disks that are full or read-only, as far as this machine lets a test mount one."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(folder: Path, *, size: int = 2**21) -> Iterator[Path]:
    """Mount a disk of so many bytes in memory; where that is not permitted, the test is skipped."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount command here")
    if done.returncode:
        pytest.skip(f"no disk can be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill_disk(folder: Path, *, leave: int = 0) -> None:
    """Fill the disk of a folder up to some bytes."""
    (folder / "filler").unlink(missing_ok=True)
    free = os.statvfs(folder)
    size = free.f_bavail * free.f_frsize - leave
    with (folder / "filler").open("wb") as file:
        file.write(bytes(size))


def make_read_only(folder: Path) -> None:
    """Mount the disk of a folder again so that nobody can write to it, not even root."""
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True, capture_output=True)


def list_names(folder: Path) -> set[str]:
    """Return the names of the files in a folder, but not of what fills its disk."""
    return {path.name for path in folder.iterdir()} - {"filler"}
