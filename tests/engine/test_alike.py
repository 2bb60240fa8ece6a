from copy import deepcopy

import numpy as np
import pytest
import torch
from engine.small_networks import mlp

from noisereg.engine.alike import describe_difference


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1.0, 2.0),
        ("mean", "max"),
        ([0, 2, 1], [1, 2, 0]),
        ({"axis": 0}, {"axis": 1}),
        (np.zeros(3), np.ones(3)),
        ([torch.zeros(3)], [torch.ones(3)]),
    ],
)
def test_networks_that_keep_other_values_are_no_stack(one, other):
    models = [mlp(0), mlp(1), mlp(2)]
    for model, value in zip(models, (one, deepcopy(one), other), strict=True):
        model.relu1.kept, model.relu1.function = value, lambda x: x  # of what cannot be compared nothing is said
    assert describe_difference(models[:2]) == ""
    assert describe_difference(models) == "number 2 has another kept in relu1 than number 0, which forward may read"
