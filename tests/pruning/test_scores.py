import pytest
import torch
from torch import nn

from noisereg.models import CNN
from noisereg.pruning import find_layers, score_units
from noisereg.pruning.scores import UnitScores


def test_counts_and_means_are_those_of_the_outputs_of_the_relus_whatever_the_batches():
    net = CNN((1, 8, 8), 3, channels=[4, 6], hidden=5).eval()
    inputs = torch.randn(7, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    seen = {}
    hooks = [
        net.get_submodule(name).register_forward_hook(lambda _, __, out, name=name: seen.update({name: out.detach()}))
        for name in ("act1", "act2", "act")
    ]
    logits = net(inputs)
    for hook in hooks:
        hook.remove()
    scores, outputs = score_units(find_layers(net, inputs[:3]), inputs.split(3))
    torch.testing.assert_close(outputs, logits)
    for layer, name in {"conv1": "act1", "conv2": "act2", "linear": "act"}.items():
        out = seen[name].movedim(1, -1).flatten(end_dim=-2)
        assert scores[layer].fires.tolist() == (out > 0).sum(dim=0).tolist()
        torch.testing.assert_close(scores[layer].mean, out.double().mean(dim=0), rtol=1e-6, atol=1e-9)


def test_writing_in_place_behind_a_relu_does_not_change_what_is_counted():
    class InPlace(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(1, 1, bias=False), nn.Linear(1, 1)

        def forward(self, inputs):
            return self.second(torch.relu_(self.first(inputs)))

    net = InPlace().eval()
    with torch.no_grad():
        net.first.weight.fill_(1.0)
    scores, _ = score_units(find_layers(net, torch.zeros(2, 1)), [torch.tensor([[-1.0], [3.0]])])
    assert (scores["first"].fires.tolist(), scores["first"].mean.tolist()) == ([1], [1.5])


def test_units_at_or_below_tau_of_the_mean_of_their_layer_are_dormant():
    scores = UnitScores(torch.tensor([5, 1, 0, 4]), torch.tensor([3.0, 0.05, 0.0, 0.95]).double())
    assert scores.relative.tolist() == pytest.approx([3, 0.05, 0, 0.95])  # the mean is 1
    assert scores.kept(None).tolist() == scores.kept(0.0).tolist() == [True, True, False, True]
    assert scores.kept(0.06).tolist() == [True, False, False, True]
    assert scores.kept(0.1).tolist() == [True, False, False, True]
    assert scores.kept(5.0).tolist() == [True, False, False, False]


def test_of_a_silent_layer_one_unit_stays():
    silent = UnitScores(torch.zeros(3, dtype=torch.int64), torch.zeros(3).double())
    assert silent.relative.tolist() == [0, 0, 0]
    assert silent.kept(None).sum() == silent.kept(0.1).sum() == 1
