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

    A step costs its passes over the weights of the hidden layer, so two steps and the update of the two before share
    one. The second step of a pair sees the weights that the first one leaves: its pre-activations are those of the
    weights before, plus the first step's delta times the inner product of the two inputs. Four rows at a time cut the
    traffic of z and delta.
    """
    whole = features // 4 * 4
    step_output = _output_step(hidden, outputs, slope=slope, trains=trains)

    @_compiled
    @no_type_check
    def run(first, last, weights, output, bias, inputs, index, target, rates):
        z, delta = np.empty(hidden, weights.dtype), np.empty(hidden, weights.dtype)
        z_next, delta_next = np.empty(hidden, weights.dtype), np.empty(hidden, weights.dtype)
        before, before_next = np.empty(features, weights.dtype), np.empty(features, weights.dtype)
        logits = np.empty(outputs, weights.dtype)
        num_steps = index.shape[1]
        for r in range(first, last):
            w = weights[r].reshape(-1)  # flat: with two axes the loops below are not vectorised
            for i in range(hidden):
                delta[i], delta_next[i] = 0, 0
            for j in range(features):
                before[j], before_next[j] = 0, 0
            for t in range(0, num_steps + 2, 2):  # the last pass only updates
                x, y = inputs[index[r, min(t, num_steps - 1)]], inputs[index[r, min(t + 1, num_steps - 1)]]
                for i in range(hidden):
                    z[i], z_next[i] = 0, 0
                for j in range(0, whole, 4):
                    o = j * hidden
                    p0, p1, p2, p3 = before[j], before[j + 1], before[j + 2], before[j + 3]
                    q0, q1, q2, q3 = before_next[j], before_next[j + 1], before_next[j + 2], before_next[j + 3]
                    x0, x1, x2, x3 = x[j], x[j + 1], x[j + 2], x[j + 3]
                    y0, y1, y2, y3 = y[j], y[j + 1], y[j + 2], y[j + 3]
                    for i in range(hidden):
                        d, e = delta[i], delta_next[i]
                        w0, w1 = w[o + i] + p0 * d + q0 * e, w[o + hidden + i] + p1 * d + q1 * e
                        w2, w3 = w[o + 2 * hidden + i] + p2 * d + q2 * e, w[o + 3 * hidden + i] + p3 * d + q3 * e
                        w[o + i], w[o + hidden + i] = w0, w1
                        w[o + 2 * hidden + i], w[o + 3 * hidden + i] = w2, w3
                        z[i] += x0 * w0 + x1 * w1 + x2 * w2 + x3 * w3
                        z_next[i] += y0 * w0 + y1 * w1 + y2 * w2 + y3 * w3
                for j in range(whole, features):
                    o = j * hidden
                    p0, q0, x0, y0 = before[j], before_next[j], x[j], y[j]
                    for i in range(hidden):
                        w0 = w[o + i] + p0 * delta[i] + q0 * delta_next[i]
                        w[o + i] = w0
                        z[i] += x0 * w0
                        z_next[i] += y0 * w0
                if t >= num_steps:
                    break
                step_output(z, delta, logits, output[r], bias[r], target[r, t], rates[r])
                if t + 1 < num_steps:
                    product = x[0] * y[0]
                    for j in range(1, features):
                        product += x[j] * y[j]
                    for i in range(hidden):
                        z_next[i] += product * delta[i]
                    step_output(z_next, delta_next, logits, output[r], bias[r], target[r, t + 1], rates[r])
                else:
                    for i in range(hidden):
                        delta_next[i] = 0
                for j in range(features):
                    before[j], before_next[j] = x[j], y[j]

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
