import pytest
import torch
from torch import nn

from noisereg.metrics import find_last_layers, watch_last_layers
from noisereg.models import ViT


class Holder(nn.Module):
    """Calls a function."""

    def __init__(self, function):
        super().__init__()
        self.forward = function


class Reuse(nn.Module):
    """Calls one in-place ReLU twice, hands over an input by name, and writes into it afterwards."""

    def __init__(self):
        super().__init__()
        self.unused, self.first, self.second = nn.Linear(6, 6), nn.Linear(4, 6), nn.Linear(6, 6)
        self.relu, self.head = nn.ReLU(inplace=True), nn.Linear(6, 3)

    def forward(self, inputs):
        hidden = self.relu(self.second(self.relu(self.first(inputs))))
        logits = self.head(input=hidden)
        hidden.mul_(0)
        return logits


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Reuse()


def _hooks(net):
    return sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in net.modules())


def test_the_last_call_counts_and_the_layer_that_gives_the_logits(net):
    layers = find_last_layers(net, torch.ones(1, 4))
    assert layers.layer == "relu:2"
    assert layers.relu is net.relu
    assert layers.num_units == 6
    assert layers.linear is net.head
    assert _hooks(net) == 0


@torch.no_grad()
def test_what_the_last_layers_saw_is_kept_as_it_was(net):
    inputs = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    expected = net.second(net.first(inputs).relu()).relu()
    with watch_last_layers(find_last_layers(net, inputs[:1])) as last:
        net(torch.randn(3, 4))
        logits = net(inputs)
    assert expected.any()
    torch.testing.assert_close(last.activations, expected)
    torch.testing.assert_close(last.features, expected)
    torch.testing.assert_close(net.head(last.features), logits)
    assert _hooks(net) == 0


def test_units_of_a_convolution_are_its_positions():
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))
    layers = find_last_layers(net, torch.zeros(2, 1, 4, 4))
    assert (layers.layer, layers.num_units, layers.linear) == ("1", 16, net[3])


def test_units_of_tokens_are_their_features():
    torch.manual_seed(0)
    net = ViT((1, 4, 4), 3, patch=2, width=8, depth=2, heads=2, hidden=12)
    images = torch.randn(5, 1, 4, 4)
    layers = find_last_layers(net, images[:1])
    assert (layers.layer, layers.num_units, layers.linear) == ("blocks.1.act", 12, net.output)
    seen = []
    net.blocks[1].act.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    with watch_last_layers(layers) as last:
        net(images)
    assert torch.equal(last.activations, seen[0].reshape(20, 12))
    swap = Holder(lambda hidden: hidden.movedim(1, -1))
    swapped = nn.Sequential(nn.Conv2d(1, 4, 3), swap, nn.Linear(4, 6), nn.ReLU())
    assert find_last_layers(swapped, images[:1]).num_units == 6  # channels come last here


@pytest.mark.parametrize(
    "last",
    [
        nn.Softmax(dim=1),
        nn.ReLU(inplace=True),
        nn.Unflatten(1, (3, 1)),
        nn.Sequential(nn.Unflatten(1, (3, 1)), nn.Conv1d(3, 3, 1)),
    ],
)
def test_a_network_that_goes_on_after_its_linear_layer_does_not_end_in_one(last):
    torch.manual_seed(0)
    assert find_last_layers(nn.Sequential(nn.Linear(2, 3), last), torch.ones(1, 2)).linear is None


def test_what_changes_no_value_may_follow():
    net = nn.Sequential(nn.Linear(2, 3), nn.Identity(), nn.Dropout(0.5)).eval()
    assert find_last_layers(net, torch.ones(1, 2)).linear is net[0]


def test_a_network_without_relus_and_linear_layers_has_no_last_layers():
    net = nn.Conv1d(1, 1, 1)
    layers = find_last_layers(net, torch.ones(1, 1, 1))
    assert layers == ("", None, True, 0, None)
    with watch_last_layers(layers) as last:
        net(torch.ones(2, 1, 1))
    assert last.features.numel() == last.activations.numel() == 0
