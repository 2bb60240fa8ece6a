"""The compiled loops of the fused engine for batches, with momentum and weight decay or without.

They differ from those of `kernels` in their arguments: batch_size draws make a step, of which the last may have fewer;
the weights are followed by as many momenta; and in place of the learning rates stand the coefficients of
`Sgd.coefficients`. A kernel without momentum leaves the momenta alone.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, no_type_check

import numpy as np

from noisereg.engine.kept_kernels import kept
from noisereg.engine.kernels import Trains, apart, compiled, inlined, reordered

_FOUR = 4  # rows of weights, and samples, that are taken together: 16 products for each 4 numbers that are read


@lru_cache
def network(
    features: int, hidden: int, outputs: int, *, slope: Callable[..., None], trains: Trains, momentum: bool
) -> Any:
    """Compile the kernel for networks with a hidden layer.

    A step costs its passes over the weights of the hidden layer: four rows of them are moved by the batch before, and
    then, while they are at hand, meet the batch to come.

    Args:
        features: of an input, D.
        hidden: neurons, H.
        outputs: of the network.
        slope: derivative of the loss, as `compiled_slope` gives it.
        trains: which weights a step moves.
        momentum: whether there is any.
    """
    add_outer, add_products, add_few, add_few_products = _tiles(hidden)
    step_output = output_step(hidden, outputs, slope=slope, trains=trains, momentum=momentum)
    trains_hidden = trains.hidden

    @inlined
    @no_type_check
    def decay(w, m, first, count, past):
        a, b, c, d, e = past[0], past[1], past[2], past[3], past[4]
        for i in range(first, first + count):
            if momentum:  # the gradient is still to come into m, which is then followed by e
                m0 = c * w[i] + d * m[i]
                w[i] += a * w[i] + b * m[i] - e * m0
                m[i] = m0
            else:
                w[i] += a * w[i]

    @inlined
    @no_type_check
    def pass_over(weights, momenta, past, x, delta, y, z):
        w, m = weights.reshape(-1), momenta.reshape(-1)  # flat: with two axes the loops are not vectorised
        moved = m if momentum else w
        num_samples = len(x)
        for j in range(0, features, _FOUR):
            rows = min(_FOUR, features - j)
            if trains_hidden:
                decay(w, m, j * hidden, rows * hidden, past)
                for s in range(0, num_samples, _FOUR):
                    if rows == _FOUR:
                        add_outer(moved, delta, x, j, s)
                    else:
                        add_few(moved, delta, x, j, s)
                if momentum:
                    for i in range(j * hidden, (j + rows) * hidden):
                        w[i] += past[4] * m[i]
            for s in range(0, num_samples, _FOUR):
                if rows == _FOUR:
                    add_products(w, z, y, j, s)
                else:
                    add_few_products(w, z, y, j, s)

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
        z, delta = np.empty(padded * hidden, kind), np.empty(padded * hidden, kind)
        x, y = np.empty((padded, features), kind), np.empty((padded, features), kind)
        logits, gradient = np.empty(outputs, kind), np.empty((outputs + 1, max(hidden, outputs)), kind)
        for r in range(first, last):
            past, one = table[r, 0], table[r, 1]
            x[:], delta[:] = 0, 0
            for t in range(0, num_draws + batch_size, batch_size):  # the last pass only updates
                count = max(0, min(batch_size, num_draws - t))
                y[count:], z[:] = 0, 0
                for s in range(count):
                    y[s] = inputs[index[r, t + s]]
                pass_over(weights[r], momenta[r], past, x, delta, y, z)
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
                if not momentum:  # the gradient goes into the weights themselves
                    for i in range(count * hidden):
                        delta[i] *= one[4]
                past = one
                x, y = y, x

    return kept(run)


@lru_cache
def neuron(features: int, *, slope: Callable[..., None], momentum: bool) -> Any:
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

    return kept(run)


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
            a, d = z[s * hidden : (s + 1) * hidden], delta[s * hidden : (s + 1) * hidden]
            for i in range(hidden):
                a[i] = a[i] if a[i] > 0 else a[i] * 0
                d[i] = of_penalty
            for c in range(outputs):
                v, sum_ = output[c], bias[c]
                for i in range(hidden):
                    sum_ += a[i] * v[i]
                logits[c] = sum_
            slope(logits, target[s])
            for c in range(outputs):
                logits[c] /= count  # in the array, as a quotient by a whole number is a double
                v, g, back = output[c], gradient[c], logits[c]
                gradient[outputs, c] += back
                if trains_hidden:
                    for i in range(hidden):
                        d[i] += back * v[i]
                if trains_output:
                    for i in range(hidden):
                        g[i] += back * a[i]
            for i in range(hidden):
                d[i] = d[i] if a[i] > 0 else 0
        if trains_output:
            for c in range(outputs):
                step_vector(output[c], output_momenta[c], gradient[c], one)
        if trains_bias:
            step_vector(bias, bias_momenta, gradient[outputs], one)

    return step


def _tiles(hidden: int) -> tuple[Any, Any, Any, Any]:
    """Compile the two products of a step, for rows of weights from j on and four samples from s on.

    These are the update w += x^T delta and z += x w of the forward pass, for four rows and for the few that are left.
    Each row is a view of its own: of offsets into one array the compiler would not see that they do not overlap.
    """

    @inlined
    @no_type_check
    def four_rows(flat, first):
        o = first * hidden
        p, q, r = o + hidden, o + 2 * hidden, o + 3 * hidden
        return flat[o:p], flat[p:q], flat[q:r], flat[r : r + hidden]

    @apart
    @no_type_check
    def add_outer(w, delta, x, j, s):
        (w0, w1, w2, w3), (e0, e1, e2, e3) = four_rows(w, j), four_rows(delta, s)
        a0, a1, a2, a3 = x[s, j], x[s, j + 1], x[s, j + 2], x[s, j + 3]
        b0, b1, b2, b3 = x[s + 1, j], x[s + 1, j + 1], x[s + 1, j + 2], x[s + 1, j + 3]
        c0, c1, c2, c3 = x[s + 2, j], x[s + 2, j + 1], x[s + 2, j + 2], x[s + 2, j + 3]
        d0, d1, d2, d3 = x[s + 3, j], x[s + 3, j + 1], x[s + 3, j + 2], x[s + 3, j + 3]
        for i in range(hidden):
            e, f, g, h = e0[i], e1[i], e2[i], e3[i]
            v0 = w0[i] + a0 * e + b0 * f + c0 * g + d0 * h
            v1 = w1[i] + a1 * e + b1 * f + c1 * g + d1 * h
            v2 = w2[i] + a2 * e + b2 * f + c2 * g + d2 * h
            v3 = w3[i] + a3 * e + b3 * f + c3 * g + d3 * h
            w0[i], w1[i], w2[i], w3[i] = v0, v1, v2, v3

    @apart
    @no_type_check
    def add_products(w, z, x, j, s):
        (w0, w1, w2, w3), (z0, z1, z2, z3) = four_rows(w, j), four_rows(z, s)
        a0, a1, a2, a3 = x[s, j], x[s, j + 1], x[s, j + 2], x[s, j + 3]
        b0, b1, b2, b3 = x[s + 1, j], x[s + 1, j + 1], x[s + 1, j + 2], x[s + 1, j + 3]
        c0, c1, c2, c3 = x[s + 2, j], x[s + 2, j + 1], x[s + 2, j + 2], x[s + 2, j + 3]
        d0, d1, d2, d3 = x[s + 3, j], x[s + 3, j + 1], x[s + 3, j + 2], x[s + 3, j + 3]
        for i in range(hidden):
            e, f, g, h = w0[i], w1[i], w2[i], w3[i]
            y0 = z0[i] + a0 * e + a1 * f + a2 * g + a3 * h
            y1 = z1[i] + b0 * e + b1 * f + b2 * g + b3 * h
            y2 = z2[i] + c0 * e + c1 * f + c2 * g + c3 * h
            y3 = z3[i] + d0 * e + d1 * f + d2 * g + d3 * h
            z0[i], z1[i], z2[i], z3[i] = y0, y1, y2, y3

    @apart
    @no_type_check
    def add_few(w, delta, x, j, s):
        e0, e1, e2, e3 = four_rows(delta, s)
        for row in range(j, x.shape[1]):
            v = w[row * hidden : (row + 1) * hidden]
            a, b, c, d = x[s, row], x[s + 1, row], x[s + 2, row], x[s + 3, row]
            for i in range(hidden):
                v[i] += a * e0[i] + b * e1[i] + c * e2[i] + d * e3[i]

    @apart
    @no_type_check
    def add_few_products(w, z, x, j, s):
        z0, z1, z2, z3 = four_rows(z, s)
        for row in range(j, x.shape[1]):
            v = w[row * hidden : (row + 1) * hidden]
            a, b, c, d = x[s, row], x[s + 1, row], x[s + 2, row], x[s + 3, row]
            for i in range(hidden):
                e = v[i]
                y0, y1, y2, y3 = z0[i] + a * e, z1[i] + b * e, z2[i] + c * e, z3[i] + d * e
                z0[i], z1[i], z2[i], z3[i] = y0, y1, y2, y3

    return add_outer, add_products, add_few, add_few_products
