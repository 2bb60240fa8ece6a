"""The compiled loop that reads the pre-activations of hidden units once, see `run_networks`.

It is compiled for one number of units and outputs: loops over a number of neurons that the compiler knows run on whole
vector registers. The compiler may sum in any order but must keep infinities and nan.
"""

from functools import lru_cache
from typing import Any, no_type_check

import numpy as np

from noisereg.engine.kept_kernels import keep_on_disk
from noisereg.engine.kernels import compiled


@lru_cache
def compile_reader(hidden: int, outputs: int) -> Any:
    """Compile the loop that reads some rows of pre-activations.

    Its arguments are these rows, (rows, hidden), and the number of the first of them among all n samples; the labels of
    all samples, the output weights (outputs, hidden), and what it fills or adds to, the arrays of `Passed`.

    Args:
        hidden: neurons, H.
        outputs: of the network.
    """

    @compiled
    @no_type_check
    def run(z, first, labels, output, logits, fires, active, activity, reach):
        zero, one = z.dtype.type(0), z.dtype.type(1)
        counts = np.zeros(fires.shape, z.dtype)  # of so few rows exact, and quicker than integers
        for s in range(len(z)):
            row, mine = z[s], counts[labels[first + s]]
            for i in range(hidden):
                mine[i] += one if row[i] > zero else zero
            for c in range(outputs):
                logit = zero
                for i in range(hidden):
                    logit += (zero if row[i] < zero else row[i]) * output[c, i]  # nan goes through
                logits[first + s, c] = logit
        for c in range(len(fires)):
            for i in range(hidden):
                fires[c, i] += np.int64(counts[c, i])
        if len(active) == 0:
            return
        squares = np.zeros(hidden, z.dtype)
        for c in range(outputs):
            for i in range(hidden):
                squares[i] += output[c, i] * output[c, i]
        for s in range(len(z)):
            row = z[s]
            num_active, sum_, reached = zero, zero, zero
            for i in range(hidden):
                firing = one if row[i] > zero else zero
                activation = zero if row[i] < zero else row[i]
                num_active += firing
                sum_ += activation * activation
                reached += firing * squares[i]
            active[first + s], activity[first + s], reach[first + s] = num_active, sum_, reached

    return keep_on_disk(run)
