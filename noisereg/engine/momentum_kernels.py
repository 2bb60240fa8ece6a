"""The compiled loop of the fused engine for momentum and weight decay, one sample a step.

As in `kernels`, two steps share one pass over the weights, here with their momenta; the arguments are those of
`batch_kernels`, less the batch size.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, no_type_check

import numpy as np

from noisereg.engine.batch_kernels import output_step
from noisereg.engine.kept_kernels import kept
from noisereg.engine.kernels import Trains, compiled, inlined


@lru_cache
def network(features: int, hidden: int, outputs: int, *, slope: Callable[..., None], trains: Trains) -> Any:
    """Compile the kernel for networks with a hidden layer, see `kernels.network`."""
    pass_over = _pass(features, hidden)
    step_output = output_step(hidden, outputs, slope=slope, trains=trains, momentum=True)
    trains_hidden = trains.hidden

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
        z, delta = np.empty(hidden, kind), np.empty(hidden, kind)
        z_next, delta_next = np.empty(hidden, kind), np.empty(hidden, kind)
        e, f = np.empty(hidden, kind), np.empty(hidden, kind)  # of delta, into weights and momenta
        g, h = np.empty(hidden, kind), np.empty(hidden, kind)  # of delta_next
        p, q = np.empty(features, kind), np.empty(features, kind)  # the two inputs before
        logits, gradient = np.empty(outputs, kind), np.empty((outputs + 1, max(hidden, outputs)), kind)
        for r in range(first, last):
            one = table[r, 1]
            weight_parts = output[r], bias[r], output_momenta[r], bias_momenta[r]
            delta[:], delta_next[:], p[:], q[:] = 0, 0, 0, 0
            made = 0  # steps of the pair before
            for t in range(0, num_steps + 2, 2):  # the last pass only updates
                x, y = inputs[index[r, min(t, num_steps - 1)]], inputs[index[r, min(t + 1, num_steps - 1)]]
                past, ahead = (table[r, made], one) if trains_hidden else (table[r, 0], table[r, 0])
                for i in range(hidden):
                    z[i], z_next[i] = 0, 0
                    e[i], f[i] = past[4] * delta[i], past[5] * delta[i]
                    g[i], h[i] = past[6] * delta_next[i], past[7] * delta_next[i]
                pass_over(weights[r], momenta[r], past, ahead, p, q, e, g, f, h, x, y, z, z_next)
                if t >= num_steps:
                    break
                step_output(z, delta, 1, logits, gradient, *weight_parts, target[r, t : t + 1], one, activity_l1)
                made = min(2, num_steps - t)
                if made == 2:
                    product = x[0] * y[0]
                    for j in range(1, features):
                        product += x[j] * y[j]
                    product *= one[4]
                    for i in range(hidden):
                        z_next[i] += product * delta[i]
                    target_next = target[r, t + 1 : t + 2]
                    step_output(z_next, delta_next, 1, logits, gradient, *weight_parts, target_next, one, activity_l1)
                else:
                    delta_next[:] = 0
                p[:], q[:] = x, y

    return kept(run)


def _pass(features: int, hidden: int) -> Any:
    """Compile one pass over weights and momenta: the two steps before, then z of both steps to come.

    The second of these is z of the weights as a step without gradient would leave them.
    """
    whole = features // 2 * 2

    @inlined
    @no_type_check
    def pass_over(weights, momenta, past, ahead, p, q, e, g, f, h, x, y, z, z_next):
        w, m = weights.reshape(-1), momenta.reshape(-1)  # flat: with two axes the loops below are not vectorised
        a, b, c, d, a1, b1 = past[0], past[1], past[2], past[3], ahead[0], ahead[1]
        for j in range(0, whole, 2):
            o = j * hidden
            p0, p1, q0, q1, x0, x1, y0, y1 = p[j], p[j + 1], q[j], q[j + 1], x[j], x[j + 1], y[j], y[j + 1]
            for i in range(hidden):
                w0, w1, m0, m1 = w[o + i], w[o + hidden + i], m[o + i], m[o + hidden + i]
                v0 = w0 + (a * w0 + b * m0 + p0 * e[i] + q0 * g[i])
                v1 = w1 + (a * w1 + b * m1 + p1 * e[i] + q1 * g[i])
                n0 = c * w0 + d * m0 + p0 * f[i] + q0 * h[i]
                n1 = c * w1 + d * m1 + p1 * f[i] + q1 * h[i]
                w[o + i], w[o + hidden + i], m[o + i], m[o + hidden + i] = v0, v1, n0, n1
                z[i] += x0 * v0 + x1 * v1
                z_next[i] += y0 * (v0 + (a1 * v0 + b1 * n0)) + y1 * (v1 + (a1 * v1 + b1 * n1))
        for j in range(whole, features):
            o = j * hidden
            p0, q0, x0, y0 = p[j], q[j], x[j], y[j]
            for i in range(hidden):
                w0, m0 = w[o + i], m[o + i]
                v0 = w0 + (a * w0 + b * m0 + p0 * e[i] + q0 * g[i])
                n0 = c * w0 + d * m0 + p0 * f[i] + q0 * h[i]
                w[o + i], m[o + i] = v0, n0
                z[i] += x0 * v0
                z_next[i] += y0 * (v0 + (a1 * v0 + b1 * n0))

    return pass_over
