"""The compiled loops of the fused engine: K steps of SGD, one sample each, for replicas first to last - 1.

All kernels share their arguments: the weights of all replicas (updated in place), the inputs, index (R, K) of their
rows, target (R, K, outputs) with the probability that each output's label is +1, and the learning rate of each replica.
They are compiled for one shape: loops over a number of neurons that the compiler knows run on whole vector registers.
The compiler may sum in any order but must keep infinities and nan, so that a diverging replica can be told.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple, no_type_check

import numba
import numpy as np

_compiled = numba.njit(fastmath={"reassoc", "contract", "nsz", "arcp"}, error_model="numpy", nogil=True)


class Trains(NamedTuple):
    """Which weights a step moves."""

    hidden: bool
    output: bool
    output_bias: bool


@lru_cache
def dense(features: int, hidden: int, outputs: int, *, slope: Callable[..., None], trains: Trains) -> Any:
    """Compile the kernel for networks with a hidden layer.

    The update of one step and the forward pass of the next share one pass over the weights of the hidden layer, which
    is what a step costs. Four rows at a time halve the traffic of z and delta.
    """
    whole = features // 4 * 4
    step_output = _output_step(hidden, outputs, slope=slope, trains=trains)

    @_compiled
    @no_type_check
    def run(first, last, weights, output, bias, inputs, index, target, rates):
        z, delta = np.empty(hidden, weights.dtype), np.empty(hidden, weights.dtype)
        before, logits = np.empty(features, weights.dtype), np.empty(outputs, weights.dtype)
        num_steps = index.shape[1]
        for r in range(first, last):
            w = weights[r].reshape(-1)  # flat: with two axes the loops below are not vectorised
            for i in range(hidden):
                delta[i] = 0
            for j in range(features):
                before[j] = 0
            for t in range(num_steps + 1):
                x = inputs[index[r, min(t, num_steps - 1)]]
                for i in range(hidden):
                    z[i] = 0
                for j in range(0, whole, 4):
                    o = j * hidden
                    p0, p1, p2, p3 = before[j], before[j + 1], before[j + 2], before[j + 3]
                    x0, x1, x2, x3 = x[j], x[j + 1], x[j + 2], x[j + 3]
                    for i in range(hidden):
                        d = delta[i]
                        w0, w1 = w[o + i] + p0 * d, w[o + hidden + i] + p1 * d
                        w2, w3 = w[o + 2 * hidden + i] + p2 * d, w[o + 3 * hidden + i] + p3 * d
                        w[o + i], w[o + hidden + i] = w0, w1
                        w[o + 2 * hidden + i], w[o + 3 * hidden + i] = w2, w3
                        z[i] += x0 * w0 + x1 * w1 + x2 * w2 + x3 * w3
                for j in range(whole, features):
                    o = j * hidden
                    p0, x0 = before[j], x[j]
                    for i in range(hidden):
                        w0 = w[o + i] + p0 * delta[i]
                        w[o + i] = w0
                        z[i] += x0 * w0
                if t < num_steps:
                    step_output(z, delta, logits, output[r], bias[r], target[r, t], rates[r])
                    for j in range(features):
                        before[j] = x[j]

    return run


@lru_cache
def sparse(hidden: int, outputs: int, *, slope: Callable[..., None], trains: Trains) -> Any:
    """Compile the kernel for inputs that are mostly zero: it visits the others alone.

    Its inputs are the three arrays of a CSR matrix: `starts`, `columns`, `values`.
    """
    step_output = _output_step(hidden, outputs, slope=slope, trains=trains)

    @_compiled
    @no_type_check
    def run(first, last, weights, output, bias, starts, columns, values, index, target, rates):
        z, delta = np.empty(hidden, weights.dtype), np.empty(hidden, weights.dtype)
        logits = np.empty(outputs, weights.dtype)
        for r in range(first, last):
            w = weights[r]
            for t in range(index.shape[1]):
                begin, end = starts[index[r, t]], starts[index[r, t] + 1]
                for i in range(hidden):
                    z[i] = 0
                q = begin
                while q + 4 <= end:
                    x0, x1, x2, x3 = values[q], values[q + 1], values[q + 2], values[q + 3]
                    w0, w1, w2, w3 = w[columns[q]], w[columns[q + 1]], w[columns[q + 2]], w[columns[q + 3]]
                    for i in range(hidden):
                        z[i] += x0 * w0[i] + x1 * w1[i] + x2 * w2[i] + x3 * w3[i]
                    q += 4
                while q < end:
                    x0, w0 = values[q], w[columns[q]]
                    for i in range(hidden):
                        z[i] += x0 * w0[i]
                    q += 1
                step_output(z, delta, logits, output[r], bias[r], target[r, t], rates[r])
                for q in range(begin, end):
                    x0, w0 = values[q], w[columns[q]]
                    for i in range(hidden):
                        w0[i] += x0 * delta[i]

    return run


@lru_cache
def neuron(features: int, *, slope: Callable[..., None]) -> Any:
    """Compile the kernel for single neurons, whose weights are (R, 1, features)."""

    @_compiled
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

    return run


def _output_step(hidden: int, outputs: int, *, slope: Callable[..., None], trains: Trains) -> Any:
    """Compile what follows a forward pass to z: the activations, the output layer's update, the hidden one's delta.

    delta is the step of the pre-activations, -rate dL/dz. Where the hidden layer is not trained it is 0.
    """
    trains_hidden, trains_output, trains_bias = trains

    @numba.njit(error_model="numpy")
    @no_type_check
    def step(z, delta, logits, output, bias, target, rate):
        for i in range(hidden):
            z[i] = z[i] if z[i] > 0 else z[i] * 0
            delta[i] = 0
        for c in range(outputs):
            sum_ = bias[c]
            for i in range(hidden):
                sum_ += z[i] * output[c, i]
            logits[c] = sum_
        slope(logits, target)
        for c in range(outputs):
            back = -rate * logits[c]
            if trains_hidden:
                for i in range(hidden):
                    delta[i] += back * output[c, i]
            if trains_output:
                for i in range(hidden):
                    output[c, i] += back * z[i]
            if trains_bias:
                bias[c] += back
        for i in range(hidden):
            delta[i] = delta[i] if z[i] > 0 else 0

    return step
