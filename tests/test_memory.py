import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it is about glibc")

# Processes of their own: what malloc is told cannot be taken back.
HEAPS = """
import ctypes
import threading
from noisereg.memory import share_one_heap

{first}
release = threading.Event()

def hold(ready):
    held = [bytes(1000) for _ in range(10_000)]
    ready.set()
    release.wait()

for _ in range(4):
    ready = threading.Event()
    threading.Thread(target=hold, args=(ready,)).start()
    ready.wait()
library = ctypes.CDLL(None)
library.fopen.restype = ctypes.c_void_p
opened = library.fopen(b"{path}", b"w")
library.malloc_info(0, ctypes.c_void_p(opened))
library.fclose(ctypes.c_void_p(opened))
release.set()
"""


def run_alone(code, **environment):
    """Run a program without what this process tells malloc, and return what it prints."""
    cleared = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env={**cleared, **environment}, capture_output=True, text=True, check=True).stdout


def count_heaps(folder, first, **environment):
    """The heaps of a process with five threads that hold memory, as glibc itself tells of them."""
    path = folder / "heaps.xml"
    run_alone(HEAPS.format(first=first, path=path), **environment)
    return path.read_text().count("<heap nr=")


def test_threads_share_one_heap(tmp_path):
    assert count_heaps(tmp_path, "") > 1
    assert count_heaps(tmp_path, "share_one_heap()") == 1
    assert count_heaps(tmp_path, "share_one_heap()", MALLOC_ARENA_MAX="3") == 3  # as the user says


def test_a_run_has_one_heap(tmp_path):
    assert count_heaps(tmp_path, "from noisereg.__main__ import _load_run; _load_run()") == 1
