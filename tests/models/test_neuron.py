import numpy as np
import pytest
import torch

from noisereg.models.neuron import Neuron


def test_a_neuron_is_a_scalar_product():
    neuron = Neuron((30,), 1, seed=3).double()
    inputs = np.random.default_rng(0).normal(size=(5, 30))
    expected = inputs @ neuron.output.weight.detach().numpy()[0]
    np.testing.assert_allclose(neuron(torch.from_numpy(inputs)).detach()[:, 0], expected, rtol=1e-12)


def test_a_neuron_has_no_bias_unless_asked_for():
    assert [name for name, _ in Neuron((30,), 1).named_parameters()] == ["output.weight"]
    assert Neuron((30,), 1, bias="zero").output.bias.tolist() == [0]


def test_a_bias_is_the_output_of_the_zero_input():
    neuron = Neuron((1, 2, 3), 1, bias="same", seed=1)
    logits = neuron(torch.zeros(2, 1, 2, 3))
    assert logits.flatten().tolist() == [neuron.output.bias.item()] * 2 != [0, 0]


def test_weights_lie_in_the_range_of_the_named_law():
    assert 1 < Neuron((1000,), 1).output.weight.abs().max() <= np.float32(np.sqrt(3))
    assert Neuron((1000,), 1, init="torch").output.weight.abs().max() <= 1 / np.sqrt(1000)


@pytest.mark.parametrize("num_outputs", [0, 2, 10])
def test_more_than_two_classes_are_refused(num_outputs):
    with pytest.raises(ValueError, match=f"num_outputs must be 1, got {num_outputs}: a neuron separates two classes"):
        Neuron((30,), num_outputs)
