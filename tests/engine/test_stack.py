from collections import OrderedDict
from copy import deepcopy

import pytest
import torch
from engine.plain import bits, make_networks, make_neurons
from torch import nn

from noisereg.engine import Stack
from noisereg.models import MLP, Neuron, TwoLayer

MAKERS = {
    "same": lambda **o: make_networks(3, count=3, **o),
    "no bias": lambda **o: make_networks(1, count=3, bias="none", **o),
    "append_one": lambda **o: make_networks(1, count=3, bias="none", append_one=True, **o),
    "signs": lambda **o: make_networks(1, count=3, trained="hidden", output_signs=True, **o),
    "square": lambda **o: make_networks(6, count=3, hidden=6, **o),
    "square with one": lambda **o: make_networks(7, count=3, hidden=7, bias="none", append_one=True, **o),
    "neuron": lambda **o: make_neurons(count=3, **o),
    "bare neuron": lambda **o: make_neurons(count=3, bias="none", **o),
}


@pytest.fixture(params=MAKERS)
def models(request):
    return MAKERS[request.param]()


def logits(stack, replica, inputs):
    """Compute the networks from the documented meaning of the tensors."""
    x = stack.prepare(inputs)
    if stack.hidden is None:
        return x @ stack.output[replica].T
    bias = 0 if stack.output_bias is None else stack.output_bias[replica]
    return (x @ stack.hidden[replica]).relu() @ stack.output[replica].T + bias


@pytest.mark.parametrize(
    ("model", "hidden", "output", "output_bias"),
    [
        (TwoLayer((60,), 1, hidden=240), (2, 61, 240), (2, 1, 240), (2, 1)),
        (TwoLayer((2, 5), 3, hidden=4), (2, 11, 4), (2, 3, 4), (2, 3)),
        (TwoLayer((10,), 3, hidden=4, bias="none"), (2, 10, 4), (2, 3, 4), None),
        (TwoLayer((10,), 3, hidden=4, bias="none", append_one=True), (2, 11, 4), (2, 3, 4), None),
        (TwoLayer((10,), 1, hidden=4, trained="hidden", output_signs=True), (2, 11, 4), (2, 1, 4), None),
        (Neuron((30,), 1), None, (2, 1, 30), None),
        (Neuron((30,), 1, bias="zero"), None, (2, 1, 31), None),
    ],
)
def test_shapes_are_those_counted_by_hand(model, hidden, output, output_bias):
    stack = Stack.of([model, model])
    tensors = (stack.hidden, stack.output, stack.output_bias)
    assert [tensor if tensor is None else tuple(tensor.shape) for tensor in tensors] == [hidden, output, output_bias]
    assert len(stack) == 2


def test_a_stack_computes_what_its_models_compute(models):
    stack, inputs = Stack.of(models), torch.randn(9, 6, generator=torch.Generator().manual_seed(0))
    for replica, model in enumerate(models):
        torch.testing.assert_close(logits(stack, replica, inputs), model(inputs))


def test_what_is_copied_back_is_what_was_stacked(models):
    others = deepcopy(models[::-1])
    stack = Stack.of(models)
    for replica, (other, model) in enumerate(zip(others, models, strict=True)):
        stack.copy_to(other, replica)
        assert all(torch.equal(*pair) for pair in zip(other.parameters(), model.parameters(), strict=True))


def test_a_stack_shares_no_memory_with_its_models(models):
    before = deepcopy(models[0])
    with torch.no_grad():
        for weight in Stack.of(models).parameters():
            weight.zero_()
    assert all(torch.equal(*pair) for pair in zip(models[0].parameters(), before.parameters(), strict=True))


def test_layers_have_the_names_and_the_values_of_the_models(models):
    layers = Stack.of(models).layers()
    named = [dict(model.named_parameters()) for model in models]
    assert {f"{layer}.weight" for layer in layers} == {name for name in named[0] if name.endswith("weight")}
    for layer, (weight, bias) in layers.items():
        norms = torch.stack([parameters[f"{layer}.weight"].norm() for parameters in named])
        torch.testing.assert_close(weight.flatten(1).norm(dim=1), norms)
        assert (bias is None) == (f"{layer}.bias" not in named[0])
        if bias is not None:
            assert torch.equal(bias, torch.stack([parameters[f"{layer}.bias"] for parameters in named]))


def test_replicas_that_were_selected_and_put_back_are_the_only_ones_that_change(models):
    stack, before = Stack.of(models), Stack.of(models)
    some = torch.tensor([2, 0])
    part = stack.select(some)
    assert len(part) == 2
    assert bits(part, slice(0, 1)) == bits(before, slice(2, 3))
    with torch.no_grad():
        for weight in part.parameters():
            weight.add_(1)
    assert bits(stack) == bits(before)
    stack.put(some, part)
    for now, then in zip(stack.parameters(), before.parameters(), strict=True):
        assert torch.equal(now[[0, 2]], then[[0, 2]] + 1)
        assert torch.equal(now[1], then[1])


def test_a_selected_part_knows_what_the_whole_knows(models):
    whole = Stack.of(models)
    part = whole.select(torch.tensor([1]))
    assert part.appends_one == whole.appends_one
    for layer, (weight, bias) in part.layers().items():
        all_weights, all_biases = whole.layers()[layer]
        assert torch.equal(weight[0], all_weights[1])
        assert (bias is None) == (all_biases is None)
    flags = [[weight.requires_grad for weight in stack.parameters()] for stack in (part, whole)]
    assert flags[0] == flags[1]


@pytest.mark.parametrize(
    ("trained", "moving"),
    [("both", {"hidden", "output", "output_bias"}), ("hidden", {"hidden"}), ("output", {"output", "output_bias"})],
)
def test_layers_that_are_not_trained_ask_for_no_gradient(trained, moving):
    stack = Stack.of(make_networks(trained=trained))
    assert {name for name, weight in stack.named_parameters() if weight.requires_grad} == moving


def test_an_infinity_or_nan_anywhere_is_found(models):
    for number, _ in enumerate(Stack.of(models).parameters()):
        for value in (torch.inf, -torch.inf, torch.nan):
            stack = Stack.of(models)
            assert stack.finite().tolist() == [True, True, True]
            with torch.no_grad():
                list(stack.parameters())[number][1].view(-1)[-1] = value
            assert stack.finite().tolist() == [True, False, True]


def test_weights_whose_sum_overflows_are_finite():
    stack = Stack.of([Neuron((4,), 1, bias="none") for _ in range(2)])
    with torch.no_grad():
        stack.output[1] = torch.finfo(torch.float32).max
    assert stack.finite().tolist() == [True, True]
    with torch.no_grad():
        stack.output[0, 0, 1] = torch.nan
    assert stack.finite().tolist() == [False, True]


def test_the_one_is_appended_where_the_networks_ask_for_it():
    images = torch.arange(8.0).view(2, 2, 2)
    with_one = Stack.of([TwoLayer((2, 2), 1, hidden=3)]).prepare(images)
    assert with_one.tolist() == [[0, 1, 2, 3, 1], [4, 5, 6, 7, 1]]
    assert Stack.of([Neuron((2, 2), 1)]).prepare(images).tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_inputs_take_the_precision_of_the_weights():
    assert Stack.of([Neuron((2,), 1).double()]).prepare(torch.zeros(1, 2)).dtype == torch.float64
    assert Stack.of([Neuron((2,), 1)]).prepare(torch.zeros(1, 2).double()).dtype == torch.float32


@pytest.mark.parametrize("model", [MLP((6,), 1, hidden=8), nn.Linear(6, 1)])
def test_another_kind_of_network_is_refused(model):
    with pytest.raises(TypeError, match=f"only TwoLayer and Neuron can be stacked, got {type(model).__name__}"):
        Stack.of([TwoLayer((6,), 1, hidden=8), model])


def test_weights_are_not_written_into_another_kind_of_layer():
    with pytest.raises(TypeError, match=r"output of the model must be an nn\.Linear, got ReLU"):
        Stack.of(make_neurons()).copy_to(nn.Sequential(OrderedDict(output=nn.ReLU())), 0)
