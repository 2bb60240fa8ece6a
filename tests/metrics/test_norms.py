import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm

from noisereg.metrics import bias_quantiles, collect_norms, frobenius_norm


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Linear(4, 7))


def test_norms_are_those_of_numpy_and_leave_out_vectors(net):
    values = collect_norms(net)
    norms = {key.removeprefix("norm/"): value for key, value in values.items() if key.startswith("norm/")}
    assert list(norms) == ["0", "3"]
    for layer, norm in norms.items():
        weight = net[int(layer)].weight.detach().numpy()
        assert norm.item() == pytest.approx(np.sqrt((weight.astype(np.float64) ** 2).sum()), rel=1e-6)


def test_bias_statistics_are_those_of_numpy(net):
    net[3].bias.data = torch.randn(7)
    statistics = collect_norms(net)
    assert [key for key in statistics if "mean" in key] == ["bias_mean/1", "bias_mean/3"]
    bias = net[3].bias.detach().double().numpy()
    expected = dict(zip(["min", "q10", "q50", "q90", "max"], np.quantile(bias, [0, 0.1, 0.5, 0.9, 1]), strict=True))
    for name, value in {"mean": bias.mean(), **expected}.items():
        assert statistics[f"bias_{name}/3"].item() == pytest.approx(value, rel=1e-6)


def test_a_half_precision_weight_gives_a_float32_norm():
    layer = nn.Linear(512, 512).half()
    nn.init.constant_(layer.weight, 200.0)
    values = collect_norms(nn.Sequential(layer))
    norm = values["norm/0"]
    assert norm.dtype == torch.float32
    assert norm.item() == pytest.approx(102_400, rel=1e-6)  # beyond float16
    assert values["bias_mean/0"].dtype == torch.float32


def test_a_double_precision_weight_keeps_its_precision():
    assert collect_norms(nn.Sequential(nn.Linear(2, 2).double()))["norm/0"].dtype == torch.float64


def test_the_values_take_no_part_in_the_graph(net):
    assert not any(value.requires_grad for value in collect_norms(net).values())


def test_a_net_without_parameters_has_no_norms():
    assert collect_norms(nn.ReLU()) == {}


@pytest.mark.parametrize("stack", [(), (5,), (2, 3)])
def test_norms_of_a_stack_are_those_of_numpy_one_by_one(stack):
    weight = torch.randn(*stack, 4, 7, generator=torch.Generator().manual_seed(0))
    expected = np.linalg.norm(weight.double().numpy().reshape(-1, 28), axis=1).reshape(stack)
    np.testing.assert_allclose(frobenius_norm(weight).numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize("stack", [(), (5,), (2, 3)])
@pytest.mark.parametrize("units", [1, 7])
def test_quantiles_of_a_stack_are_those_of_numpy_one_by_one(stack, units):
    bias = torch.randn(*stack, units, generator=torch.Generator().manual_seed(0))
    numbers = bias.double().numpy()
    expected = dict(
        zip(["min", "q10", "q50", "q90", "max"], np.quantile(numbers, [0, 0.1, 0.5, 0.9, 1], axis=-1), strict=True)
    )
    for name, value in {"mean": numbers.mean(axis=-1), **expected}.items():
        np.testing.assert_allclose(bias_quantiles(bias)[name].numpy(), value, rtol=1e-5, atol=1e-7)


def test_a_stack_of_half_precision_is_measured_in_float32():
    assert frobenius_norm(torch.full((2, 4, 4), 2e4).half()).tolist() == [8e4, 8e4]  # beyond float16
    assert bias_quantiles(torch.ones(2, 3).half())["q50"].dtype == torch.float32


def _weight_norm(layer):
    with pytest.warns(FutureWarning, match="deprecated"):
        return weight_norm(layer)


def _multiplied_by(layer):
    """What a layer multiplies by in eval mode, read off its outputs."""
    before = layer.training
    with torch.no_grad():
        weight = layer.eval()(torch.eye(6)) - layer(torch.zeros(6))
    layer.train(before)
    return weight.T


@pytest.mark.parametrize(
    "computed",
    [
        parametrizations.weight_norm,
        parametrizations.spectral_norm,
        parametrizations.orthogonal,
        _weight_norm,
        spectral_norm,
        lambda layer: prune.l1_unstructured(layer, "weight", amount=0.5),
        lambda layer: prune.random_unstructured(prune.l1_unstructured(layer, "weight", amount=9), "weight", amount=4),
        lambda layer: parametrizations.spectral_norm(parametrizations.weight_norm(layer)),
    ],
)
def test_the_norm_of_a_weight_that_is_computed_is_that_of_what_the_layer_multiplies_by(computed):
    torch.manual_seed(0)
    net = nn.Sequential(computed(nn.Linear(6, 5)), nn.ReLU(), nn.Linear(5, 1))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.3)
    for _ in range(3):  # what the layer holds in between is of before the last step
        optimizer.zero_grad()
        net(torch.randn(8, 6)).square().mean().backward()
        optimizer.step()
    state = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    norms = collect_norms(net)
    assert net.training and all(torch.equal(tensor, state[name]) for name, tensor in net.state_dict().items())
    assert [key for key in norms if "norm" in key] == ["norm/0", "norm/2"] and not norms["norm/0"].requires_grad
    assert norms["norm/0"].item() == pytest.approx(_multiplied_by(net[0]).norm().item(), rel=1e-5)


def test_the_norm_under_weight_norm_is_that_of_the_lengths_of_its_rows():
    layer = parametrizations.weight_norm(nn.Linear(2, 2, bias=False))
    layer.parametrizations.weight.original0.data = torch.tensor([[3.0], [4.0]])
    assert collect_norms(nn.Sequential(layer))["norm/0"].item() == pytest.approx(5)


def test_a_weight_and_a_bias_of_the_module_itself_keep_their_own_names_alone_and_in_a_holder():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight, self.bias = nn.Parameter(torch.full((2, 2), 2.0)), nn.Parameter(torch.ones(3))
            self.net = nn.Linear(1, 1)

    for module in (Own(), nn.ModuleDict({"model": Own()})):
        values = collect_norms(module)
        assert {key for key in values if "norm" in key or "mean" in key} == {
            "norm/weight",
            "norm/net",
            "bias_mean/bias",
            "bias_mean/net",
        }
        assert (values["norm/weight"].item(), values["bias_mean/bias"].item()) == (4, 1)


def test_a_weight_that_two_layers_share_has_one_norm():
    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    second.weight = first.weight
    assert [key for key in collect_norms(nn.Sequential(first, second)) if "norm" in key] == ["norm/0"]
