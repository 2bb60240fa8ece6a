"""Every experiment in its short form, as a user runs it, and the report of what it leaves behind."""

import itertools
import re
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from run_program import read_result, run_program

from noisereg.config.composing import conf_dir
from noisereg.report.figures.figure import panels_of
from noisereg.report.groups.run_group import group_runs
from noisereg.runs.reading import find_runs

ON_IMAGES = [
    "claims_loss",
    "claims_mnist_pure_noise",
    "claims_one_layer",
    "fig5_mnist",
    "fig6_digits",
    "nets_transformer",
    "why_baselines_mnist",
    "why_memorization_mnist",
    "why_regulariser_mnist",
]
ON_PHOTOGRAPHS = ["fig7_resnet20"]
NAMES = sorted({path.stem for path in (conf_dir() / "experiment").glob("*.yaml")} - {*ON_IMAGES, *ON_PHOTOGRAPHS})
NOT_SPOKEN_OF = {  # about epochs or p that a short form lacks, or outside a theorem
    "claims_learning_rate": {"X6.1", "X6.2", "X6.3", "X6.4"},
    "curve_ap": {"F8.2", "F8.3", "F8.4", "F8.5", "X14"},
    "fig1_hypercube": {"F1d"},
    "fig3_no_bias": {"F3c"},
    "fig4_bias": {"F4a.3", "F4a.4"},
    "fig7_resnet20": {
        *("F7.1", "F7.1-smoothing", "F7.1-best", "F7.1-best-smoothing", "F7.1-selected", "F7.1-selected-smoothing"),
        *("F7.2", "F7.2-train", "F7.3", "F7.4"),
    },
    "thm1": {"T1-resnet", "T1-biases"},
    "thm2": {"T2a-time"},
    "why_regulariser": {"W1.2", "W1.3", "W1.6", "W1.7"},
}


def run_short(names: list[str], cwd: Path, *overrides: str, **environment: str) -> dict[str, Path]:
    """Run experiments in one sweep; give the folder of each."""
    short = ["-m", f"experiment={','.join(names)}", "fast=true", "logger=csv", "hydra.sweep.dir=sweep"]
    done = run_program(*short, *overrides, cwd=cwd, **environment)
    assert done.returncode == 0, done.stderr
    return {name: cwd / "sweep" / (f"experiment={name}" if len(names) > 1 else "0") for name in names}


def check_run(folder: Path, name: str) -> None:
    """See that an experiment ended with its figure and a verdict on each claim that its short form can speak of."""
    result = read_result(folder)
    assert result["status"] == "finished"
    assert f"experiment={name}" in result["command"]
    (run,) = find_runs([folder / "result.json"])
    (group,) = group_runs([run])
    experiment = result["config"]["experiment"]
    assert len(group.judgements) == len(experiment.get("claims", [])) + len(result["checks"]) > 0
    silent = {judgement.id for judgement in group.judgements if judgement.verdict == "not applicable"}
    assert silent == NOT_SPOKEN_OF.get(name, set())
    drawn = folder / "figures" / "experiment.png"
    assert drawn.read_bytes().startswith(b"\x89PNG") if panels_of(group) else not drawn.exists()


KINDS = ("claims", "curve|slides", "fig", "nets", "thm", "why")
LONG = [pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS]


@pytest.mark.parametrize("kind", [*LONG, "fig1|thm1"])
def test_every_experiment_runs_in_its_short_form(kind, tmp_path):
    names = [name for name in NAMES if re.match(kind, name)]
    for name, folder in run_short(names, tmp_path).items():
        check_run(folder, name)


def test_no_experiment_is_left_out():
    assert all(re.match("claims|curve|slides|fig|thm|nets|why", name) for name in NAMES)


@pytest.mark.slow
def test_every_experiment_on_images_runs_in_its_short_form(tmp_path):
    write_images(tmp_path / "images" / "FashionMNIST" / "raw")
    images = ["++dataset._target_=noisereg.datasets.FashionMnist", f"++dataset.root={tmp_path / 'images'}"]
    for name, folder in run_short(ON_IMAGES, tmp_path, *images).items():
        check_run(folder, name)


@pytest.mark.slow
def test_every_experiment_on_photographs_runs_in_its_short_form(tmp_path):
    write_photographs(tmp_path / "photographs")
    data = ["++dataset._target_=noisereg.datasets.ImageFolder", "++dataset.image_size=32"]
    root = f"dataset.root={tmp_path / 'photographs'}"
    for name, folder in run_short(ON_PHOTOGRAPHS, tmp_path, *data, root, NOISEREG_CACHE=str(tmp_path)).items():
        check_run(folder, name)


def test_an_arm_whose_data_are_missing_ends_in_one_line_and_leaves_no_record(tmp_path):
    root = tmp_path / "nowhere" / "images"
    (tmp_path / "nowhere").write_text("no folder")
    done = run_program("experiment=fig5_mnist", f"dataset.root={root}", "logger=csv", "hydra.run.dir=run", cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert str(root) in done.stderr.splitlines()[-1]
    assert not list((tmp_path / "run").rglob("result.json"))


@pytest.mark.slow
def test_an_arm_that_is_finished_is_not_trained_again(tmp_path):
    short = ["experiment=fig2_neuron", "fast=true", "logger=csv", "hydra.run.dir=run"]
    assert run_program(*short, cwd=tmp_path).returncode == 0
    whole = read_result(tmp_path / "run")
    (tmp_path / "run" / "result.json").unlink()
    before = (tmp_path / "run" / "hinge" / "result.json").read_bytes()
    again = run_program(*short, cwd=tmp_path)
    assert again.returncode == 0
    assert "arm     hinge" not in again.stdout
    assert (tmp_path / "run" / "hinge" / "result.json").read_bytes() == before
    assert read_result(tmp_path / "run")["replicas"] == whole["replicas"]


def write_images(folder: Path) -> None:
    """Write as many images as Fashion-MNIST has, each a bright patch whose place tells its class."""
    folder.mkdir(parents=True)
    for part, n in (("train", 60_000), ("t10k", 10_000)):
        labels = np.arange(n, dtype=np.uint8) % 10
        images = np.zeros((n, 28, 28), dtype=np.uint8)
        images[np.arange(n), labels, :] = 200
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
            (folder / f"{part}-{kind}-ubyte").write_bytes(header + array.tobytes())


def write_photographs(folder: Path) -> None:
    """Write six noisy images of each of ten classes, with a bright bar whose place tells the class."""
    generator = np.random.default_rng(0)
    for split, label in itertools.product(("train", "test"), range(10)):
        (folder / split / str(label)).mkdir(parents=True)
        for number in range(6):
            image = generator.integers(0, 60, (32, 32, 3), dtype=np.uint8)
            image[3 * label : 3 * label + 3] = 220
            Image.fromarray(image).save(folder / split / str(label) / f"{number}.png")
