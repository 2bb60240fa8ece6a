import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from noisereg.metrics import ReluCounter, find_relus, why_no_relus
from noisereg.metrics.relus import KEEP_SIGN


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
    assert list(find_relus(net, ["0"])) == ["0"]
    assert list(find_relus(net, ["*"])) == ["0", "1", "2"]


def test_calls_of_the_function_are_said_to_be_unseen():
    reason = why_no_relus(Functional())
    assert "no other activation module, and calls of torch.nn.functional.relu are not seen" in reason
    assert "\n" not in reason


def test_a_network_with_a_relu_has_nothing_to_be_said(mixed):
    assert why_no_relus(mixed) is None


class Reuse(nn.Module):
    """Calls one in-place ReLU twice, as torchvision's ResNets do."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 5), nn.Linear(5, 6)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, inputs):
        return self.relu(self.second(self.relu(self.first(inputs))))


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Reuse()


def _hooks(net):
    return sum(len(module._forward_hooks) for module in net.modules())


def test_each_call_of_a_reused_inplace_relu_is_a_layer(net):
    inputs = torch.randn(9, 4)
    with ReluCounter(find_relus(net)) as counter, torch.no_grad():
        for part in inputs.split(4):
            counter.start_batch()
            net(part)
    hidden = net.first(inputs).relu()
    output = net.second(hidden).relu()
    assert list(counter.metrics) == ["relu", "relu:2"]
    assert counter.metrics["relu"].fires.tolist() == [(hidden > 0).sum(0).tolist()]
    assert counter.metrics["relu:2"].fires.tolist() == [(output > 0).sum(0).tolist()]


def test_hooks_are_gone_after_the_block_and_after_an_error(net):
    counter = ReluCounter(find_relus(net))
    with counter:
        assert _hooks(net) == 1
    assert _hooks(net) == 0
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"), counter:
        net(torch.ones(1, 3))
    assert _hooks(net) == 0


def test_batches_with_labels_are_counted_by_class(net):
    with ReluCounter(find_relus(net), num_classes=3) as counter:
        counter.start_batch(torch.tensor([2, 2]))
        net(torch.ones(2, 4))
    assert counter.metrics["relu"].samples.tolist() == [0, 0, 2]


def test_batches_without_labels_are_counted_as_one(net):
    with ReluCounter(find_relus(net), num_classes=3) as counter:
        counter.start_batch()
        net(torch.ones(2, 4))
    assert counter.metrics["relu"].samples.tolist() == [2]


def test_an_error_names_the_layer():
    net = nn.Sequential(nn.Identity(), nn.ReLU())
    with ReluCounter(find_relus(net)) as counter:
        net(torch.ones(2, 4))
        counter.start_batch()
        with pytest.raises(ValueError, match="4 units as before, got 5") as caught:
            net(torch.ones(2, 5))
    assert caught.value.__notes__ == ["while counting the firings of layer '1'"]


def test_a_chosen_module_that_gives_no_tensor_is_an_error():
    net = nn.ModuleDict({"attention": nn.MultiheadAttention(4, 1)})
    tokens = torch.ones(2, 3, 4)
    with (
        ReluCounter(find_relus(net, ["attention"])),
        pytest.raises(ValueError, match="layer 'attention' must give a tensor to be counted, got a tuple"),
    ):
        net["attention"](tokens, tokens, tokens)


COMPILED = """
import torch
from torch import nn
from noisereg.metrics import ReluCounter, find_relus
net = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
compiled = torch.compile(net, backend="eager")
compiled(torch.randn(2, 3))
with ReluCounter(find_relus(compiled)) as counter:
    counter.start_batch()
    compiled(torch.randn(2, 3))
print(*counter.metrics, *counter.metrics["1"].samples.tolist())
"""


def test_a_net_compiled_and_run_before_is_counted():
    assert _output(COMPILED) == ["1", "2"]


def test_metrics_load_no_lightning():
    code = "import sys, noisereg.metrics; print('lightning' in sys.modules or 'hydra' in sys.modules)"
    assert _output(code) == ["False"]


def _output(code):
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=paths, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()
