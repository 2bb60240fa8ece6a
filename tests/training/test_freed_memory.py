import json
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it is about glibc")

# A process of its own: the thresholds of malloc cannot be taken back.
STEPS = """
import json
import resource
from contextlib import nullcontext
import torch
from noisereg.models import ResNet
from noisereg.training.freed_memory import keep_freed_memory

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def new_pages():
    before = faults()
    for _ in range(5):
        network(images).sum().backward()
    return (faults() - before) / 5

torch.set_num_threads(1)
network, images = ResNet((3, 32, 32), 10, depth=8), torch.ones(64, 3, 32, 32)
found = {}
for name, block in {"before": nullcontext(), "inside": keep_freed_memory(), "after": nullcontext()}.items():
    with block:
        new_pages()
        found[name] = new_pages()
    size = int(open("/proc/self/statm").read().split()[1])
    found[f"{name}, held"] = size * resource.getpagesize()
print(json.dumps(found))
"""


def measured(**environment):
    """New pages of a step before, inside and after the block, and the bytes that are held once each has ended."""
    cleared = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    run = subprocess.run(
        [sys.executable, "-c", STEPS], env={**cleared, **environment}, capture_output=True, text=True, check=True
    )
    return json.loads(run.stdout)


def test_a_step_takes_hardly_a_new_page_and_at_the_end_what_is_free_is_returned():
    found = measured()
    assert found["before"] > 1000  # of 4 KiB: many a step's arrays come from the system anew
    assert found["inside"] < found["before"] / 10
    assert found["inside, held"] < found["before, held"] + 4 * 2**20


def test_thresholds_that_a_user_sets_are_left_alone():
    found = measured(MALLOC_TRIM_THRESHOLD_="131072")
    assert found["inside"] > 0.5 * found["before"] > 1000
