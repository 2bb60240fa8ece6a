import numpy as np
import pytest
import scipy.stats
import torch

from noisereg.models.mlp import MLP
from noisereg.models.two_layer import TwoLayer

INPUTS = torch.randn(7, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("widths", [[8], [8, 5], [8, 5, 4]])
def test_the_network_is_equation_one(widths):
    model = MLP((6,), 3, hidden=widths, seed=1).double()
    *pairs, (v, c) = zip(*[iter(p.detach().numpy() for p in model.parameters())] * 2, strict=True)
    hidden = INPUTS.numpy()
    for w, b in pairs:
        hidden = np.maximum(hidden @ w.T + b, 0)
    np.testing.assert_allclose(model(INPUTS).detach(), hidden @ v.T + c, rtol=1e-12)


def test_layers_are_named_by_their_number():
    model = MLP((6,), 3, hidden=[8, 5])
    assert [name for name, _ in model.named_children()] == ["vector", "linear1", "relu1", "linear2", "relu2", "output"]


def test_parameters_are_as_many_as_counted_by_hand():
    model = MLP((1, 28, 28), 10, hidden=[600, 300])
    assert sum(p.numel() for p in model.parameters()) == 784 * 600 + 600 + 600 * 300 + 300 + 300 * 10 + 10


def test_a_single_width_is_one_hidden_layer():
    one, listed = MLP((6,), 3, hidden=8), MLP((6,), 3, hidden=[8])
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), listed.parameters(), strict=True))


def test_weights_and_biases_have_torchs_default_law_by_default():
    model = MLP((100,), 1, hidden=5000)
    for parameter in (model.linear1.weight, model.linear1.bias):
        sample = parameter.detach().flatten().double().numpy()
        assert scipy.stats.kstest(sample, scipy.stats.uniform(-0.1, 0.2).cdf).pvalue > 5.7e-7


def test_one_hidden_layer_gives_the_two_layer_network():
    settings = {"init": "uniform", "bias": "none", "append_one": True, "seed": 4}
    mlp, two_layer = MLP((6,), 1, hidden=8, **settings), TwoLayer((6,), 1, hidden=8, **settings)
    assert torch.equal(mlp(INPUTS.float()), two_layer(INPUTS.float()))


@pytest.mark.parametrize("layer", ["linear1", "linear2", "output"])
def test_the_network_of_equation_two_is_homogeneous_in_each_layer(layer):
    model = MLP((6,), 1, hidden=[8, 5], bias="none", append_one=True).double()
    before = model(INPUTS)
    with torch.no_grad():
        model.get_submodule(layer).weight.mul_(3)
    torch.testing.assert_close(model(INPUTS), 3 * before)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hidden": []}, "hidden must be a whole number, at least 1, got 0"),
        ({"hidden": [8, 0]}, "hidden must be a whole number, at least 1, got 0"),
        ({"hidden": -1}, "hidden must be a whole number, at least 1, got -1"),
        ({"hidden": 8, "append_one": True}, "requires bias='none', got 'same'"),
        ({"hidden": 8, "init": "zeros"}, "init must be one of"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        MLP((6,), 3, **settings)


def test_depth_width_activation_and_batch_norm_are_as_asked():
    model = MLP((4,), 3, hidden=5, depth=3, act="gelu", batch_norm=True)
    names = [f"{name}{number}" for number in (1, 2, 3) for name in ("linear", "norm", "act")]
    assert [name for name, _ in model.named_children()] == ["vector", *names, "output"]
    assert [model.get_submodule(f"linear{number}").out_features for number in (1, 2, 3)] == [5, 5, 5]
    assert model(torch.randn(2, 4)).shape == (2, 3)
    with pytest.raises(ValueError, match=r"depth=2 needs one width in hidden, such as 512, got \[5, 5\]"):
        MLP((4,), 3, hidden=[5, 5], depth=2)
    with pytest.raises(ValueError, match="act must be one of relu"):
        MLP((4,), 3, hidden=5, act="tanh")
