"""Arguments that a verifier cannot measure anything with are refused by name before it begins."""

import math

import pytest

from noisereg import theory

NO_SIZE = {
    "verify_bias_drift": ("d", "hidden", "networks", "samples"),
    "verify_concentration": ("d", "replicas", "steps", "draws"),
    "verify_drift": ("d", "angles"),
    "verify_gradient_flow": ("hidden", "d", "n", "steps"),
    "verify_half_active": ("d", "hidden", "replicas", "steps", "samples"),
    "verify_hypercube_net": ("d", "hidden"),
    "verify_dead_output": ("d", "visits"),
    "verify_learning_rates": ("k", "d"),
    "verify_neuron": ("d",),
    "verify_one_step": ("seeds", "d", "hidden"),
    "verify_outputs": ("seeds", "samples", "d", "hidden"),
    "verify_perceptron": ("seeds", "n", "d"),
    "verify_polynomial": ("n", "steps", "d", "hidden"),
    "verify_threshold": ("seeds", "samples"),
}
NO_INTERVAL = {  # of one value there is none
    "verify_drift": "samples",
    "verify_hypercube_net": "samples",
    "verify_learning_rates": "replicas",
    "verify_neuron": "replicas",
    "verify_polynomial": "replicas",
}
NO_RATE = {
    "verify_concentration": ("lr",),
    "verify_drift": ("lr",),
    "verify_gradient_flow": ("duration",),
    "verify_half_active": ("lr",),
    "verify_neuron": ("lr",),
    "verify_one_step": ("lr",),
    "verify_perceptron": ("margin", "lr"),
    "verify_polynomial": ("lr",),
}
NO_LIST = [
    ("verify_dead_output", {"ks": ()}, "ks must be a whole number, at least 1, got 0"),
    ("verify_threshold", {"depths": [2, 0]}, "depths must be a whole number, at least 1, got 0"),
    ("verify_learning_rates", {"rates": [0.1, math.nan]}, "rates must be a finite number above 0, got nan"),
    ("verify_neuron", {"rates": [0.1, -0.1]}, "rates must be a finite number above 0, got -0.1"),
    ("verify_neuron", {"dims": [3, 3]}, "dims and rates must have 2 values or more"),
    ("verify_neuron", {"rates": [0.1]}, "dims and rates must have 2 values or more"),
    ("verify_gradient_flow", {"depth": 1}, "depth must be a whole number, at least 2, got 1"),
]


def test_every_verifier_is_looked_at():
    assert NO_SIZE.keys() == {name for name in theory.__all__ if name.startswith("verify_")}


@pytest.mark.parametrize(("name", "key"), [(name, key) for name, keys in NO_SIZE.items() for key in keys])
def test_a_size_of_zero_is_refused(name, key):
    with pytest.raises(ValueError, match=f"^{key} must be a whole number, at least 1, got 0"):
        getattr(theory, name)(**{key: 0})


@pytest.mark.parametrize(("name", "key"), NO_INTERVAL.items())
def test_a_single_value_is_refused_where_an_interval_is_asked_for(name, key):
    with pytest.raises(ValueError, match=f"^{key} must be a whole number, at least 2, got 1"):
        getattr(theory, name)(**{key: 1})


@pytest.mark.parametrize(("name", "key"), [(name, key) for name, keys in NO_RATE.items() for key in keys])
@pytest.mark.parametrize("value", [0.0, -0.1, math.nan, math.inf])
def test_a_rate_that_moves_nothing_or_too_far_is_refused(name, key, value):
    with pytest.raises(ValueError, match=f"^{key} must be a finite number above 0, got {value}"):
        getattr(theory, name)(**{key: value})


@pytest.mark.parametrize(("name", "arguments", "message"), NO_LIST)
def test_a_list_that_says_too_little_is_refused(name, arguments, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        getattr(theory, name)(**arguments)
