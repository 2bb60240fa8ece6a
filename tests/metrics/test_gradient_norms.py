from importlib import import_module

import pytest
import torch
from torch import nn

from noisereg.metrics import gradient_norms, name_gradient_norms, trained_layers
from noisereg.models import MLP, ResNet


def by_autograd(module, inputs):
    """Compute the squared gradient of each sample in all trained weights, one backward pass for each output."""
    weights = [weight for weight in module.parameters() if weight.requires_grad]
    sums = []
    for sample in inputs:
        outputs = module(sample[None])[0]
        gradients = [torch.autograd.grad(output, weights, retain_graph=True) for output in outputs]
        sums.append(sum(float(part.double().square().sum()) for gradient in gradients for part in gradient))
    return torch.tensor(sums, dtype=torch.float64)


@pytest.mark.parametrize("module", [MLP((5,), 3, hidden=[7, 4]), ResNet((3, 8, 8), 2, depth=8)], ids=["mlp", "resnet"])
def test_gradients_are_those_of_autograd_sample_by_sample(module):
    shape = (5,) if isinstance(module, MLP) else (3, 8, 8)
    inputs = torch.randn(4, *shape, generator=torch.Generator().manual_seed(0))
    found = gradient_norms(module.train(), inputs)
    assert module.training
    expected = by_autograd(module.eval(), inputs)
    torch.testing.assert_close(sum(found.values()).double(), expected, rtol=1e-4, atol=0)


def test_layers_are_named_as_norms_are_and_frozen_ones_are_left_out():
    module = nn.Module()
    module.model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1, bias=False))
    module.forward = module.model.forward
    assert trained_layers(module) == {"model.0.weight": "0", "model.0.bias": "0", "model.2.weight": "2"}
    module.model[0].requires_grad_(False)
    assert list(gradient_norms(module, torch.ones(2, 2))) == ["2"]


def test_a_gradient_is_counted_by_hand():
    # N(x) = 3 max(2 x, 0): the gradient is 3 x in the first weight and 2 x in the second, where x > 0.
    net = nn.Sequential(nn.Linear(1, 1, bias=False), nn.ReLU(), nn.Linear(1, 1, bias=False))
    with torch.no_grad():
        net[0].weight.fill_(2.0)
        net[2].weight.fill_(3.0)
    found = gradient_norms(net, torch.tensor([[1.0], [2.0], [-1.0]]))
    assert found["0"].tolist() == [9.0, 36.0, 0.0]
    assert found["2"].tolist() == [4.0, 16.0, 0.0]


def test_the_gradients_of_many_samples_are_made_a_few_at_a_time(monkeypatch):
    net, inputs = MLP((5,), 3, hidden=4), torch.randn(9, 5)
    whole = gradient_norms(net, inputs)
    monkeypatch.setattr(import_module("noisereg.metrics.gradient_norms"), "_NUMBERS_AT_ONCE", 80)
    for layer, values in gradient_norms(net, inputs).items():
        torch.testing.assert_close(values, whole[layer])


def test_what_has_no_gradient_of_a_sample_is_an_error():
    with pytest.raises(
        ValueError, match=r"outputs must be \(batch, classes\) to have gradients of samples, got \(2, 4, 3"
    ):
        gradient_norms(nn.Linear(2, 3), torch.ones(2, 4, 2))
    with pytest.raises(ValueError, match="Linear has no weight that is trained, and so no gradient"):
        gradient_norms(nn.Linear(2, 3).requires_grad_(False), torch.ones(2, 2))


def test_the_whole_is_the_sum_over_the_layers():
    named = name_gradient_norms({"a": torch.tensor(1.0), "b": torch.tensor(2.5)})
    assert named["train/gradient_norm_squared"].item() == 3.5
