"""The compiled loops of the fused engine: K steps of plain SGD, one sample each, for replicas first to last - 1.

All kernels share their arguments: the weights of all replicas (updated in place), the inputs, index (R, K) of their
rows, target (R, K, outputs) with the probability that each output's label is +1, and the learning rate of each replica.
Those of networks with a hidden layer take `activity_l1` last, which is 0 without such a penalty.
They are compiled for one shape: loops over a number of neurons that the compiler knows run on whole vector registers.
The compiler may sum in any order but must keep infinities and nan, so that a diverging replica can be told.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple, no_type_check

import numba
import numpy as np
from numba.core.codegen import get_host_cpu_features

from noisereg.engine.kept_kernels import keep_on_disk
from noisereg.engine.sgd import STEPS_IN_A_PASS

_REGISTER = 64  # bytes of the widest vector register: rows that begin at such an address are read without a detour
_IN_ANY_ORDER = {"reassoc", "contract", "nsz", "arcp"}
compiled = numba.njit(fastmath=_IN_ANY_ORDER, error_model="numpy", nogil=True)
reordered = numba.njit(fastmath=_IN_ANY_ORDER, error_model="numpy", forceinline=True)
inlined = numba.njit(forceinline=True, error_model="numpy")


def _use_whole_registers() -> None:
    """Let the compiler use registers of 512 bits where the CPU has them; of Intel's it takes half of each by itself.

    That is for programs that do so now and then, as some CPUs run slower meanwhile. There is no way to ask for it
    loop by loop, so it holds for all that numba compiles from now on, but if the user has chosen a CPU or features.
    """
    config: Any = numba.config  # its settings are made as it is imported
    features = get_host_cpu_features()  # without AVX-512 where the user has turned it off
    is_chosen = config.CPU_NAME or config.CPU_FEATURES
    if "+avx512f" in features.split(",") and not is_chosen:
        config.CPU_FEATURES = f"{features},-prefer-256-bit"


_use_whole_registers()


class Trains(NamedTuple):
    """Which weights a step moves."""

    hidden: bool
    output: bool
    output_bias: bool


@lru_cache
def compile_network(
    features: int, hidden: int, outputs: int, *, slope: Callable[..., None], trains: Trains, sparse: bool
) -> Any:
    """Compile the kernel for networks with a hidden layer.

    A step costs its passes over the weights of the hidden layer, so some steps and the update of as many before share
    one. A step sees the weights that the ones before it leave: its pre-activations are those of the weights before the
    pass, plus the delta of each step since, times the inner product of the two inputs.

    Args:
        features: of an input, D.
        hidden: neurons, H.
        outputs: of the network.
        slope: derivative of the loss, as `compiled_slope` gives it.
        trains: which weights a step moves.
        sparse: whether to go only through the rows of weights that meet an input other than zero.
    """
    pass_over = (_sparse_pass if sparse else _dense_pass)(features, hidden)
    step_output = _output_step(hidden, outputs, slope=slope, trains=trains)
    count_at_most = STEPS_IN_A_PASS // 2 if sparse else STEPS_IN_A_PASS

    @compiled
    @no_type_check
    def run(first, last, weights, output, bias, inputs, index, target, rates, activity_l1):
        z, delta = empty_rows(count_at_most, hidden, weights), empty_rows(count_at_most, hidden, weights)
        x, before = empty_rows(count_at_most, features, weights), empty_rows(count_at_most, features, weights)
        logits = np.empty(outputs, weights.dtype)
        num_steps = index.shape[1]
        for r in range(first, last):
            before[:], delta[:] = 0, 0
            for t in range(0, num_steps + count_at_most, count_at_most):  # the last pass only updates
                count = max(0, min(count_at_most, num_steps - t))
                x[count:], z[:] = 0, 0
                for s in range(count):
                    x[s] = inputs[index[r, t + s]]
                pass_over(weights[r], before, delta, x, z)
                for s in range(count):
                    for u in range(s):
                        add_scaled(z[s], inner_product(x[u], x[s]), delta[u])
                    step_output(z[s], delta[s], logits, output[r], bias[r], target[r, t + s], rates[r], activity_l1)
                delta[count:] = 0
                x, before = before, x

    return keep_on_disk(run)


@inlined
@no_type_check
def empty_rows(num_rows, length, like):
    """Make an array (num_rows, length) of the dtype of `like`, the first row of which begins where a register would."""
    size = like.itemsize
    space = np.empty(num_rows * length + _REGISTER // size, like.dtype)
    first = -space.ctypes.data % _REGISTER // size
    return space[first : first + num_rows * length].reshape(num_rows, length)


@reordered
@no_type_check
def inner_product(x, y):
    """Compute the inner product of two vectors."""
    product = x[0] * y[0]
    for j in range(1, len(x)):
        product += x[j] * y[j]
    return product


@reordered
@no_type_check
def add_scaled(z, factor, delta):
    """Add a multiple of a vector to another."""
    for i in range(len(z)):
        z[i] += factor * delta[i]


def _dense_pass(features: int, hidden: int) -> Any:
    """Compile one pass over the weights: w += sum p delta over the steps before, then z += x w for each to come.

    Two rows at a time cut the traffic of z and delta; for more there are too few registers.
    """
    whole = features // 2 * 2
    second, third, fourth = hidden, 2 * hidden, 3 * hidden

    @inlined
    @no_type_check
    def pass_over(weights, p, delta, x, z):
        w, d, y = weights.reshape(-1), delta.reshape(-1), z.reshape(-1)  # with two axes nothing is vectorised
        for j in range(0, whole, 2):
            k, o = j + 1, j * hidden
            a0, a1, a2, a3, b0, b1, b2, b3 = p[0, j], p[1, j], p[2, j], p[3, j], p[0, k], p[1, k], p[2, k], p[3, k]
            f0, f1, f2, f3, g0, g1, g2, g3 = x[0, j], x[1, j], x[2, j], x[3, j], x[0, k], x[1, k], x[2, k], x[3, k]
            for i in range(hidden):
                d0, d1, d2, d3 = d[i], d[second + i], d[third + i], d[fourth + i]
                v = w[o + i] + a0 * d0 + a1 * d1 + a2 * d2 + a3 * d3
                u = w[o + hidden + i] + b0 * d0 + b1 * d1 + b2 * d2 + b3 * d3
                w[o + i], w[o + hidden + i] = v, u
                y[i] += f0 * v + g0 * u
                y[second + i] += f1 * v + g1 * u
                y[third + i] += f2 * v + g2 * u
                y[fourth + i] += f3 * v + g3 * u
        for j in range(whole, features):
            o = j * hidden
            a0, a1, a2, a3, f0, f1, f2, f3 = p[0, j], p[1, j], p[2, j], p[3, j], x[0, j], x[1, j], x[2, j], x[3, j]
            for i in range(hidden):
                v = w[o + i] + a0 * d[i] + a1 * d[second + i] + a2 * d[third + i] + a3 * d[fourth + i]
                w[o + i] = v
                y[i] += f0 * v
                y[second + i] += f1 * v
                y[third + i] += f2 * v
                y[fourth + i] += f3 * v

    return pass_over


def _sparse_pass(features: int, hidden: int) -> Any:
    """Compile the same for inputs that are mostly zero, of two steps: the more share a pass, the more rows one meets.

    Rows that only the steps before have met are updated by themselves. So the sums of z depend on the inputs of its
    pass alone, to the last bit, and not on whether a call begins with it. Four rows at a time cut the traffic of z and
    delta.
    """

    @inlined
    @no_type_check
    def pass_over(weights, p, delta, x, z):
        now, past = np.empty(features + 1, np.int64), np.empty(features + 1, np.int64)
        num_now, num_past = 0, 0
        for j in range(features):  # without branches, which would be guessed wrong
            now[num_now], past[num_past] = j, j
            is_now = (x[0, j] != 0) | (x[1, j] != 0)
            num_now += is_now
            num_past += (not is_now) & ((p[0, j] != 0) | (p[1, j] != 0))
        (d, e), (y, y_next) = (delta[0], delta[1]), (z[0], z[1])
        for k in range(num_past):
            j = past[k]
            w0, a0, b0 = weights[j], p[0, j], p[1, j]
            for i in range(hidden):
                w0[i] += a0 * d[i] + b0 * e[i]
        whole = num_now // 4 * 4
        for k in range(0, whole, 4):
            j0, j1, j2, j3 = now[k], now[k + 1], now[k + 2], now[k + 3]
            w0, w1, w2, w3 = weights[j0], weights[j1], weights[j2], weights[j3]
            a0, a1, a2, a3 = p[0, j0], p[0, j1], p[0, j2], p[0, j3]
            b0, b1, b2, b3 = p[1, j0], p[1, j1], p[1, j2], p[1, j3]
            f0, f1, f2, f3 = x[0, j0], x[0, j1], x[0, j2], x[0, j3]
            g0, g1, g2, g3 = x[1, j0], x[1, j1], x[1, j2], x[1, j3]
            for i in range(hidden):
                d0, e0 = d[i], e[i]
                v0, v1 = w0[i] + a0 * d0 + b0 * e0, w1[i] + a1 * d0 + b1 * e0
                v2, v3 = w2[i] + a2 * d0 + b2 * e0, w3[i] + a3 * d0 + b3 * e0
                w0[i], w1[i], w2[i], w3[i] = v0, v1, v2, v3
                y[i] += f0 * v0 + f1 * v1 + f2 * v2 + f3 * v3
                y_next[i] += g0 * v0 + g1 * v1 + g2 * v2 + g3 * v3
        for k in range(whole, num_now):
            j = now[k]
            w0, a0, b0, f0, g0 = weights[j], p[0, j], p[1, j], x[0, j], x[1, j]
            for i in range(hidden):
                v0 = w0[i] + a0 * d[i] + b0 * e[i]
                w0[i] = v0
                y[i] += f0 * v0
                y_next[i] += g0 * v0

    return pass_over


@lru_cache
def compile_neuron(features: int, *, slope: Callable[..., None]) -> Any:
    """Compile the kernel for single neurons, whose weights are (R, 1, features)."""

    @compiled
    @no_type_check
    def run(first, last, output, inputs, index, target, rates):
        logits = np.empty(1, output.dtype)
        for r in range(first, last):
            v = output[r, 0]
            for t in range(index.shape[1]):
                x = inputs[index[r, t]]
                z = x[0] * 0
                for j in range(features):
                    z += v[j] * x[j]
                logits[0] = z
                slope(logits, target[r, t])
                step = -rates[r] * logits[0]
                for j in range(features):
                    v[j] += step * x[j]

    return keep_on_disk(run)


def _output_step(hidden: int, outputs: int, *, slope: Callable[..., None], trains: Trains) -> Any:
    """Compile what follows a forward pass to z: the activations, the output layer's update, the hidden one's delta.

    delta is the step of the pre-activations, -rate dL/dz, where L has the penalty of the activations. Where the hidden
    layer is not trained it is 0.
    """
    trains_hidden, trains_output, trains_bias = trains

    @reordered
    @no_type_check
    def step(z, delta, logits, output, bias, target, rate, activity_l1):
        of_penalty = -rate * activity_l1 if trains_hidden else rate * 0
        for i in range(hidden):
            z[i] = z[i] if z[i] > 0 else z[i] * 0
            delta[i] = of_penalty
        for c in range(outputs):
            sum_ = bias[c]
            for i in range(hidden):
                sum_ += z[i] * output[c, i]
            logits[c] = sum_
        slope(logits, target)
        for c in range(outputs):
            back = -rate * logits[c]
            for i in range(hidden):
                v = output[c, i]
                if trains_hidden:
                    delta[i] += back * v
                if trains_output:
                    output[c, i] = v + back * z[i]
            if trains_bias:
                bias[c] += back
        for i in range(hidden):
            delta[i] = delta[i] if z[i] > 0 else 0

    return step
