"""The compiled loops of the fused engine for batches, with momentum and weight decay or without.

They differ from those of `kernels` in their arguments: batch_size draws make a step, of which the last may have fewer;
the weights are followed by as many momenta; and in place of the learning rates stand the coefficients of
`Sgd.coefficients`. A kernel without momentum leaves the momenta alone.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, no_type_check

import numpy as np

from noisereg.engine.kept_kernels import keep_on_disk
from noisereg.engine.kernels import Trains, compiled, empty_rows, inlined, reordered

_FOUR = 4  # rows of weights, and samples, that are taken together: 16 products for each 4 numbers that are read


@lru_cache
def compile_network(
    features: int, hidden: int, outputs: int, *, slope: Callable[..., None], trains: Trains, momentum: bool
) -> Any:
    """Compile the kernel for networks with a hidden layer.

    A step costs its passes over the weights of the hidden layer: four rows of them are moved by the batch before, and
    then, while they are at hand, meet the batch to come.

    Args:
        features, hidden, outputs, slope, trains: see `kernels.compile_network`.
        momentum: whether there is any.
    """
    add_outer, add_products = _tiles(hidden)
    step_output = output_step(hidden, outputs, slope=slope, trains=trains, momentum=momentum)
    step_rows, trains_hidden = _vector_step(momentum), trains.hidden
    whole, padded_features = features // _FOUR * _FOUR, -(-features // _FOUR) * _FOUR

    @inlined
    @no_type_check
    def pass_over(weights, momenta, past, x, delta, y, z, gradient):
        w, m, g = weights.reshape(-1), momenta.reshape(-1), gradient.reshape(-1)
        for j in range(0, features, _FOUR):
            rows = slice(j * hidden, min(j + _FOUR, features) * hidden)
            if trains_hidden:
                g[:] = 0
                for s in range(0, len(x), _FOUR):
                    add_outer(g, delta, x, j, s)
                step_rows(w[rows], m[rows], g, past)
            if j < whole:
                for s in range(0, len(y), _FOUR):
                    add_products(w[rows], z, y, j, s)
            else:  # fewer than four rows are followed by rows of zeros
                g[:] = 0
                g[: (features - j) * hidden] = w[rows]
                for s in range(0, len(y), _FOUR):
                    add_products(g, z, y, j, s)

    @compiled
    @no_type_check
    def run(
        first,
        last,
        weights,
        output,
        bias,
        momenta,
        output_momenta,
        bias_momenta,
        inputs,
        index,
        target,
        table,
        activity_l1,
        batch_size,
    ):
        kind, num_draws = weights.dtype, index.shape[1]
        padded = -(-batch_size // _FOUR) * _FOUR  # the samples beyond a batch are zero
        z, delta = empty_rows(padded, hidden, weights).reshape(-1), empty_rows(padded, hidden, weights).reshape(-1)
        x, y = empty_rows(padded, padded_features, weights), empty_rows(padded, padded_features, weights)
        logits = np.empty((batch_size, outputs), kind)
        gradient = np.empty((outputs + 1, max(hidden, outputs)), kind)
        of_rows = empty_rows(_FOUR, hidden, weights)
        y[:] = 0
        for r in range(first, last):
            past, one = table[r, 0], table[r, 1]
            x[:], delta[:] = 0, 0
            for t in range(0, num_draws + batch_size, batch_size):  # the last pass only updates
                count = max(0, min(batch_size, num_draws - t))
                y[count:], z[:] = 0, 0
                for s in range(count):
                    y[s, :features] = inputs[index[r, t + s]]
                pass_over(weights[r], momenta[r], past, x, delta, y, z, of_rows)
                if count == 0:
                    break
                step_output(
                    z,
                    delta,
                    count,
                    logits,
                    gradient,
                    output[r],
                    bias[r],
                    output_momenta[r],
                    bias_momenta[r],
                    target[r, t : t + count],
                    one,
                    activity_l1,
                )
                delta[count * hidden :] = 0
                past = one
                x, y = y, x

    return keep_on_disk(run)


@lru_cache
def compile_neuron(features: int, *, slope: Callable[..., None], momentum: bool) -> Any:
    """Compile the kernel for single neurons, whose weights and momenta are (R, 1, features)."""
    step = _vector_step(momentum)

    @compiled
    @no_type_check
    def run(first, last, output, momenta, inputs, index, target, table, batch_size):
        logits, gradient = np.empty(1, output.dtype), np.empty(features, output.dtype)
        num_draws = index.shape[1]
        for r in range(first, last):
            v, m, one = output[r, 0], momenta[r, 0], table[r, 1]
            for t in range(0, num_draws, batch_size):
                count = min(batch_size, num_draws - t)
                gradient[:] = 0
                for s in range(t, t + count):
                    x = inputs[index[r, s]]
                    z = x[0] * 0
                    for j in range(features):
                        z += v[j] * x[j]
                    logits[0] = z
                    slope(logits, target[r, s])
                    logits[0] /= count  # in the array, as a quotient by a whole number is a double
                    back = logits[0]
                    for j in range(features):
                        gradient[j] += back * x[j]
                step(v, m, gradient, one)

    return keep_on_disk(run)


@lru_cache
def _vector_step(momentum: bool) -> Any:
    """Compile one step of a vector of weights."""

    @inlined
    @no_type_check
    def step(weights, momenta, gradient, one):
        for i in range(len(weights)):
            w, g = weights[i], gradient[i]
            if momentum:
                m = momenta[i]
                weights[i] = w + (one[0] * w + one[1] * m + one[4] * g)
                momenta[i] = one[2] * w + one[3] * m + g
            else:
                weights[i] = w + (one[0] * w + one[4] * g)

    return step


def output_step(hidden: int, outputs: int, *, slope: Callable[..., None], trains: Trains, momentum: bool) -> Any:
    """Compile what follows a forward pass to z: the activations, the output layer's step, and delta.

    delta is the derivative of the mean loss of the batch and of the penalty of its activations with respect to z; it is
    0 where the hidden layer is not trained.
    """
    trains_hidden, trains_output, trains_bias = trains
    step_vector = _vector_step(momentum)

    @reordered
    @no_type_check
    def step(z, delta, count, logits, gradient, output, bias, output_momenta, bias_momenta, target, one, activity_l1):
        of_penalty = activity_l1 / count if trains_hidden else 0.0
        gradient[:] = 0
        for s in range(count):
            a = z[s * hidden : (s + 1) * hidden]
            for i in range(hidden):
                a[i] = a[i] if a[i] > 0 else a[i] * 0
            for c in range(outputs):
                v, sum_ = output[c], bias[c]
                for i in range(hidden):
                    sum_ += a[i] * v[i]
                logits[s, c] = sum_
        for s in range(count):  # by themselves: the CPU begins with the next sample before one has ended
            slope(logits[s], target[s])
        for s in range(count):
            a, d = z[s * hidden : (s + 1) * hidden], delta[s * hidden : (s + 1) * hidden]
            d[:] = of_penalty
            for c in range(outputs):
                logits[s, c] /= count  # in the array, as a quotient by a whole number is a double
                v, g, back = output[c], gradient[c], logits[s, c]
                gradient[outputs, c] += back
                for i in range(hidden):
                    if trains_hidden:
                        d[i] += back * v[i]
                    if trains_output:
                        g[i] += back * a[i]
            for i in range(hidden):
                d[i] = d[i] if a[i] > 0 else 0
        if trains_output:
            for c in range(outputs):
                step_vector(output[c], output_momenta[c], gradient[c], one)
        if trains_bias:
            step_vector(bias, bias_momenta, gradient[outputs], one)

    return step


def _tiles(hidden: int) -> tuple[Any, Any]:
    """Compile the two products of a step, for rows of weights from j on and four samples from s on.

    These are the gradient g += x^T delta and z += x w of the forward pass, for four rows.
    """
    second, third, fourth = hidden, 2 * hidden, 3 * hidden

    @inlined
    @no_type_check
    def add_outer(g, delta, x, j, s):
        d = delta[s * hidden : (s + _FOUR) * hidden]
        a0, a1, a2, a3 = x[s, j], x[s, j + 1], x[s, j + 2], x[s, j + 3]
        b0, b1, b2, b3 = x[s + 1, j], x[s + 1, j + 1], x[s + 1, j + 2], x[s + 1, j + 3]
        c0, c1, c2, c3 = x[s + 2, j], x[s + 2, j + 1], x[s + 2, j + 2], x[s + 2, j + 3]
        d0, d1, d2, d3 = x[s + 3, j], x[s + 3, j + 1], x[s + 3, j + 2], x[s + 3, j + 3]
        for i in range(hidden):
            e, f, h, k = d[i], d[second + i], d[third + i], d[fourth + i]
            g[i] += a0 * e + b0 * f + c0 * h + d0 * k
            g[second + i] += a1 * e + b1 * f + c1 * h + d1 * k
            g[third + i] += a2 * e + b2 * f + c2 * h + d2 * k
            g[fourth + i] += a3 * e + b3 * f + c3 * h + d3 * k

    @inlined
    @no_type_check
    def add_products(w, z, x, j, s):
        y = z[s * hidden : (s + _FOUR) * hidden]
        a0, a1, a2, a3 = x[s, j], x[s, j + 1], x[s, j + 2], x[s, j + 3]
        b0, b1, b2, b3 = x[s + 1, j], x[s + 1, j + 1], x[s + 1, j + 2], x[s + 1, j + 3]
        c0, c1, c2, c3 = x[s + 2, j], x[s + 2, j + 1], x[s + 2, j + 2], x[s + 2, j + 3]
        d0, d1, d2, d3 = x[s + 3, j], x[s + 3, j + 1], x[s + 3, j + 2], x[s + 3, j + 3]
        for i in range(hidden):
            e, f, h, k = w[i], w[second + i], w[third + i], w[fourth + i]
            y[i] += a0 * e + a1 * f + a2 * h + a3 * k
            y[second + i] += b0 * e + b1 * f + b2 * h + b3 * k
            y[third + i] += c0 * e + c1 * f + c2 * h + c3 * k
            y[fourth + i] += d0 * e + d1 * f + d2 * h + d3 * k

    return add_outer, add_products
