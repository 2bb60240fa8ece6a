import math

import pytest
import scipy.stats
import torch
from torch import nn

from noisereg.models import init as module
from noisereg.models.init import initialize
from noisereg.rng import Stream, uniform

FIVE_SIGMA = 5.7e-7  # two-sided tail of the normal law
FAN_IN = {"linear": 400, "conv": 16 * 9, "grouped": 8 * 9}
LAW = {
    "uniform": lambda fan_in: scipy.stats.uniform(-math.sqrt(3), 2 * math.sqrt(3)),
    "unit": lambda fan_in: scipy.stats.uniform(-1, 2),
    "torch": lambda fan_in: scipy.stats.uniform(-1 / math.sqrt(fan_in), 2 / math.sqrt(fan_in)),
    "he": lambda fan_in: scipy.stats.norm(0, math.sqrt(2 / fan_in)),
}


def make_layer(kind, dtype=torch.float64):
    if kind == "linear":
        return nn.Linear(400, 300, dtype=dtype)
    return nn.Conv2d(16, 256, 3, groups=1 if kind == "conv" else 2, dtype=dtype)


def fill(layer, init="uniform", bias="same", seed=0):
    initialize(layer, init=init, bias=bias, seed=seed)
    return layer


@pytest.mark.parametrize("kind", FAN_IN)
@pytest.mark.parametrize("init", LAW)
def test_weights_follow_the_named_law(init, kind):
    weight = fill(make_layer(kind), init).weight.detach().flatten().numpy()
    assert scipy.stats.kstest(weight, LAW[init](FAN_IN[kind]).cdf).pvalue > FIVE_SIGMA


@pytest.mark.parametrize("init", LAW)
def test_a_bias_of_the_same_law_uses_the_fan_in_of_its_weight(init):
    layer = fill(nn.Linear(4, 20_000, dtype=torch.float64), init)
    assert scipy.stats.kstest(layer.bias.detach().numpy(), LAW[init](4).cdf).pvalue > FIVE_SIGMA


@pytest.mark.parametrize("init", ["uniform", "he"])
def test_a_torch_bias_stands_beside_weights_of_another_law(init):
    layer = fill(nn.Linear(4, 20_000, dtype=torch.float64), init, bias="torch")
    assert scipy.stats.kstest(layer.bias.detach().numpy(), LAW["torch"](4).cdf).pvalue > FIVE_SIGMA
    assert scipy.stats.kstest(layer.weight.detach().flatten().numpy(), LAW[init](4).cdf).pvalue > FIVE_SIGMA


@pytest.mark.parametrize(
    "make", [lambda: nn.Linear(9, 9000), lambda: nn.Conv1d(2, 9000, 3), lambda: nn.Conv3d(1, 9000, 2)]
)
def test_the_law_named_torch_is_that_of_torchs_own_layers(make):
    torch.manual_seed(0)
    theirs, ours = make(), fill(make(), "torch", "same", seed=1)
    for name, parameter in ours.named_parameters():
        samples = [p.detach().flatten().numpy() for p in (parameter, theirs.get_parameter(name))]
        assert scipy.stats.ks_2samp(*samples).pvalue > FIVE_SIGMA


def test_a_zero_bias_is_zero():
    assert not fill(make_layer("linear"), bias="zero").bias.any()


def test_a_layer_without_bias_stays_so():
    assert fill(nn.Linear(3, 2, bias=False), bias="same").bias is None


def test_layers_take_the_draws_of_their_own_number():
    net = fill(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Conv1d(4, 5, 1)).double(), "unit", "same", seed=7)
    for step, parameter in enumerate(net.parameters()):
        expected = 2 * uniform(7, Stream.INIT, step, torch.arange(parameter.numel())) - 1
        assert torch.equal(parameter.flatten(), expected)


def test_a_layer_without_bias_moves_no_draw_of_the_next():
    with_bias, without = (fill(nn.Sequential(nn.Linear(3, 4, bias=bias), nn.Linear(4, 5))) for bias in (True, False))
    assert torch.equal(with_bias[1].weight, without[1].weight)


def test_values_depend_neither_on_what_was_built_before_nor_on_the_global_generator():
    first = [fill(make_layer(kind)) for kind in FAN_IN]
    torch.manual_seed(99)
    second = [fill(make_layer(kind)) for kind in reversed(FAN_IN)][::-1]
    assert all(
        torch.equal(a.weight, b.weight) and torch.equal(a.bias, b.bias) for a, b in zip(first, second, strict=True)
    )


@pytest.mark.parametrize("init", LAW)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_smaller_types_hold_the_rounded_float64_values(init, dtype):
    exact, rounded = (fill(make_layer("linear", dtype=kind), init) for kind in (torch.float64, dtype))
    assert torch.equal(exact.weight.to(dtype), rounded.weight)
    assert torch.equal(exact.bias.to(dtype), rounded.bias)


def test_seeds_give_unrelated_weights():
    weights = torch.stack([fill(make_layer("linear"), seed=seed).weight.detach().flatten() for seed in range(5)])
    correlations = torch.corrcoef(weights)[*torch.triu_indices(5, 5, offset=1)]
    assert correlations.abs().max() < 5 / math.sqrt(weights.shape[1])


def test_other_layers_keep_their_values():
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    nn.init.constant_(net[1].weight, 0.25)
    assert (fill(net)[1].weight == 0.25).all()


def test_an_unknown_law_is_refused():
    with pytest.raises(ValueError, match="init must be one of uniform, unit, torch, he, got 'xavier'"):
        fill(nn.Linear(2, 3), init="xavier")
    with pytest.raises(ValueError, match="bias must be one of zero, same, torch, none, got 'ones'"):
        fill(nn.Linear(2, 3), bias="ones")


def test_bias_none_refuses_a_layer_that_has_one():
    net = nn.Sequential(nn.Linear(2, 3, bias=False), nn.Linear(3, 1))
    with pytest.raises(ValueError, match="requires layers made with bias=False, got 1 with a bias"):
        fill(net, bias="none")


def test_a_layer_that_is_to_be_filled_draws_nothing_from_the_generator_of_torch():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    layer = module.make_layer(nn.Linear, 60, 240, bias=False)
    assert layer.weight.device.type == "cpu"
    assert layer.bias is None
    assert torch.equal(torch.get_rng_state(), before)
