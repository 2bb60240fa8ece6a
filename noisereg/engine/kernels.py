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

from noisereg.engine.kept_kernels import kept

_IN_ANY_ORDER = {"reassoc", "contract", "nsz", "arcp"}
compiled = numba.njit(fastmath=_IN_ANY_ORDER, error_model="numpy", nogil=True)
reordered = numba.njit(fastmath=_IN_ANY_ORDER, error_model="numpy")
apart = numba.njit(error_model="numpy")
inlined = numba.njit(forceinline=True, error_model="numpy")


class Trains(NamedTuple):
    """Which weights a step moves."""

    hidden: bool
    output: bool
    output_bias: bool


@lru_cache
def network(
    features: int, hidden: int, outputs: int, *, slope: Callable[..., None], trains: Trains, sparse: bool
) -> Any:
    """Compile the kernel for networks with a hidden layer.

    A step costs its passes over the weights of the hidden layer, so two steps and the update of the two before share
    one. The second step of a pair sees the weights that the first one leaves: its pre-activations are those of the
    weights before, plus the first step's delta times the inner product of the two inputs.

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

    @compiled
    @no_type_check
    def run(first, last, weights, output, bias, inputs, index, target, rates, activity_l1):
        z, delta = np.empty(hidden, weights.dtype), np.empty(hidden, weights.dtype)
        z_next, delta_next = np.empty(hidden, weights.dtype), np.empty(hidden, weights.dtype)
        before, before_next = np.empty(features, weights.dtype), np.empty(features, weights.dtype)
        logits = np.empty(outputs, weights.dtype)
        num_steps = index.shape[1]
        for r in range(first, last):
            for i in range(hidden):
                delta[i], delta_next[i] = 0, 0
            for j in range(features):
                before[j], before_next[j] = 0, 0
            for t in range(0, num_steps + 2, 2):  # the last pass only updates
                x, y = inputs[index[r, min(t, num_steps - 1)]], inputs[index[r, min(t + 1, num_steps - 1)]]
                for i in range(hidden):
                    z[i], z_next[i] = 0, 0
                pass_over(weights[r], before, before_next, delta, delta_next, x, y, z, z_next)
                if t >= num_steps:
                    break
                step_output(z, delta, logits, output[r], bias[r], target[r, t], rates[r], activity_l1)
                if t + 1 < num_steps:
                    product = x[0] * y[0]
                    for j in range(1, features):
                        product += x[j] * y[j]
                    for i in range(hidden):
                        z_next[i] += product * delta[i]
                    step_output(z_next, delta_next, logits, output[r], bias[r], target[r, t + 1], rates[r], activity_l1)
                else:
                    for i in range(hidden):
                        delta_next[i] = 0
                for j in range(features):
                    before[j], before_next[j] = x[j], y[j]

    return kept(run)


def _dense_pass(features: int, hidden: int) -> Any:
    """Compile one pass over the weights: w += p delta + q delta_next for the two steps before, then z and z_next.

    Four rows at a time cut the traffic of z and delta.
    """
    whole = features // 4 * 4

    @inlined
    @no_type_check
    def pass_over(weights, p, q, delta, delta_next, x, y, z, z_next):
        w = weights.reshape(-1)  # flat: with two axes the loops below are not vectorised
        for j in range(0, whole, 4):
            o = j * hidden
            p0, p1, p2, p3 = p[j], p[j + 1], p[j + 2], p[j + 3]
            q0, q1, q2, q3 = q[j], q[j + 1], q[j + 2], q[j + 3]
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
            p0, q0, x0, y0 = p[j], q[j], x[j], y[j]
            for i in range(hidden):
                w0 = w[o + i] + p0 * delta[i] + q0 * delta_next[i]
                w[o + i] = w0
                z[i] += x0 * w0
                z_next[i] += y0 * w0

    return pass_over


def _sparse_pass(features: int, hidden: int) -> Any:
    """Compile the same for inputs that are mostly zero.

    Rows that only the steps before have met are updated by themselves. So the sums of z depend on the inputs of its
    pair alone, to the last bit, and not on whether a call begins with it.
    """

    @inlined
    @no_type_check
    def pass_over(weights, p, q, delta, delta_next, x, y, z, z_next):
        now, past = np.empty(features + 1, np.int64), np.empty(features + 1, np.int64)
        num_now, num_past = 0, 0
        for j in range(features):  # without branches, which would be guessed wrong
            now[num_now], past[num_past] = j, j
            is_now = (x[j] != 0) | (y[j] != 0)
            num_now += is_now
            num_past += (not is_now) & ((p[j] != 0) | (q[j] != 0))
        for k in range(num_past):
            j = past[k]
            w0, p0, q0 = weights[j], p[j], q[j]
            for i in range(hidden):
                w0[i] += p0 * delta[i] + q0 * delta_next[i]
        whole = num_now // 4 * 4
        for k in range(0, whole, 4):
            j0, j1, j2, j3 = now[k], now[k + 1], now[k + 2], now[k + 3]
            w0, w1, w2, w3 = weights[j0], weights[j1], weights[j2], weights[j3]
            p0, p1, p2, p3 = p[j0], p[j1], p[j2], p[j3]
            q0, q1, q2, q3 = q[j0], q[j1], q[j2], q[j3]
            x0, x1, x2, x3 = x[j0], x[j1], x[j2], x[j3]
            y0, y1, y2, y3 = y[j0], y[j1], y[j2], y[j3]
            for i in range(hidden):
                d, e = delta[i], delta_next[i]
                v0, v1 = w0[i] + p0 * d + q0 * e, w1[i] + p1 * d + q1 * e
                v2, v3 = w2[i] + p2 * d + q2 * e, w3[i] + p3 * d + q3 * e
                w0[i], w1[i], w2[i], w3[i] = v0, v1, v2, v3
                z[i] += x0 * v0 + x1 * v1 + x2 * v2 + x3 * v3
                z_next[i] += y0 * v0 + y1 * v1 + y2 * v2 + y3 * v3
        for k in range(whole, num_now):
            j = now[k]
            w0, p0, q0, x0, y0 = weights[j], p[j], q[j], x[j], y[j]
            for i in range(hidden):
                v0 = w0[i] + p0 * delta[i] + q0 * delta_next[i]
                w0[i] = v0
                z[i] += x0 * v0
                z_next[i] += y0 * v0

    return pass_over


@lru_cache
def neuron(features: int, *, slope: Callable[..., None]) -> Any:
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

    return kept(run)


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
