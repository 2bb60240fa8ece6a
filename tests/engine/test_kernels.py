import numba
import numpy as np
import pytest
from numba.core.codegen import get_host_cpu_features

from noisereg.engine import kernels
from noisereg.engine.slopes import compiled_slope
from noisereg.losses import SquaredError

BOTH = kernels.Trains(hidden=True, output=True, output_bias=True)
SLOPE = compiled_slope(SquaredError())
RATE = 0.01


def problem(features, hidden, *, replicas=3, steps=9):
    """Draw weights, inputs of which a third is zero, and the draws of each replica."""
    generator = np.random.default_rng(0)
    weights = generator.normal(size=(replicas, features, hidden))
    output, bias = generator.normal(size=(replicas, 1, hidden)), generator.normal(size=(replicas, 1))
    inputs = generator.normal(size=(5, features)) * (generator.random((5, features)) < 2 / 3)
    index, target = generator.integers(5, size=(replicas, steps)), generator.random((replicas, steps, 1))
    return (weights, output, bias), inputs, index, target


def by_numpy(weights, inputs, index, target):
    """Train each replica by the chain rule of (N - (2 t - 1))^2, written out."""
    w, v, c = (tensor.copy() for tensor in weights)
    for r, steps in enumerate(index):
        for t, row in enumerate(steps):
            z = inputs[row] @ w[r]
            slope = 2 * (np.maximum(z, 0) @ v[r, 0] + c[r, 0] - (2 * target[r, t, 0] - 1))
            step = -RATE * slope
            w[r], v[r, 0], c[r, 0] = (
                w[r] + step * np.outer(inputs[row], v[r, 0] * (z > 0)),
                v[r, 0] + step * np.maximum(z, 0),
                c[r, 0] + step,
            )
    return w, v, c


def network(features, hidden, *, sparse):
    return kernels.compile_network(features, hidden, 1, slope=SLOPE, trains=BOTH, sparse=sparse)


@pytest.mark.parametrize(("features", "hidden"), [(1, 1), (3, 5), (9, 13)])
@pytest.mark.parametrize("sparse", [False, True])
def test_any_numbers_of_features_and_neurons_are_trained(sparse, features, hidden):
    """Rows are taken by four and neurons by whole registers: what is left over is trained as well."""
    weights, inputs, index, target = problem(features, hidden)
    expected = by_numpy(weights, inputs, index, target)
    network(features, hidden, sparse=sparse)(0, 3, *weights, inputs, index, target, np.full(len(index), RATE), 0.0)
    for got, wanted in zip(weights, expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("filled", [0, 1, 4, 5])
def test_inputs_of_which_few_or_none_are_not_zero_are_trained(filled):
    weights, inputs, index, target = problem(9, 13)
    inputs[:] = 0
    for row, values in enumerate(inputs):
        values[row : row + filled] = 1 + row
    expected = by_numpy(weights, inputs, index, target)
    network(9, 13, sparse=True)(0, 3, *weights, inputs, index, target, np.full(len(index), RATE), 0.0)
    for got, wanted in zip(weights, expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("kind", ["dense", "sparse", "neuron"])
def test_only_the_replicas_from_first_to_last_are_trained(kind):
    weights, inputs, index, target = problem(3, 5)
    neurons = weights[1][:, :, :3].copy()
    run, output, arguments, penalty = {
        "dense": (network(3, 5, sparse=False), weights[1], [*weights, inputs], [0.0]),
        "sparse": (network(3, 5, sparse=True), weights[1], [*weights, inputs], [0.0]),
        "neuron": (kernels.compile_neuron(3, slope=SLOPE), neurons, [neurons, inputs], []),
    }[kind]
    before = output.copy()
    run(1, 2, *arguments, index, target, np.full(3, RATE), *penalty)
    assert (output != before).any(axis=(1, 2)).tolist() == [False, True, False]


def test_kernels_of_one_shape_are_compiled_once():
    assert network(3, 5, sparse=False) is network(3, 5, sparse=False) is not network(3, 5, sparse=True)


def test_loops_use_the_widest_registers_that_the_cpu_has():
    features = get_host_cpu_features().split(",")
    widest = next((name for flag, name in (("+avx512f", "zmm"), ("+avx2", "ymm")) if flag in features), None)
    if widest is None or numba.config.CPU_NAME:
        pytest.skip("a CPU of another family, or one that the user has chosen")

    @numba.njit
    def add(x, y):
        for i in range(len(x)):
            x[i] += y[i]

    add(np.ones(64, np.float32), np.ones(64, np.float32))
    (code,) = add.inspect_asm().values()
    assert widest in code
