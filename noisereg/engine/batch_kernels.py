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

_WHOLE = 16  # rows of so many numbers, or a multiple, begin where a vector register of 64 bytes would


@lru_cache
def compile_network(
    features: int, hidden: int, outputs: int, *, slope: Callable[..., None], trains: Trains, momentum: bool
) -> Any:
    """Compile the kernel for networks with a hidden layer.

    A step costs its passes over the weights of the hidden layer: four rows of them are moved by the batch before, and
    then, while they are at hand, meet the batch to come. Where rows are whole registers, momenta are read with the
    first products of the gradient, and weights with the first of the forward pass: the CPU waits for them less.

    Args:
        features, hidden, outputs, slope, trains: see `kernels.compile_network`.
        momentum: whether there is any.
    """
    row = -(-features // _FOUR) * _FOUR  # length of one of x, the numbers beyond a sample are zero
    pass_over = _pass(features, hidden, row, trains_hidden=trains.hidden, momentum=momentum)
    step_output = output_step(hidden, outputs, slope=slope, trains=trains, momentum=momentum)

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
        x, y = empty_rows(padded, row, weights).reshape(-1), empty_rows(padded, row, weights).reshape(-1)
        logits = np.empty((batch_size, outputs), kind)
        gradient = np.empty((outputs + 1, max(hidden, outputs)), kind)
        of_rows = empty_rows(_FOUR, hidden, weights).reshape(-1)
        last_w, last_m = empty_rows(_FOUR, hidden, weights).reshape(-1), empty_rows(_FOUR, hidden, weights).reshape(-1)
        y[:] = 0
        for r in range(first, last):
            w, m, past, one = weights[r].reshape(-1), momenta[r].reshape(-1), table[r, 0], table[r, 1]
            parts = output[r], bias[r], output_momenta[r], bias_momenta[r]
            x[:], delta[:] = 0, 0
            for t in range(0, num_draws + batch_size, batch_size):  # the last pass only updates
                count = max(0, min(batch_size, num_draws - t))
                y[count * row :], z[:] = 0, 0
                for s in range(count):
                    sample = inputs[index[r, t + s]]
                    for j in range(len(sample)):  # not `features`: such a short loop is written out number by number
                        y[s * row + j] = sample[j]
                pass_over(w, m, past, x, delta, y, z, of_rows, last_w, last_m)
                if count == 0:
                    break
                of_batch = target[r, t : t + count]
                step_output(z, delta, count, logits, gradient, *parts, of_batch, one, activity_l1)
                delta[count * hidden :] = 0
                past = one
                x, y = y, x

    return keep_on_disk(run)


@lru_cache
def compile_neuron(features: int, *, slope: Callable[..., None], momentum: bool) -> Any:
    """Compile the kernel for single neurons, whose weights and momenta are (R, 1, features)."""
    step = _vector_step(features, momentum)

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
def _vector_step(length: int, momentum: bool) -> Any:
    """Compile one step of a vector of weights."""

    @inlined
    @no_type_check
    def step(weights, momenta, gradient, one):
        for i in range(length):
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
    step_vector, step_bias = _vector_step(hidden, momentum), _vector_step(outputs, momentum)

    @reordered
    @no_type_check
    def step(z, delta, count, logits, gradient, output, bias, output_momenta, bias_momenta, target, one, activity_l1):
        of_penalty = activity_l1 / count if trains_hidden else 0.0
        gradient[:] = 0
        for i in range(count * hidden):  # by itself: right after they are written in part, numbers are slow to read
            z[i] = z[i] if z[i] > 0 else z[i] * 0
        for s in range(count):
            a = z[s * hidden : (s + 1) * hidden]
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
            step_bias(bias, bias_momenta, gradient[outputs], one)

    return step


def _pass(features: int, hidden: int, row: int, *, trains_hidden: bool, momentum: bool) -> Any:
    """Compile one pass over the weights: the step of the batch before, then the products with the batch to come."""
    # else most vectors are read across two lines of the cache, and reading more of them at once is slower
    is_joined = hidden % _WHOLE == 0
    step_rows = _vector_step(_FOUR * hidden, momentum)
    begin_gradient, add_gradient = (_gradient_tile(hidden, row, begins=begins) for begins in (True, False))
    move_and_add_products, add_products = (
        _product_tile(hidden, row, moves=moves, momentum=momentum) for moves in (True, False)
    )

    @inlined
    @no_type_check
    def pass_four(w, m, o, past, x, delta, y, z, g, j):
        end, first = len(x) // row, 0
        if trains_hidden:
            if is_joined and momentum:
                begin_gradient(g, m, o, past, delta, x, j, 0)
                first = _FOUR
            else:
                g[:] = 0
            for s in range(first, end, _FOUR):
                add_gradient(g, m, o, past, delta, x, j, s)
            first = 0
            if is_joined:
                move_and_add_products(w, m, o, past, g, z, y, j, 0)
                first = _FOUR
            else:
                step_rows(w[o : o + _FOUR * hidden], m[o : o + _FOUR * hidden], g, past)
        for s in range(first, end, _FOUR):
            add_products(w, m, o, past, g, z, y, j, s)

    @inlined
    @no_type_check
    def pass_over(w, m, past, x, delta, y, z, g, last_w, last_m):
        whole = features // _FOUR * _FOUR
        for j in range(0, whole, _FOUR):
            pass_four(w, m, j * hidden, past, x, delta, y, z, g, j)
        if whole < features:  # fewer than four rows are moved elsewhere, followed by rows of zeros
            o, length = whole * hidden, (features - whole) * hidden
            last_w[length:], last_m[length:] = 0, 0
            for i in range(length):
                last_w[i] = w[o + i]
                if momentum:
                    last_m[i] = m[o + i]
            pass_four(last_w, last_m, 0, past, x, delta, y, z, g, whole)
            if trains_hidden:
                for i in range(length):
                    w[o + i] = last_w[i]
                    if momentum:
                        m[o + i] = last_m[i]

    return pass_over


def _gradient_tile(hidden: int, row: int, *, begins: bool) -> Any:
    """Compile g += x^T delta, for four rows of weights, from j on, and four samples, from s on.

    Args:
        hidden: neurons.
        row: length of a row of x.
        begins: whether it is g = d m + x^T delta, where d m is what the step leaves of the momenta.
    """
    second, third, fourth = hidden, 2 * hidden, 3 * hidden
    read_inputs = _input_tile(row)

    @inlined
    @no_type_check
    def tile(g, momenta, o, past, delta, x, j, s):
        m, y = momenta[o : o + _FOUR * hidden], delta[s * hidden : (s + _FOUR) * hidden]
        left = past[3]
        (a0, a1, a2, a3), (b0, b1, b2, b3), (c0, c1, c2, c3), (d0, d1, d2, d3) = read_inputs(x, j, s)
        for i in range(hidden):
            e, f, h, k = y[i], y[second + i], y[third + i], y[fourth + i]
            if begins:
                g0, g1, g2, g3 = left * m[i], left * m[second + i], left * m[third + i], left * m[fourth + i]
            else:
                g0, g1, g2, g3 = g[i], g[second + i], g[third + i], g[fourth + i]
            g[i] = g0 + a0 * e + b0 * f + c0 * h + d0 * k
            g[second + i] = g1 + a1 * e + b1 * f + c1 * h + d1 * k
            g[third + i] = g2 + a2 * e + b2 * f + c2 * h + d2 * k
            g[fourth + i] = g3 + a3 * e + b3 * f + c3 * h + d3 * k

    return tile


def _product_tile(hidden: int, row: int, *, moves: bool, momentum: bool) -> Any:
    """Compile z += x w of the forward pass, for four rows of weights, from j on, and four samples, from s on.

    Args:
        hidden: neurons.
        row: length of a row of x.
        moves: whether w are moved before, by g of `_gradient_tile`. As g and c w are what the momenta become, w' can be
            had from them: w' = w + e m' + (b - e d) m, as a = e c and f = 1 in the row of `Sgd.coefficients`.
        momentum: whether there is any.
    """
    second, third, fourth = hidden, 2 * hidden, 3 * hidden
    read_inputs = _input_tile(row)

    @inlined
    @no_type_check
    def tile(weights, momenta, o, past, g, z, x, j, s):
        w, m = weights[o : o + _FOUR * hidden], momenta[o : o + _FOUR * hidden]
        y = z[s * hidden : (s + _FOUR) * hidden]
        decay, rate, of_momenta = past[2], past[4], past[1] - past[4] * past[3]
        (a0, a1, a2, a3), (b0, b1, b2, b3), (c0, c1, c2, c3), (d0, d1, d2, d3) = read_inputs(x, j, s)
        for i in range(hidden):
            e, f, h, k = w[i], w[second + i], w[third + i], w[fourth + i]
            if moves:
                g0, g1, g2, g3 = g[i], g[second + i], g[third + i], g[fourth + i]
                g0, g1, g2, g3 = g0 + decay * e, g1 + decay * f, g2 + decay * h, g3 + decay * k
                e, f, h, k = e + rate * g0, f + rate * g1, h + rate * g2, k + rate * g3
                if momentum:
                    m0, m1, m2, m3 = m[i], m[second + i], m[third + i], m[fourth + i]
                    e, f, h, k = e + of_momenta * m0, f + of_momenta * m1, h + of_momenta * m2, k + of_momenta * m3
                    m[i], m[second + i], m[third + i], m[fourth + i] = g0, g1, g2, g3
                w[i], w[second + i], w[third + i], w[fourth + i] = e, f, h, k
            y[i] += a0 * e + a1 * f + a2 * h + a3 * k
            y[second + i] += b0 * e + b1 * f + b2 * h + b3 * k
            y[third + i] += c0 * e + c1 * f + c2 * h + c3 * k
            y[fourth + i] += d0 * e + d1 * f + d2 * h + d3 * k

    return tile


@lru_cache
def _input_tile(row: int) -> Any:
    """Compile the reading of four inputs, from j on, of each of four samples, from s on."""
    second, third, fourth = row, 2 * row, 3 * row

    @inlined
    @no_type_check
    def read(x, j, s):
        f = x[s * row + j :]
        return (
            (f[0], f[1], f[2], f[3]),
            (f[second], f[second + 1], f[second + 2], f[second + 3]),
            (f[third], f[third + 1], f[third + 2], f[third + 3]),
            (f[fourth], f[fourth + 1], f[fourth + 2], f[fourth + 3]),
        )

    return read
