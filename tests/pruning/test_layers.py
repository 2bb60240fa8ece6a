import re

import pytest
import torch
from torch import nn
from torch.nn import functional

from noisereg.models import CNN, GPT, ResNet, TwoLayer, ViT
from noisereg.pruning.layers import CannotPruneError, Reader, find_layers


def layers_of(net, *shape):
    found = find_layers(net.eval(), torch.zeros(2, *shape))
    return {layer.name: layer for layer in found.layers}, dict(found.left_alone)


def test_a_hidden_layer_has_its_rows_and_what_reads_it():
    layers, left_alone = layers_of(TwoLayer((5,), 1, hidden=4), 5)
    assert list(layers) == ["hidden"] and left_alone == {}
    layer = layers["hidden"]
    assert (layer.size, layer.rows) == (4, ["hidden.weight", "hidden.bias"])
    assert layer.readers == [Reader("output.weight", 1)]


def test_batch_norm_belongs_to_the_units_and_a_flattened_channel_is_read_at_each_position():
    layers, _ = layers_of(CNN((1, 8, 8), 3, channels=[4, 6], hidden=5, batch_norm=True), 1, 8, 8)
    assert {name: layer.size for name, layer in layers.items()} == {"conv1": 4, "conv2": 6, "linear": 5}
    norm = ["norm1.weight", "norm1.bias", "norm1.running_mean", "norm1.running_var"]
    assert layers["conv1"].rows == ["conv1.weight", *norm]
    assert layers["conv1"].readers == [Reader("conv2.weight", 1)]
    assert layers["conv2"].readers == [Reader("linear.weight", 4)]  # 2 x 2 positions


def test_of_a_residual_network_the_channels_inside_a_block_can_go_and_those_of_sums_cannot():
    layers, left_alone = layers_of(ResNet((3, 8, 8), 10, depth=8), 3, 8, 8)
    assert {name: layer.size for name, layer in layers.items()} == {
        "layer1.0.conv1": 16,
        "layer2.0.conv1": 32,
        "layer3.0.conv1": 64,
    }
    assert layers["layer2.0.conv1"].readers == [Reader("layer2.0.conv2.weight", 1)]
    assert left_alone["relu"] == "its output is read by add"
    assert left_alone["layer3.0.relu2"].startswith("its input is the outcome of add")
    assert len(left_alone) == 4


@pytest.mark.parametrize(("net", "shape"), [(ViT((1, 8, 8), 3, depth=2), (1, 8, 8)), (GPT((6,), 4), (6,))])
def test_feed_forward_layers_of_a_transformer_have_features_as_units(net, shape):
    layers, left_alone = layers_of(net, *shape)
    assert [(layer.size, layer.axis) for layer in layers.values()] == [(256, 2)] * 2 and left_alone == {}


class Called(nn.Module):
    """Two linear maps, with something between them."""

    def __init__(self, between, first=None, second=None):
        super().__init__()
        self.first, self.second = first or nn.Linear(3, 4), second or nn.Linear(4, 2)
        self.between = between

    def forward(self, inputs):
        return self.between(self.first(inputs), self.second)


def tied():
    net = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3))
    net[2].weight = net[0].weight
    return net


def called_twice():
    layer = nn.Linear(3, 3)
    return nn.Sequential(layer, nn.ReLU(), layer)


@pytest.mark.parametrize(
    ("net", "reason"),
    [
        (
            Called(lambda x, second: second(torch.relu(x)) + x[:, :2]),
            "the outcome of linear before it is read elsewhere",
        ),
        (Called(lambda x, second: second(torch.relu(x).sigmoid())), "its output is read by sigmoid"),  # 0.5 for silence
        (Called(lambda x, second: second(torch.relu(x)) + functional.relu(x)[:, :2]), "read elsewhere"),
        (Called(lambda x, second: second(torch.relu(x.tanh()))), "its input is the outcome of tanh"),
        (Called(lambda x, second: torch.relu(x)), "its output is read by the caller of the network"),
        (nn.Sequential(nn.ReLU(), nn.Linear(3, 2)), "its input is that of the network"),
        (
            nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.BatchNorm1d(4), nn.Linear(4, 2)),
            "its output is read by batch_norm",
        ),
        (
            nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.LayerNorm(4), nn.Linear(4, 2)),
            "its output is read by layer_norm",
        ),
        (tied(), r"\.weight is used in several places"),
        (called_twice(), r"\.weight is used in several places"),
        (
            nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(3, 4)), nn.ReLU(), nn.Linear(4, 2)),
            "computation",
        ),
    ],
)
def test_a_layer_that_is_read_in_another_way_is_left_alone_and_the_reason_said(net, reason):
    layers, left_alone = layers_of(net, 3)
    assert layers == {}
    assert any(re.search(reason, found) for found in left_alone.values()), left_alone


def test_channels_of_a_convolution_in_groups_are_left_alone():
    net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3, groups=4), nn.ReLU(), nn.Conv2d(4, 2, 1))
    layers, left_alone = layers_of(net, 2, 8, 8)
    assert layers == {}
    assert set(left_alone.values()) == {"a convolution in groups ties its channels to others"}


def test_functions_and_means_over_positions_are_seen():
    between = Called(
        lambda x, second: second(functional.relu(x).mean(dim=(2, 3))), first=nn.Conv2d(3, 4, 3), second=nn.Linear(4, 2)
    )
    layers, _ = layers_of(between, 3, 8, 8)
    assert layers["first"].readers == [Reader("second.weight", 1)]


def test_a_network_without_a_graph_is_refused_in_one_line():
    class Branching(nn.Module):
        def forward(self, inputs):
            return inputs if inputs.sum() > 0 else -inputs

    with pytest.raises(CannotPruneError, match=r"^Branching has no graph that torch\.export can make") as error:
        find_layers(Branching(), torch.zeros(2, 3))
    assert "\n" not in str(error.value)
