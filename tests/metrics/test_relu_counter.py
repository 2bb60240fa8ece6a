import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from noisereg.metrics import ReluCounter, find_relus


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
