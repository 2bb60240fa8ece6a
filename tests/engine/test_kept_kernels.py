"""Compiled loops on disk. numba keeps the code of a process for good, so what is loaded is tried in another process."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest

from noisereg.engine import batch_kernels, kept_kernels, kernels, momentum_kernels
from noisereg.engine.kept_kernels import keep_on_disk
from noisereg.engine.sgd import Sgd
from noisereg.engine.slopes import compiled_slope
from noisereg.losses import Logistic

SLOPE = compiled_slope(Logistic())
ALL = kernels.Trains(hidden=True, output=True, output_bias=True)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return where machine code is kept."""
    monkeypatch.setenv("NOISEREG_CACHE", str(tmp_path))
    return tmp_path / "kernels"


def train(kind, features, hidden):
    """Compile or load a kernel that no other test has, train by it, and return it with a hash of the weights."""
    shape, how = (features, hidden, 1), {"slope": SLOPE, "trains": ALL}
    if kind == "plain":
        kernel = kernels.compile_network.__wrapped__(*shape, **how, sparse=False)
    elif kind == "momentum":
        kernel = momentum_kernels.compile_network.__wrapped__(*shape, **how)
    else:
        kernel = batch_kernels.compile_network.__wrapped__(*shape, **how, momentum=True)
    draws = np.random.default_rng(0)
    weights = draws.normal(size=(2, features, hidden)).astype("f4"), draws.normal(size=(2, 1, hidden)).astype("f4")
    weights = *weights, np.zeros((2, 1), "f4")
    inputs, index = draws.normal(size=(50, features)).astype("f4"), draws.integers(50, size=(2, 1000))
    target = draws.integers(2, size=(2, 1000, 1)).astype("f4")
    if kind == "plain":
        kernel(0, 2, *weights, inputs, index, target, np.full(2, 0.01, "f4"), np.float32(0))
    else:
        table = Sgd(momentum=0.9).coefficients(np.full(2, 0.001)).astype("f4")
        momenta = [np.zeros_like(part) for part in weights]
        last = [np.float32(0), 16] if kind == "batch" else [np.float32(0)]
        kernel(0, 2, *weights, *momenta, inputs, index, target, table, *last)
    assert all(np.isfinite(part).all() for part in weights)
    return kernel, hashlib.sha256(b"".join(part.tobytes() for part in weights)).hexdigest()


def number_of_loads(kernel):
    return sum(kernel._cache_hits.values())


def adder(number):
    """Return a new compiled function that adds a number."""
    return keep_on_disk(numba.njit(lambda x: x + number))


@pytest.mark.parametrize(
    "kind", ["plain", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("momentum", "batch"))]
)
def test_a_loaded_kernel_computes_the_bits_of_a_compiled_one(folder, kind):
    """The copies of the functions that it calls, which the compiler makes within it, may add in another order."""
    kernel, weights = train(kind, 61, 240)
    assert number_of_loads(kernel) == 0
    script = (
        "from tests.engine import test_kept_kernels as t\n"
        f"kernel, weights = t.train({kind!r}, 61, 240); print(t.number_of_loads(kernel), weights)"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["1", weights], done.stderr


def test_a_kernel_for_another_shape_lies_in_another_file(folder):
    assert [int(adder(number)(1)) for number in (1, 2, 1)] == [2, 3, 2]
    assert len(list(folder.iterdir())) == 2


def test_functions_of_one_name_that_differ_have_other_symbols():
    """numba's numbers for them begin anew in each process, so a loaded one may have that of another."""
    shapes = [(3, 5), (3, 6), (3, 5)]
    made = [kernels.compile_network.__wrapped__(*shape, 1, slope=SLOPE, trains=ALL, sparse=False) for shape in shapes]
    names = [[function.py_func.__qualname__ for function in kernel._cache._functions] for kernel in made]
    assert names[0] == names[2]
    assert set(names[0]) & set(names[1]) == {SLOPE.py_func.__qualname__}


def test_settings_of_numba_are_part_of_the_name(folder, monkeypatch):
    adder(1)(1)
    monkeypatch.setenv("NUMBA_CPU_NAME", "haswell")
    kept_kernels._describe_surroundings.cache_clear()
    adder(1)(1)
    kept_kernels._describe_surroundings.cache_clear()
    assert len(list(folder.iterdir())) == 2


def test_nobody_else_can_write_to_what_is_kept(folder):
    before = os.umask(0)
    try:
        adder(1)(1)
    finally:
        os.umask(before)
    (file,) = folder.iterdir()
    assert [path.stat().st_mode & 0o777 for path in (folder, file)] == [0o700, 0o600]


@pytest.mark.parametrize("place", ["folder", "file"])
def test_what_others_could_have_written_is_not_run(folder, caplog, place):
    adder(1)(1)
    (file,) = folder.iterdir()
    path = {"folder": folder, "file": file}[place]
    path.chmod(path.stat().st_mode | 0o020)
    again = adder(1)
    assert int(again(1)) == 2
    assert number_of_loads(again) == 0
    assert f"others than the user can write to {path}" in caplog.text


def test_a_link_to_a_file_is_not_followed(folder, caplog):
    adder(1)(1)
    (file,) = folder.iterdir()
    moved = file.rename(folder.parent / "moved")
    file.symlink_to(moved)
    again = adder(1)
    assert int(again(1)) == 2
    assert number_of_loads(again) == 0
    assert "is not used" in caplog.text


def test_a_damaged_file_is_compiled_anew(folder, caplog):
    adder(1)(1)
    (file,) = folder.iterdir()
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    again = adder(1)
    assert int(again(1)) == 2
    assert number_of_loads(again) == 0
    assert "is damaged" in caplog.text
    mended = adder(1)
    mended(1)
    assert number_of_loads(mended) == 1


def test_a_folder_that_cannot_be_written_is_done_without(tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NOISEREG_CACHE", str(tmp_path / "file"))
    assert int(adder(1)(1)) == 2
    assert "the next start is no quicker" in caplog.text


def test_what_a_name_would_not_tell_apart_is_refused():
    array = np.ones(2)
    with pytest.raises(TypeError, match="plain values, got ndarray"):
        keep_on_disk(numba.njit(lambda x: x + array))
