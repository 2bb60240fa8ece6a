import os
import subprocess
import sys
from pathlib import Path


def test_two_processes_add_up_one_may_have_seen_nothing_and_a_wrapped_network_is_counted_whole():
    # A script of its own: gloo, real processes, and a clean torch.
    script = Path(__file__).with_name("two_processes.py")
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, script], env=paths, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stdout.splitlines() if not line.startswith("[Gloo]")]  # torch 2.9 talks
    assert " ".join(said).split() == [*["whole"] * 2, *["silent"] * 2, *["parts"] * 2, *["wrapped"] * 2]
