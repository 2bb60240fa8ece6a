import os
from copy import deepcopy

import pytest
import torch
from torch import nn

from noisereg.models import CNN, GPT, MLP, ResNet, TwoLayer
from noisereg.pruning import find_layers, keep_units, load_pruned, score_units

NETS = {
    "two_layer": (lambda: TwoLayer((5,), 1, hidden=30, bias="same"), (5,)),
    "mlp": (lambda: MLP((5,), 3, hidden=[30, 20], batch_norm=True), (5,)),
    "cnn": (lambda: CNN((1, 8, 8), 3, channels=[8, 9], hidden=20, batch_norm=True), (1, 8, 8)),
    "resnet": (lambda: ResNet((3, 8, 8), 3, depth=8), (3, 8, 8)),
    "gpt": (lambda: GPT((6,), 4, hidden=32), (6,)),
}


def half_silent(name):
    """A network in double precision, in which every other unit that has a bias never fires, and inputs."""
    make, shape = NETS[name]
    net = make().double()
    generator = torch.Generator().manual_seed(0)
    inputs = 3 * torch.rand(20, *shape, generator=generator).double()  # of a GPT they are numbers of tokens
    net(inputs)  # for the running statistics of batch norm
    with torch.no_grad():
        for layer in find_layers(net.eval(), inputs).layers:
            bias = next(row for row in layer.rows[::-1] if row.endswith("bias"))
            net.get_parameter(bias)[::2] = -1000.0
    return net, inputs


@pytest.mark.parametrize("name", NETS)
def test_without_units_that_never_fire_the_outputs_are_the_same_up_to_rounding(name):
    net, inputs = half_silent(name)
    before = net(inputs)
    found = find_layers(net, inputs)
    scores, _ = score_units(found, [inputs])
    kept = {layer: scores[layer.name].kept(None) for layer in found.layers}
    small = deepcopy(net)
    keep_units(small, kept)
    assert all(int(mask.sum()) <= (layer.size + 1) // 2 for layer, mask in kept.items())
    assert (small(inputs) - before).abs().max() < 1e-12 * before.abs().max()
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in net.parameters())
    assert small(inputs[:3]).shape == net(inputs[:3]).shape


def test_the_weights_that_stay_are_those_of_the_kept_units_and_modules_name_their_sizes():
    net, inputs = half_silent("cnn")
    found = find_layers(net, inputs)
    masks = {layer: torch.arange(layer.size) % 3 == 1 for layer in found.layers}
    whole = deepcopy(net)
    keep_units(net, masks)
    assert torch.equal(net.conv2.weight, whole.conv2.weight[1::3][:, 1::3])
    assert torch.equal(net.norm2.running_var, whole.norm2.running_var[1::3])
    columns = [channel * 4 + place for channel in (1, 4, 7) for place in range(4)]
    assert torch.equal(net.linear.weight, whole.linear.weight[1::3][:, columns])
    assert (net.conv2.in_channels, net.conv2.out_channels, net.norm2.num_features) == (3, 3, 3)
    assert (net.linear.in_features, net.linear.out_features) == (12, 7)
    assert net.conv2.weight.requires_grad


def test_a_pruned_network_is_read_into_one_as_it_was_built(tmp_path):
    net, inputs = half_silent("mlp")
    found = find_layers(net, inputs)
    keep_units(net, {layer: torch.arange(layer.size) % 2 == 1 for layer in found.layers})
    torch.save({"state_dict": net.state_dict()}, tmp_path / "pruned.pt")
    again = load_pruned(NETS["mlp"][0]().double(), tmp_path / "pruned.pt")
    assert torch.equal(again(inputs), net(inputs)) and not again.training
    with pytest.raises(ValueError, match=r"is of another network than Linear: they differ in"):
        load_pruned(nn.Linear(2, 2), tmp_path / "pruned.pt")


class Evil:
    """What an ordinary unpickler would run."""

    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return os.mkdir, (str(self.canary),)


def test_a_file_that_is_no_pruned_network_is_refused_and_runs_nothing(tmp_path):
    path, canary = tmp_path / "pruned.pt", tmp_path / "canary"
    for content in ({"state_dict": {"weight": Evil(canary)}}, {"weights": {}}, [1]):
        torch.save(content, path)
        with pytest.raises(ValueError, match="is no network that noisereg prune has written, or is damaged"):
            load_pruned(nn.Linear(2, 2), path)
    path.write_bytes(b"PK")
    with pytest.raises(ValueError, match="is no network that noisereg prune has written, or is damaged"):
        load_pruned(nn.Linear(2, 2), path)
    assert not canary.exists()
