"""Whole trainings on real images: `NOISEREG_DATA=<folder with MNIST and CIFAR-10> pytest -m slow tests`."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DATA = os.environ.get("NOISEREG_DATA", "")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not DATA, reason="needs real images: NOISEREG_DATA=<folder with MNIST and CIFAR-10>"),
]


def _start(folder: Path, *arguments: str) -> subprocess.Popen:
    command = [sys.executable, str(ROOT / "train.py"), *arguments, f"dataset.root={Path(DATA).resolve()}"]
    return subprocess.Popen(
        [*command, f"hydra.run.dir={folder}", "logger=csv", "trainer.max_epochs=1"], cwd=folder.parent
    )


def _ends(process: subprocess.Popen, folder: Path) -> tuple[dict, dict]:
    """Return the metrics before and after the training."""
    assert process.wait(timeout=3000) == 0
    assert json.loads((folder / "result.json").read_text())["status"] == "finished"
    rows = list(csv.DictReader((folder / "metrics.csv").read_text().splitlines()))
    return rows[0], rows[-1]


def test_one_epoch_of_mnist_under_noise_is_accurate_and_sparser_than_without(tmp_path):
    folders = {p: tmp_path / f"p{p}" for p in (0, 0.1)}
    processes = {p: _start(folder, "dataset=mnist", f"noise.p={p}") for p, folder in folders.items()}
    last = {p: _ends(processes[p], folders[p])[1] for p in folders}
    assert float(last[0.1]["test/error"]) < 0.06
    assert float(last[0.1]["test/active_fraction"]) < float(last[0]["test/active_fraction"])
    # 60,000 labels that change with probability 0.09
    assert abs(float(last[0.1]["noise/measured_rate"]) - 0.09) < 5 * (0.09 * 0.91 / 60_000) ** 0.5


@pytest.mark.parametrize("noise", ["resample", "smoothing"])
def test_one_epoch_of_resnet20_on_cifar10_lowers_the_loss(noise, tmp_path):
    folder = tmp_path / noise
    first, last = _ends(_start(folder, "model=resnet20", f"noise={noise}", "noise.p=0.1"), folder)
    assert float(last["test/loss"]) < float(first["test/loss"])
    assert float(last["test/error"]) < 0.7
    layers = [name for name in last if name.startswith("test/active_fraction/")]
    assert layers == ["test/active_fraction/layer3.2.relu1", "test/active_fraction/layer3.2.relu2"]
