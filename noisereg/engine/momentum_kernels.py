"""The compiled loop of the fused engine for momentum and weight decay, one sample a step.

As in `kernels`, four steps share one pass over the weights, here with their momenta; the arguments are those of
`batch_kernels`, less the batch size.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, no_type_check

import numpy as np

from noisereg.engine.batch_kernels import output_step
from noisereg.engine.kept_kernels import keep_on_disk
from noisereg.engine.kernels import Trains, add_scaled, compiled, empty_rows, inlined, inner_product
from noisereg.engine.sgd import STEPS_IN_A_PASS


@lru_cache
def compile_network(features: int, hidden: int, outputs: int, *, slope: Callable[..., None], trains: Trains) -> Any:
    """Compile the kernel for networks with a hidden layer, see `kernels.compile_network`.

    The pre-activations of a step are those of the weights as the steps before it would leave them without a gradient,
    plus what is left by then of the gradient of each.
    """
    pass_over = _pass(features, hidden)
    step_output = output_step(hidden, outputs, slope=slope, trains=trains, momentum=True)
    trains_hidden, count_at_most = trains.hidden, STEPS_IN_A_PASS

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
    ):
        kind, num_steps = weights.dtype, index.shape[1]
        z, of_momenta = empty_rows(count_at_most, hidden, weights), empty_rows(count_at_most, hidden, weights)
        delta = empty_rows(count_at_most, hidden, weights)
        x, before = empty_rows(count_at_most, features, weights), empty_rows(count_at_most, features, weights)
        left = np.zeros((2, count_at_most), kind)  # of each gradient before, in weights and momenta
        logits, gradient = np.empty((1, outputs), kind), np.empty((outputs + 1, max(hidden, outputs)), kind)
        for r in range(first, last):
            moves, one = table[r], table[r, 1]
            weight_parts = output[r], bias[r], output_momenta[r], bias_momenta[r]
            delta[:], before[:], left[:], made = 0, 0, 0, 0  # what has overflowed is nan times 0 too
            for t in range(0, num_steps + count_at_most, count_at_most):  # the last pass only updates
                count = max(0, min(count_at_most, num_steps - t))
                x[count:], z[:], of_momenta[:] = 0, 0, 0
                for s in range(count):
                    x[s] = inputs[index[r, t + s]]
                for s in range(made):
                    left[0, s], left[1, s] = moves[made - s, 4], moves[made - s, 5]
                past = moves[made if trains_hidden else 0]
                pass_over(weights[r], momenta[r], past, left, before, delta, x, z, of_momenta)
                for s in range(count):
                    if trains_hidden:
                        for i in range(hidden):
                            z[s, i] += moves[s, 0] * z[s, i] + moves[s, 1] * of_momenta[s, i]
                        for u in range(s):
                            add_scaled(z[s], moves[s - u, 4] * inner_product(x[u], x[s]), delta[u])
                    of_step = target[r, t + s : t + s + 1]
                    step_output(z[s], delta[s], 1, logits, gradient, *weight_parts, of_step, one, activity_l1)
                delta[count:], made = 0, count
                x, before = before, x

    return keep_on_disk(run)


def _pass(features: int, hidden: int) -> Any:
    """Compile one pass over weights and momenta: the steps before, then the products of both with inputs to come."""
    second, third, fourth = hidden, 2 * hidden, 3 * hidden

    @inlined
    @no_type_check
    def pass_over(weights, momenta, past, left, p, delta, x, z, of_momenta):
        w, m = weights.reshape(-1), momenta.reshape(-1)  # flat: with two axes the loops below are not vectorised
        g, y, n = delta.reshape(-1), z.reshape(-1), of_momenta.reshape(-1)
        a, b, c, d = past[0], past[1], past[2], past[3]
        for j in range(features):
            o = j * hidden
            e0, e1, e2, e3 = left[0, 0] * p[0, j], left[0, 1] * p[1, j], left[0, 2] * p[2, j], left[0, 3] * p[3, j]
            f0, f1, f2, f3 = left[1, 0] * p[0, j], left[1, 1] * p[1, j], left[1, 2] * p[2, j], left[1, 3] * p[3, j]
            x0, x1, x2, x3 = x[0, j], x[1, j], x[2, j], x[3, j]
            for i in range(hidden):
                g0, g1, g2, g3 = g[i], g[second + i], g[third + i], g[fourth + i]
                v, k = w[o + i], m[o + i]
                v, k = (
                    v + (a * v + b * k + e0 * g0 + e1 * g1 + e2 * g2 + e3 * g3),
                    c * v + d * k + f0 * g0 + f1 * g1 + f2 * g2 + f3 * g3,
                )
                w[o + i], m[o + i] = v, k
                y[i] += x0 * v
                y[second + i] += x1 * v
                y[third + i] += x2 * v
                y[fourth + i] += x3 * v
                n[second + i] += x1 * k
                n[third + i] += x2 * k
                n[fourth + i] += x3 * k

    return pass_over
