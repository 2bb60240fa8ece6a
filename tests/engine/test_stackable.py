import random
import re
from copy import deepcopy
from functools import partial
from itertools import count

import numpy as np
import pytest
import torch
from engine.small_networks import SHAPES, Peculiar, cnn, draw, mlp, resnet
from torch import nn
from torch.nn.functional import dropout

from noisereg.engine.stackable import why_not

CALLS = count()


@pytest.mark.parametrize("build", [mlp, cnn, partial(cnn, momentum=None), resnet, Peculiar])
def test_nothing_keeps_these_from_being_stacked(build):
    shape = SHAPES.get(build, (6,) if build is Peculiar else (1, 6, 6))
    model = build()
    before = deepcopy(model.state_dict())
    assert why_not(model, draw(shape)[0][0, 0]) is None
    assert all(torch.equal(old, new) for old, new in zip(before.values(), model.state_dict().values(), strict=True))


class _Calls(nn.Linear):
    """A layer of six features, with a forward function of its own."""

    def __init__(self, function):
        super().__init__(6, 6)
        self.function, self.calls = function, 0

    def forward(self, inputs):
        return self.function(self, super().forward(inputs))

    def count(self):
        self.calls += 1
        return self.calls


class _Draws(nn.Linear):
    """A layer that seldom leaves its input as it is."""

    def __init__(self, draw):
        super().__init__(6, 6)
        self.draw = draw

    def forward(self, inputs):
        return inputs if self.draw() < 1e-9 else super().forward(inputs)


def _with_tensor():
    model = nn.Linear(6, 3)
    model.mask = torch.ones(3)
    return model


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (nn.Sequential(nn.Linear(6, 3), nn.Dropout(0.1)), "its layer 1 is a Dropout, which draws random numbers"),
        (_Calls(lambda self, x: dropout(x)), "it draws random numbers, as dropout does"),
        (_Calls(lambda self, x: x if x.sum() > 0 else -x), "control flow"),
        (_Calls(lambda self, x: x * x.max().item()), "control flow, .item"),
        (_Calls(lambda self, x: x * self.count()), "its attribute calls in _Calls changes from call to"),
        (_Calls(lambda self, x: x * next(CALLS)), "its losses are others when it is stacked"),
        (
            _Calls(lambda self, x: x if self.count() < 1000 else -x),
            "its attribute calls in _Calls changes from call to",
        ),
        (_Draws(lambda: np.random.random()), "numpy's random generator changes from"),  # noqa: NPY002, PLW0108 - shared
        (_Draws(lambda: random.random()), "Python's random generator changes from call to call"),  # noqa: PLW0108
        (_Draws(random.Random(0).random), "its attribute draw in _Draws changes from call to call"),
        (_Draws(np.random.default_rng(0).random), "its attribute draw in _Draws changes from call to call"),
        (nn.LazyLinear(3), "its weight is lazy"),
        (nn.Linear(6, 3, dtype=torch.complex64), "its parameter weight is complex64, not real"),
        (_with_tensor(), "its tensor mask in Linear is neither a parameter nor a buffer"),
        (nn.Linear(6, 3).requires_grad_(False), "it has no parameter that is trained"),
        (nn.Sequential(nn.Linear(6, 3), nn.RReLU()), "torch.func.vmap cannot map it: .*rrelu"),
        (nn.Linear(7, 3), r"it fails on inputs of shape \(8, 6\)"),
    ],
)
def test_why_not_names_what_keeps_a_network_from_being_stacked(model, reason):
    assert re.search(reason, why_not(model, draw((6,))[0][0, 0]))
