import pytest
import torch
import torchmetrics
from torch import nn

from noisereg.metrics import find_relus
from noisereg.metrics.activations import FUNCTIONS, Kind, kind_of

KEEP_SIGN = [
    *(nn.GELU, nn.SiLU, nn.Mish, nn.Hardswish, nn.LeakyReLU, nn.RReLU, nn.PReLU, nn.ELU, nn.SELU, nn.CELU),
    *(nn.Tanh, nn.Hardtanh, nn.Softsign),
]


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


class ReluSquared(nn.Module):
    def forward(self, inputs):
        return torch.square(nn.functional.relu(inputs))


class NewGelu(nn.Module):
    def forward(self, inputs):
        inner = (2 / torch.pi) ** 0.5 * (inputs + 0.044715 * torch.pow(inputs, 3.0))
        return 0.5 * inputs * (1.0 + torch.tanh(inner))


class Quick(nn.Module):
    def forward(self, inputs):
        return inputs * torch.sigmoid(1.702 * inputs)


class Holder(nn.Module):
    """Calls a function of torch, as the classes of libraries do."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, inputs):
        return self.function(inputs)


def test_classes_that_torch_does_not_know_are_tried():
    assert [kind_of(act) for act in (ReluSquared(), Holder(torch.relu))] == [Kind.RELU] * 2
    others = (NewGelu(), Quick(), Holder(nn.functional.silu), Holder(lambda x: nn.functional.leaky_relu(x, 0.2)))
    assert [kind_of(act) for act in others] == [Kind.RECTIFIER] * 4


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x,
        lambda x: x.softmax(dim=-1),
        lambda x: x - x.mean(),
        torch.sigmoid,
        torch.tanh,
        lambda x: x.chunk(2, dim=-1)[0],
        lambda x: nn.functional.dropout(x, 0.5),
        lambda x: x.sum(),
        lambda x: x.no_such_name,
        torch.abs,
        torch.square,
    ],
)
def test_a_module_that_is_no_activation_is_not_taken_for_one(function):
    state = torch.get_rng_state()
    assert kind_of(Holder(function)) is None
    assert torch.equal(torch.get_rng_state(), state)


def test_a_trial_leaves_a_module_as_it_was():
    class Counting(nn.Module):
        calls = 0

        def forward(self, inputs):
            self.calls += 1
            return inputs.relu()

    module = Counting()
    assert kind_of(module) is Kind.RELU
    assert module.calls == 0
    assert kind_of(torchmetrics.MeanMetric()) is None


def test_the_functions_of_torch_have_the_kind_of_its_modules():
    modules = {"relu": nn.ReLU, "relu6": nn.ReLU6, "gelu": nn.GELU, "silu": nn.SiLU, "mish": nn.Mish, "elu": nn.ELU}
    modules |= {"hardswish": nn.Hardswish, "leaky_relu": nn.LeakyReLU, "softplus": nn.Softplus, "tanh": nn.Tanh}
    kinds = dict(FUNCTIONS.values())
    assert {name: kinds[name] for name in modules} == {name: kind_of(module()) for name, module in modules.items()}
