import json
import platform
import subprocess
from pathlib import Path

import torch

from noisereg.runs.environment import describe_environment


def test_the_environment_is_plain_and_names_the_commit_of_the_checkout():
    around = describe_environment(torch.device("cpu"))
    assert json.loads(json.dumps(around)) == around
    assert around["python"] == platform.python_version()
    assert around["packages"]["torch"] == torch.__version__.partition("+")[0]
    root = Path(__file__).parents[2]
    asked = subprocess.run(["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    assert around["commit"] == (asked.stdout.strip() or None)


def test_the_environment_tells_which_devices_were_left_to_the_process(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert describe_environment(torch.device("cpu"))["visible_devices"] == "1"
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert describe_environment(torch.device("cpu"))["visible_devices"] is None
