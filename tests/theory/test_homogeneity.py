import pytest
import torch
from torch import nn

from noisereg.models import MLP, Neuron, ResNet, TwoLayer, initialize
from noisereg.theory.homogeneity import euler_violation, layers, obstacles, output_gradients

INPUTS = torch.randn(5, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


class Skip(nn.Module):
    """W_2 (h + ReLU(W_1 h)) with h = W_0 x: homogeneous in W_0 and W_2, but not in W_1."""

    def __init__(self):
        super().__init__()
        self.first, self.branch, self.last = (nn.Linear(i, o, bias=False) for i, o in [(6, 4), (4, 4), (4, 1)])
        initialize(self, init="he", bias="none", seed=0)

    def forward(self, inputs):
        hidden = self.first(inputs)
        return self.last(hidden + self.branch(hidden).relu())


class HiddenGelu(Skip):
    """No module tells of its activation."""

    def forward(self, inputs):
        return self.last(nn.functional.gelu(self.first(inputs)))


def convolutional():
    parts = [
        nn.Conv2d(1, 3, 2, bias=False),
        nn.LeakyReLU(0.2),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(3, 1, bias=False),
    ]
    net = nn.Sequential(nn.Unflatten(1, (1, 2, 3)), *parts)[1:]
    initialize(net, init="he", bias="none", seed=1)
    return net.double()


@pytest.mark.parametrize(
    "model",
    [
        Neuron((6,), 1),
        TwoLayer((6,), 1, hidden=5, bias="none"),
        TwoLayer((6,), 1, hidden=5, bias="none", append_one=True),
        MLP((6,), 1, hidden=[7, 5, 3], init="he", bias="none", append_one=True),
        nn.Sequential(nn.Linear(6, 4, bias=False), nn.LeakyReLU(0.3), nn.Linear(4, 1, bias=False)),
    ],
)
def test_chains_without_biases_have_no_obstacles(model):
    model = model.double()
    assert obstacles(model, INPUTS) == []
    assert max(euler_violation(model, INPUTS).values()) < 1e-10


def test_convolutions_with_shared_weights_and_pooling_have_none():
    images = torch.randn(4, 1, 3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert obstacles(convolutional(), images) == []


def test_single_precision_is_given_its_own_float_error():
    assert obstacles(MLP((6,), 1, hidden=[50, 50], init="he", bias="none"), INPUTS.float()) == []


def test_a_bias_is_an_obstacle_even_where_it_is_zero():
    model = TwoLayer((6,), 1, hidden=5, bias="zero").double()
    assert obstacles(model, INPUTS) == ["layer hidden has a bias", "layer output has a bias"]


def test_an_activation_that_is_not_homogeneous_is_an_obstacle_by_name_and_by_number():
    net = nn.Sequential(nn.Linear(6, 4, bias=False), nn.GELU(), nn.Linear(4, 1, bias=False)).double()
    named, measured = obstacles(net, INPUTS)
    assert named == "GELU is not known to be homogeneous"
    assert "<W, dN/dW> is not N in layer 0" in measured


def test_an_activation_in_the_code_is_found_by_number():
    model = HiddenGelu().double()
    model.branch = nn.Identity()
    (reason,) = obstacles(model, INPUTS)
    assert reason.startswith("<W, dN/dW> is not N in layer first")


def test_a_skip_connection_is_found_by_number():
    model = Skip().double()
    violation = euler_violation(model, INPUTS)
    assert max(violation["first"], violation["last"]) < 1e-12
    # <W_1, dN/dW_1> is the part of N through the branch, so the rest of N is what goes around it
    with torch.no_grad():
        around = model.last(model.first(INPUTS))
        expected = (around / model(INPUTS)).abs().max()
    assert violation["branch"] == pytest.approx(float(expected), rel=1e-9)
    (reason,) = obstacles(model, INPUTS)
    assert reason.startswith("<W, dN/dW> is not N in layer branch")


def test_before_batch_normalisation_the_product_is_zero():
    images = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    model = ResNet((3, 16, 16), 1, depth=8).double()
    violation = euler_violation(model, images)
    assert violation["conv1"] == pytest.approx(1, abs=1e-3)  # the eps of the normalisation
    named = obstacles(model, images)
    assert named[:2] == ["BatchNorm2d is not known to be homogeneous", "layer fc has a bias"]


def test_only_trained_weights_are_layers():
    assert list(layers(TwoLayer((6,), 1, hidden=4, bias="none", trained="hidden", output_signs=True))) == ["hidden"]
    assert list(layers(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)))) == ["0"]


def test_gradients_of_a_net_with_one_hidden_layer_are_those_of_the_chain_rule():
    model = TwoLayer((6,), 1, hidden=5, bias="none").double()
    w, v = (parameter.detach() for parameter in model.parameters())
    x = INPUTS[0]
    output, gradients = output_gradients(model, INPUTS[:1])
    torch.testing.assert_close(output, v[0] @ (w @ x).clamp(min=0))
    torch.testing.assert_close(gradients["output"], (w @ x).clamp(min=0)[None])
    torch.testing.assert_close(gradients["hidden"], torch.outer(v[0] * (w @ x > 0), x))


def test_several_outputs_are_refused():
    with pytest.raises(ValueError, match=r"needs one sample and one output, got outputs of shape \(1, 3\)"):
        output_gradients(nn.Linear(6, 3).double(), INPUTS[:1])
