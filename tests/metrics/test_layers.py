import pytest
import torch
from torch import nn

from noisereg.metrics import ReluCounter, find_relus, why_no_relus
from noisereg.metrics.layers import KEEP_SIGN


class Functional(nn.Module):
    """Calls the function, which no hook sees."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 5), nn.Linear(5, 3)

    def forward(self, inputs):
        return self.second(nn.functional.relu(self.first(inputs)))


@pytest.fixture
def mixed():
    names = {"a1": nn.ReLU(), "b": nn.GELU(), "a2": nn.ReLU(), "g3": nn.SiLU(), "fc": nn.Linear(1, 1)}
    return nn.ModuleDict(names)


def test_relu_and_relu6_are_found_and_nothing_else():
    net = nn.Sequential(nn.ReLU(), nn.LeakyReLU(), nn.PReLU(), nn.GELU(), nn.Sequential(nn.ReLU6()), nn.Hardtanh())
    assert list(find_relus(net)) == ["0", "4.0"]


def test_a_shared_relu_is_found_once():
    relu = nn.ReLU()
    assert list(find_relus(nn.Sequential(relu, relu))) == ["0"]


def test_patterns_keep_their_matches_in_the_order_of_the_module():
    net = nn.ModuleDict({name: nn.ReLU() for name in ("a1", "b", "a2")})
    assert list(find_relus(net, ["a2", "a*"])) == ["a1", "a2"]


def test_a_pattern_goes_to_the_relus_then_to_other_activations_then_to_one_module(mixed):
    assert list(find_relus(mixed, ["*"])) == ["a1", "a2"]
    assert list(find_relus(mixed, ["[bg]*"])) == ["b", "g3"]
    assert find_relus(mixed, ["fc", "g3", "a2"]) == {"a2": mixed["a2"], "g3": mixed["g3"], "fc": mixed["fc"]}


def test_other_modules_must_be_named_in_full(mixed):
    with pytest.raises(ValueError, match=r"layers must match names of ReLUs, got 'f\*'; there are: a1, a2"):
        find_relus(mixed, ["f*"])


def test_a_holder_of_the_network_may_be_left_out_of_a_name(mixed):
    module = nn.ModuleDict({"model": mixed, "loss": nn.MSELoss()})
    assert list(find_relus(module, ["a*"])) == ["a1", "a2"]
    assert find_relus(module, ["b"]) == {"b": mixed["b"]}
    assert find_relus(module, ["fc"]) == {"fc": mixed["fc"]}
    assert find_relus(module, ["model.fc"]) == {"model.fc": mixed["fc"]}


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (nn.Sequential(nn.ReLU(), nn.GELU()), r"names of ReLUs, got 'rely\*'; there are: 0$"),
        (nn.Sequential(nn.Linear(1, 1), nn.GELU()), r"names of activations, got 'rely\*'; there are: 1$"),
        (Functional(), r"names of modules, got 'rely\*'; there are: first, second$"),
    ],
)
def test_a_pattern_without_a_match_is_an_error_that_lists_what_there_is(net, message):
    with pytest.raises(ValueError, match=f"layers must match {message}"):
        find_relus(net, ["0", "rely*"][-1:])


def test_a_net_without_relus_has_none_and_that_is_no_error():
    assert find_relus(nn.Sequential(nn.Linear(1, 1), nn.GELU())) == {}


@pytest.mark.parametrize("kind", KEEP_SIGN)
def test_outputs_of_the_other_activations_have_the_sign_of_their_inputs(kind):
    inputs = torch.cat([-torch.logspace(-6, 1, 200), torch.zeros(1), torch.logspace(-6, 1, 200)])
    assert ((kind()(inputs) > 0) == (inputs > 0)).all()


@pytest.mark.parametrize("kind", [nn.GELU, nn.SiLU, nn.LeakyReLU, nn.Hardswish])
def test_units_of_a_chosen_activation_are_active_where_its_input_is_positive(kind):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 6), kind(), nn.Linear(6, 2))
    inputs = torch.randn(20, 4)
    with ReluCounter(find_relus(net, ["1"])) as counter, torch.no_grad():
        net(inputs)
        active = net[0](inputs) > 0
    assert counter.metrics["1"].fires.tolist() == [active.sum(0).tolist()]


def test_the_layer_before_a_call_of_the_function_tells_what_it_lets_through():
    torch.manual_seed(0)
    net, inputs = Functional(), torch.randn(20, 4)
    assert find_relus(net) == {}
    with ReluCounter(find_relus(net, ["first"])) as counter, torch.no_grad():
        net(inputs)
        active = nn.functional.relu(net.first(inputs)) > 0
    assert counter.metrics["first"].fires.tolist() == [active.sum(0).tolist()]


def test_what_a_network_has_in_place_of_relus_is_said():
    net = nn.Sequential(nn.GELU(), nn.SiLU(), nn.GELU(), nn.Sigmoid())
    reason = why_no_relus(net)
    assert "Sequential has no nn.ReLU" in reason
    assert "but 2 GELU, 1 SiLU;" in reason
    assert "layers=['0']" in reason
    assert "callbacks.sparsity.layers='[0]'" in reason
    assert list(find_relus(net, ["0"])) == ["0"]
    assert list(find_relus(net, ["*"])) == ["0", "1", "2"]


def test_calls_of_the_function_are_said_to_be_unseen():
    reason = why_no_relus(Functional())
    assert "no other activation module, and calls of torch.nn.functional.relu are not seen" in reason
    assert "\n" not in reason


def test_a_network_with_a_relu_has_nothing_to_be_said(mixed):
    assert why_no_relus(mixed) is None
