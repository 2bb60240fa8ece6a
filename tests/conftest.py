"""One thread for every test and the processes it starts, as results depend on their number; no call of W&B.

All share one cache.
"""

import gc
import os
import tempfile
import threading

import pytest
import torch

torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["WANDB_MODE"] = "offline"
if "NOISEREG_CACHE" not in os.environ:  # the first process sets it for all
    _cache = tempfile.TemporaryDirectory()
    os.environ["NOISEREG_CACHE"] = _cache.name


def pytest_collection_finish():
    """Search no more for garbage in what all tests share, and more rarely in the rest: a fifth of their time."""
    gc.freeze()
    gc.set_threshold(50_000, 50, 50)


@pytest.fixture(autouse=True)
def _filters_are_its_own():
    """Let no test leave a compilation, which would restore the filters of warnings that it found in the next one."""
    yield
    for thread in threading.enumerate():
        if thread.name == "compilation":
            thread.join()
