import numpy as np
import pytest
import torch

from noisereg.models.two_layer import TwoLayer

INPUTS = torch.randn(7, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("num_outputs", [1, 3])
def test_the_network_is_equation_one(num_outputs):
    model = TwoLayer((6,), num_outputs, hidden=8, bias="same", seed=1).double()
    w, b, v, c = (parameter.detach().numpy() for parameter in model.parameters())
    expected = np.maximum(INPUTS.numpy() @ w.T + b, 0) @ v.T + c
    np.testing.assert_allclose(model(INPUTS).detach(), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, 60 * 240 + 240 + 240 + 1),  # 14,881
        ({"bias": "none"}, 60 * 240 + 240),
        ({"bias": "none", "append_one": True}, 61 * 240 + 240),
        ({"bias": "none", "output_signs": True, "trained": "hidden"}, 60 * 240 + 240),
        ({"output_signs": True, "trained": "hidden"}, 60 * 240 + 240 + 240),
    ],
)
def test_parameters_are_as_many_as_counted_by_hand(settings, expected):
    assert count(TwoLayer((60,), 1, hidden=240, **settings)) == expected


def test_weights_are_literally_uniform_and_biases_zero_by_default():
    model = TwoLayer((60,), 1, hidden=2400)
    for layer in (model.hidden, model.output):
        assert abs(layer.weight.var() - 1) < 5 * np.sqrt(0.8 / layer.weight.numel())  # var of x^2 for the unit uniform
        assert not layer.bias.any()


def test_an_appended_one_gives_the_function_of_equation_one_and_its_bias_gradient():
    one = TwoLayer((6,), 1, hidden=8, bias="same", seed=1).double()
    torch.nn.init.zeros_(one.output.bias)
    two = TwoLayer((6,), 1, hidden=8, bias="none", append_one=True).double()
    with torch.no_grad():
        two.hidden.weight.copy_(torch.column_stack([one.hidden.weight, one.hidden.bias]))
        two.output.weight.copy_(one.output.weight)
    torch.testing.assert_close(two(INPUTS), one(INPUTS))
    one(INPUTS).sum().backward()
    two(INPUTS).sum().backward()
    torch.testing.assert_close(two.hidden.weight.grad[:, -1], one.hidden.bias.grad)


def test_the_network_of_equation_two_is_homogeneous_in_each_layer():
    model = TwoLayer((6,), 1, hidden=8, bias="none", append_one=True).double()
    before = model(INPUTS)
    with torch.no_grad():
        model.hidden.weight.mul_(3)
    torch.testing.assert_close(model(INPUTS), 3 * before)


def test_output_signs_are_half_plus_and_half_minus():
    model = TwoLayer((6,), 1, hidden=8, bias="none", trained="hidden", output_signs=True)
    assert model.output.weight.tolist() == [[1, 1, 1, 1, -1, -1, -1, -1]]
    assert model.output.bias is None


def test_output_scale_multiplies_the_output_weights_alone():
    plain, scaled = (TwoLayer((6,), 2, hidden=8, bias="same", output_scale=scale) for scale in (1.0, 4.5))
    assert torch.equal(scaled.output.weight, 4.5 * plain.output.weight)
    assert torch.equal(scaled.output.bias, plain.output.bias)
    assert torch.equal(scaled.hidden.weight, plain.hidden.weight)


def test_output_signs_leave_the_hidden_layer_as_it_is_without_them():
    signed, free = (TwoLayer((6,), 1, hidden=8, trained="hidden", output_signs=signs) for signs in (True, False))
    assert torch.equal(signed.hidden.weight, free.hidden.weight)


@pytest.mark.parametrize(
    ("trained", "moving"),
    [
        ("both", {"hidden.weight", "hidden.bias", "output.weight", "output.bias"}),
        ("hidden", {"hidden.weight", "hidden.bias"}),
        ("output", {"output.weight", "output.bias"}),
    ],
)
def test_a_step_moves_only_the_trained_layers(trained, moving):
    model = TwoLayer((6,), 1, hidden=8, trained=trained).double()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.1)
    model(INPUTS).square().sum().backward()
    optimizer.step()
    assert {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])} == moving


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hidden": 0}, "hidden must be a whole number, at least 1, got 0"),
        ({"num_outputs": 0}, "num_outputs must be a whole number, at least 1, got 0"),
        ({"trained": "none"}, "trained must be one of both, hidden, output, got 'none'"),
        ({"append_one": True}, "append_one=True takes the place of the biases and requires bias='none', got 'zero'"),
        ({"output_signs": True, "trained": "hidden", "hidden": 7}, "output_signs=True requires an even hidden, got 7"),
        ({"output_signs": True, "trained": "hidden", "num_outputs": 2}, "requires num_outputs=1, got 2"),
        ({"output_signs": True}, "requires trained='hidden', got 'both'"),
        ({"output_signs": True, "trained": "output"}, "requires trained='hidden', got 'output'"),
        ({"output_scale": 0.0}, "output_scale must be a finite number above 0, got 0.0"),
        ({"output_scale": float("inf")}, "output_scale must be a finite number above 0, got inf"),
        ({"init": "zeros"}, "init must be one of"),
        ({"bias": "zeros"}, "bias must be one of"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    settings = {"hidden": 8, "num_outputs": 1} | settings
    with pytest.raises(ValueError, match=message):
        TwoLayer((6,), settings.pop("num_outputs"), **settings)
