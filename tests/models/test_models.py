"""What holds for every model."""

import copy
from functools import partial

import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from noisereg.models import MLP, Neuron, ResNet, TwoLayer, torchvision_model

OURS = {
    "neuron": (Neuron, (6,), 1),
    "neuron with bias": (partial(Neuron, bias="same"), (6,), 1),
    "two_layer": (partial(TwoLayer, hidden=8), (6,), 1),
    "two_layer on images": (partial(TwoLayer, hidden=8, bias="same"), (3, 4, 4), 10),
    "two_layer, equation 2": (partial(TwoLayer, hidden=8, bias="none", append_one=True), (6,), 1),
    "two_layer, theorem 4": (
        partial(TwoLayer, hidden=8, init="unit", bias="none", trained="hidden", output_signs=True),
        (6,),
        1,
    ),
    "mlp": (partial(MLP, hidden=[8, 5]), (6,), 1),
    "mlp on images": (partial(MLP, hidden=8, init="he", bias="zero"), (3, 4, 4), 10),
    "resnet": (partial(ResNet, depth=8), (3, 16, 16), 10),
    "resnet, two classes": (partial(ResNet, depth=14), (1, 28, 28), 1),
}
ALL = OURS | {"torchvision": (partial(torchvision_model, name="squeezenet1_1"), (3, 32, 32), 10)}


@pytest.fixture(params=ALL)
def case(request):
    return ALL[request.param]


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_logits_have_one_row_a_sample_and_one_column_an_output(case):
    build, shape, num_outputs = case
    model = build(shape, num_outputs).eval()
    for batch in (1, 5):
        assert model(torch.zeros(batch, *shape)).shape == (batch, num_outputs)


def test_weights_are_a_function_of_the_seed(case):
    build, shape, num_outputs = case
    assert same(build(shape, num_outputs, seed=3), build(shape, num_outputs, seed=3))
    assert not same(build(shape, num_outputs, seed=3), build(shape, num_outputs, seed=4))


def test_every_drawn_weight_differs_between_seeds(case):
    build, shape, num_outputs = case
    first, second = build(shape, num_outputs, seed=0), build(shape, num_outputs, seed=1)
    for (name, a), b in zip(first.named_parameters(), second.parameters(), strict=True):
        if a.ndim > 1 and a.requires_grad:
            assert not torch.equal(a, b), name


def test_building_neither_moves_nor_reads_the_global_generator(case):
    build, shape, num_outputs = case
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = build(shape, num_outputs)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(1)
    assert same(build(shape, num_outputs), first)


def test_all_weights_are_finite_float32(case):
    build, shape, num_outputs = case
    for name, parameter in build(shape, num_outputs).named_parameters():
        assert parameter.dtype == torch.float32, name
        assert parameter.isfinite().all(), name


def test_a_copy_and_a_reload_give_the_same_logits(case):
    build, shape, num_outputs = case
    model = build(shape, num_outputs).eval()
    loaded = build(shape, num_outputs, seed=1).eval()
    loaded.load_state_dict(model.state_dict())
    inputs = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))
    assert torch.equal(copy.deepcopy(model)(inputs), model(inputs))
    assert torch.equal(loaded(inputs), model(inputs))


class ReluCounter(TorchFunctionMode):
    """Count the calls of relu, whether a module or a function makes them."""

    num_calls = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.num_calls += func in (torch.relu, torch.relu_, torch.nn.functional.relu)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", OURS)
def test_each_activation_has_its_own_relu_module(name):
    build, shape, num_outputs = OURS[name]
    model = build(shape, num_outputs)
    relus = [module for module in model.modules() if isinstance(module, nn.ReLU)]
    seen = []
    for relu in relus:
        relu.register_forward_hook(lambda module, inputs, output: seen.append(module))
    with ReluCounter() as counter:
        model(torch.zeros(2, *shape))
    assert seen == relus
    assert counter.num_calls == len(relus)
    assert bool(relus) == ("neuron" not in name)
