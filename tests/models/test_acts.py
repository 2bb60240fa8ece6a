import pytest
import torch

from noisereg.metrics.activations import Kind, kind_of
from noisereg.models.acts import ACTS, ReluSquared, build_act


def test_relu_squared_is_the_square_of_what_is_positive():
    assert ReluSquared()(torch.tensor([-2.0, 0.0, 1.5])).tolist() == [0, 0, 2.25]


def test_every_activation_is_known_to_those_that_count():
    kinds = {name: kind_of(build_act(name)) for name in ACTS}
    assert {name for name, kind in kinds.items() if kind is Kind.RELU} == {"relu", "relu2"}
    assert {name for name, kind in kinds.items() if kind is Kind.RECTIFIER} == {"leaky_relu", "gelu", "silu"}


def test_an_unknown_activation_is_refused():
    with pytest.raises(ValueError, match=r"act must be one of relu, .*, got 'swish'"):
        build_act("swish")
