"""What SGD does beside following the gradient, as coefficients for the compiled loops of the fused engine."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64


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

    def coefficients(self, rates: Float64[np.ndarray, " replicas"]) -> Float64[np.ndarray, "replicas 3 8"]:
        """Tabulate the map of 0, 1 and 2 steps for each replica.

        Args:
            rates: learning rate of each replica.

        Returns:
            In row k a, b, c, d, e, f, g, h, so that with the gradients G of the first and H of the second step

                w' = w + (a w + b m + e G + g H)
                m' = c w + d m + f G + h H.

        Example:
            >>> Sgd(momentum=0.5).coefficients(np.array([0.1]))[0, 1] + 0.0  # -0.0 is told from 0.0
            array([ 0.  , -0.05,  0.  ,  0.5 , -0.1 ,  1.  ,  0.  ,  0.  ])
        """
        of_gradient = 1 + self.momentum if self.nesterov else 1.0
        of_momentum = self.momentum**2 if self.nesterov else self.momentum
        table = np.zeros((len(rates), 3, 8))
        for rows, rate in zip(table, rates, strict=True):
            # the map less the identity: 1 - rate decay itself would drown a small decay in rounding
            moved = np.array(
                [
                    [-rate * self.weight_decay * of_gradient, -rate * of_momentum],
                    [self.weight_decay, self.momentum - 1],
                ]
            )
            gradient = np.array([-rate * of_gradient, 1.0])
            rows[1, :4], rows[2, :4] = moved.flat, (2 * moved + moved @ moved).flat
            rows[:, 3] += 1
            rows[1, 4:6] = rows[2, 6:] = gradient
            rows[2, 4:6] = gradient + moved @ gradient
        return table


PLAIN = Sgd()
