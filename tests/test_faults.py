"""What a run does when the world fails it: damaged files, a clock that is set back, a disk that fills up."""

import ast
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from run_program import ROOT, read_result, run_program
from small_disk import fill_disk, list_names, small_disk

import noisereg
from noisereg.config.composing import compose_settings
from noisereg.datasets.image_files import tree_identity
from noisereg.engine.measurement import Measurement
from noisereg.errors import ConfigError
from noisereg.files.cache import cached
from noisereg.runs.curves import Curves
from noisereg.training.run import prepare

PACKAGE = Path(noisereg.__file__).parent
CLOCKS = {"time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "datetime.today", "os.path.getmtime"}
MAY_TELL_THE_TIME = {
    "files/lock.py": {"datetime.now"},  # since when a folder is in use, in words
    "runs/mlflow_run.py": {"time.time"},  # MLflow shows it beside each value; nothing is decided by it
}
MAY_KNOW_A_FILE_BY_ITS_TIME = {"datasets/image_files.py"}  # as one of its marks


def test_no_module_reads_the_clock_of_the_wall():
    assert {
        where: found for where, found in clock_readings(PACKAGE) if found - MAY_TELL_THE_TIME.get(where, set())
    } == {}


@pytest.mark.parametrize(
    "source",
    [
        "import time\nx = time.time()",
        "from datetime import datetime\nx = datetime.now()",
        "y = path.stat().st_mtime > x",
    ],
)
def test_a_reading_of_the_clock_is_found(source, tmp_path):
    (tmp_path / "module.py").write_text(source)
    ((where, found),) = clock_readings(tmp_path)
    assert where == "module.py" and found


def clock_readings(package):
    """What a module takes from the clock of the wall, or from the times of files."""
    for file in sorted(package.rglob("*.py")):
        where = str(file.relative_to(package))
        attributes = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Attribute)]
        found = {ast.unparse(node) for node in attributes} & CLOCKS
        if where not in MAY_KNOW_A_FILE_BY_ITS_TIME:
            found |= {node.attr for node in attributes if node.attr.startswith(("st_mtime", "st_ctime"))}
        if found:
            yield where, found


def test_an_image_that_is_changed_under_a_clock_set_back_is_seen(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"old")
    before = tree_identity(tmp_path)
    (tmp_path / "a").write_bytes(b"new")
    os.utime(tmp_path / "a", (1, 1))
    assert tree_identity(tmp_path) != before


def test_an_image_that_is_moved_to_another_class_is_seen(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
    (tmp_path / "cat" / "1.png").write_bytes(b"x")
    before = tree_identity(tmp_path)
    (tmp_path / "cat" / "1.png").rename(tmp_path / "dog" / "1.png")
    assert tree_identity(tmp_path) != before


@pytest.mark.parametrize("damage", [b"", b"step,epoch,p,seed,a\n10,1,0.1,0,0.", b"\x00\xff", b"step,a\n10,x\n"])
def test_damaged_curves_are_written_anew_from_the_checkpoint(damage, tmp_path):
    path = tmp_path / "metrics.csv"
    first, second = (Curves(path, [{"p": 0.1, "seed": 0}]) for _ in range(2))
    for epoch in range(3):
        first.observe(Measurement(10 * epoch, epoch, [0], {"a": np.array([0.125 * epoch])}))
    first.write()
    whole = path.read_bytes()
    path.write_bytes(damage)
    second.load_state(first.state())
    second.write()
    assert path.read_bytes() == whole


def test_a_cache_on_a_full_disk_is_done_without_and_leaves_nothing(tmp_path, monkeypatch, caplog):
    pixels = np.arange(300_000)
    with small_disk(tmp_path / "disk") as disk:
        monkeypatch.setenv("NOISEREG_CACHE", str(disk))
        fill_disk(disk, leave=200_000)
        with caplog.at_level(logging.WARNING):
            arrays = cached("data", 1, lambda: {"x": pixels})
        assert list_names(disk) == set()
    assert "could not be written, so the next start is no quicker" in caplog.text
    np.testing.assert_array_equal(arrays["x"], pixels)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_cache_that_was_cut_off_is_built_anew(share, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("NOISEREG_CACHE", str(tmp_path))
    cached("data", 1, lambda: {"x": np.arange(1000)})
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with caplog.at_level(logging.WARNING):
        assert cached("data", 1, lambda: {"x": np.arange(1000)})["x"].tolist() == list(range(1000))
    assert "is built anew" in caplog.text


LINES = """
dataset.d=0 | dataset.d must be a whole number, at least 1, got 0
dataset.eps=2 | dataset.eps must be in (0, 1), got 2
dataset.eps=nan | dataset.eps must be in (0, 1), got nan
dataset.val_size=20 | dataset.val_size must be at least 0 and below dataset.train_size=20
dataset.val_size=1000 | dataset.val_size must be at least 0 and below dataset.train_size=20
model.init=foo | model.init must be one of uniform, unit, torch, he, got 'foo'
model.bias=bar | model.bias must be one of zero, same, torch, none, got 'bar'
model.output_signs=true | model.output_signs=True fixes the output layer and requires model.trained='hidden'
model.num_outputs=3 | model.num_outputs=3 does not fit the 2 classes of the data
noise=transition | noise: give either matrix or moves, one of the two
noise=transition noise.matrix=[[0.5,0.6],[0.5,0.5]] | noise: each row of matrix must hold probabilities that sum to 1
noise=asymmetric | noise.moves must stay within classes 0 to 1
loss=hinge loss.kink=up | loss.kink must be 'right' or 'left', got 'up'
loss=generalized_cross_entropy loss.q=2 | loss.q must be in (0, 1], got 2
+optimizer.lrr=1 | optimizer.lrr=1: SGD has no such argument; did you mean lr?
optimizer.momentum=0.9 +optimizer.nesterov=true +optimizer.dampening=1 | optimizer: Nesterov momentum requires
optimizer=adam +optimizer.betas=[2,3] | optimizer: Invalid beta parameter at index 0: 2
optimizer=adam +optimizer.amsgrad=3 | optimizer.amsgrad=3: Adam takes bool
scheduler=step +scheduler.T_max=3 | scheduler.T_max=3: StepLR has no such argument
+scheduler={_target_:torch.optim.lr_scheduler.StepLR} | scheduler: StepLR.__init__() missing 1 required
+scheduler={_target_:torch.optim.lr_scheduler.ReduceLROnPlateau} | scheduler: ReduceLROnPlateau waits for a metric
model.hidden=[3,4] | model.hidden=[3, 4]: TwoLayer takes int
+model.seed=3 | model.seed=3: the run itself gives seed; leave it out
callbacks.sparsity.layers=3 | callbacks.sparsity.layers=3: SparsityMonitor takes Sequence[str]
callbacks.sparsity.layers=[] | callbacks.sparsity.layers must name something to measure
callbacks.sparsity.layers=[nowhere] | callbacks.sparsity.layers must match names of ReLUs, got 'nowhere'
+trainer.logger=3 | trainer.logger=3: the run itself gives logger; leave it out
+trainer.detect_anomaly=x | trainer.detect_anomaly='x': Trainer takes
+trainer.foo=3 | trainer.foo=3: Trainer has no such argument
callbacks.finite_loss.action=halt | callbacks.finite_loss.action must be stop or skip, got 'halt'
callbacks.finite_loss.action=skip callbacks.finite_loss.every_n_steps=2 | callbacks.finite_loss.action=skip must
+noise.pp=0.1 | noise.pp=0.1: Resample has no such argument; did you mean p?
engine=fused | engine=fused cannot run
"""
CASES = [tuple(line.split(" | ")) for line in LINES.strip("\n").splitlines()]
ONE = ["engine=none", "seeds=1", "noise.p=0.2", "logger=csv", "dataset.train_size=20", "dataset.test_size=20"]


@pytest.mark.parametrize(("line", "told"), CASES)
def test_what_only_its_class_can_check_is_refused_before_the_first_step(line, told, tmp_path):
    overrides = [*ONE, "trainer.precision=16-mixed"] if line == "engine=fused" else ONE
    chosen = compose_settings(*overrides, *line.split(" "))
    with pytest.raises(ConfigError) as caught:
        prepare(chosen, folder=tmp_path, console=Console(quiet=True))
    assert str(caught.value).startswith(told)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("+optimizer.lrr=1", "optimizer.lrr=1: SGD has no such argument"),
        ("callbacks.sparsity.layers=[nowhere]", "callbacks.sparsity.layers must match names of ReLUs"),
        ("loss._target_=noisereg.losses.Nothing", "loss: Error loading 'noisereg.losses.Nothing'"),
    ],
)
def test_what_only_its_class_can_check_ends_the_program_with_2_and_leaves_no_run(line, told, tmp_path):
    done = run_program(*ONE, line, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {told}") and done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_run_under_a_limit_of_memory_is_finished_without_its_figures(tmp_path):
    line = ["trainer.max_epochs=2", "dataset.train_size=20", "dataset.test_size=20", "engine=blocked", "seeds=1"]
    line += ["noise.p=0.2", "logger=csv", "hydra.run.dir=run"]
    command = ["bash", "-c", 'ulimit -v 6000000; exec "$@"', "bash", sys.executable, str(ROOT / "train.py"), *line]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"not drawn: {tmp_path / 'run' / 'figures' / 'curves'}: the chart library ended its process" in done.stdout
    assert done.stdout.splitlines()[-1].endswith(f"all numbers in {tmp_path / 'run' / 'result.json'}")
    assert read_result(tmp_path / "run")["status"] == "finished"
