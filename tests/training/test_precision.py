import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from noisereg.config.composing import compose_settings
from noisereg.training.precision import bfloat16_speed, choose_precision
from noisereg.training.prepare import prepare

OPEN = {"accelerator": "cpu", "precision": "auto"}
SMALL = ["model=mlp", "dataset.train_size=8", "dataset.test_size=4", "trainer.max_epochs=1", "seeds=1", "noise.p=0.1"]


def cpu_flags():
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return set(next((line.split() for line in lines if line.startswith("flags")), []))


def training(folder, *overrides, begun=None):
    settings = compose_settings(*SMALL, "logger=csv", "trainer.accelerator=cpu", *overrides)
    return prepare(settings, folder=folder, console=Console(quiet=True), begun=begun and {"precision": begun})


def test_a_precision_that_is_named_is_taken():
    assert choose_precision({"accelerator": "cpu", "precision": "16-mixed"}, begun="32-true").name == "16-mixed"
    assert not choose_precision({"accelerator": "cpu", "precision": 32}).reason


@pytest.mark.skipif("amx_bf16" not in cpu_flags(), reason="a CPU with matrix instructions for bfloat16")
def test_a_cpu_with_matrix_instructions_trains_in_bfloat16():
    assert choose_precision(OPEN).name == "bf16-mixed"


@pytest.mark.skipif({"amx_bf16", "avx512_bf16"} & cpu_flags() != set(), reason="a CPU without bfloat16")
def test_a_cpu_without_bfloat16_trains_in_float32():
    assert choose_precision(OPEN).name == "32-true"


def test_a_cpu_whose_libraries_are_limited_to_avx2_trains_in_float32():
    code = f"from noisereg.training.precision import choose_precision; print(choose_precision({OPEN}))"
    limits = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
    printed = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | limits, capture_output=True, text=True, check=True
    ).stdout
    assert "name='32-true'" in printed
    assert "a convolution in bfloat16 has 0." in printed


@pytest.mark.parametrize(("native", "name"), [(True, "bf16-mixed"), (False, "32-true")])
def test_a_gpu_trains_in_bfloat16_where_it_is_native(native, name, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: native or including_emulation)
    for accelerator in ("auto", "gpu", "cuda"):
        assert choose_precision({"accelerator": accelerator, "precision": "auto"}).name == name


def test_an_engine_that_computes_in_float32_is_given_that(tmp_path):
    assert choose_precision(OPEN, engine="stacked").name == "32-true"
    made = training(tmp_path, "trainer.precision=auto", "engine=stacked", "optimizer.momentum=0.9")
    assert made.settings["trainer"]["precision"] == "32-true"


def test_all_runs_of_a_cpu_compute_in_the_precision_that_was_once_measured(tmp_path, monkeypatch):
    monkeypatch.setenv("NOISEREG_CACHE", str(tmp_path))
    choose_precision(OPEN)
    (kept,) = tmp_path.glob("bfloat16-*.npz")
    for speed, name in ((1.1, "32-true"), (1.3, "bf16-mixed")):
        np.savez(kept, speed=speed)
        assert choose_precision(OPEN).name == name
    for damaged in ({"other": 1.0}, {"speed": float("nan")}, {"speed": "fast"}, {"speed": [3.0, 3.0]}):
        np.savez(kept, **damaged)
        assert "bfloat16 has" in choose_precision(OPEN).reason and "nan" not in choose_precision(OPEN).reason
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    choose_precision(OPEN)
    assert len(list(tmp_path.glob("bfloat16-*.npz"))) == 2


def test_a_measurement_leaves_the_number_of_threads():
    before = torch.get_num_threads()
    assert bfloat16_speed() > 0
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("begun", ["bf16-mixed", "32-true"])
def test_a_run_that_goes_on_elsewhere_keeps_its_precision_and_says_so(begun, tmp_path):
    made = training(tmp_path, "trainer.precision=auto", begun=begun)
    assert str(made.trainer.precision) == begun
    assert f"numbers precision {begun}: as the run began" in made.headlines()


def test_no_line_speaks_of_a_precision_that_the_user_named(tmp_path):
    assert "precision" not in " ".join(training(tmp_path, "trainer.precision=32-true").headlines())


def test_resnets_leave_their_precision_to_the_machine():
    assert compose_settings("model=resnet20", "noise.p=0.1", "seeds=1")["trainer"]["precision"] == "auto"
