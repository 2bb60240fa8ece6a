"""What SGD does beside following the gradient, as coefficients for the compiled loops of the fused engine."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

# The compiled loops make so many steps of one sample in a pass over the weights. What cuts a training into calls cuts
# it between passes, so that the last bits do not depend on where.
STEPS_IN_A_PASS = 4


class Sgd(NamedTuple):
    """The settings of torch.optim.SGD.

    A weight w and its momentum m are moved by a gradient G:

        m' = momentum m + weight_decay w + G
        w' = w - rate m', with Nesterov's momentum w' = w - rate (weight_decay w + G + momentum m')

    Both are linear in w, m and G, so several steps are one linear map too.

    Attributes:
        momentum: at least 0.
        weight_decay: at least 0.
        nesterov: whether the momentum is Nesterov's.

    Example:
        >>> Sgd().is_plain, Sgd(weight_decay=0.1).is_plain
        (True, False)
    """

    momentum: float = 0.0
    weight_decay: float = 0.0
    nesterov: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether a step depends on the gradient alone."""
        return not self.momentum and not self.weight_decay

    def coefficients(self, rates: Float64[np.ndarray, " replicas"]) -> Float64[np.ndarray, "replicas rows 6"]:
        """Tabulate the map of 0, 1, ... and `STEPS_IN_A_PASS` steps for each replica.

        Args:
            rates: learning rate of each replica.

        Returns:
            In row k a, b, c, d, e, f, so that after k steps, of which step s, from 1 on, has the gradient G_s,

                w' = w + (a w + b m) + sum_s e_s G_s
                m' = c w + d m + sum_s f_s G_s,

            where e_s and f_s are those of row k - s + 1, which is what remains of a gradient after so many steps.

        Example:
            >>> Sgd(momentum=0.5).coefficients(np.array([0.1]))[0, 1] + 0.0  # -0.0 is told from 0.0
            array([ 0.  , -0.05,  0.  ,  0.5 , -0.1 ,  1.  ])
        """
        of_gradient = 1 + self.momentum if self.nesterov else 1.0
        of_momentum = self.momentum**2 if self.nesterov else self.momentum
        table = np.zeros((len(rates), STEPS_IN_A_PASS + 1, 6))
        for rows, rate in zip(table, rates, strict=True):
            # the map less the identity: 1 - rate decay itself would drown a small decay in rounding
            one = np.array(
                [
                    [-rate * self.weight_decay * of_gradient, -rate * of_momentum],
                    [self.weight_decay, self.momentum - 1],
                ]
            )
            moved, gradient = np.zeros((2, 2)), np.array([-rate * of_gradient, 1.0])
            for row in rows[1:]:
                row[4:] = gradient + moved @ gradient
                moved = moved + one + moved @ one
                row[:4] = moved.flat
            rows[:, 3] += 1
        return table


PLAIN = Sgd()
