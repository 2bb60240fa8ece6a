import pytest
import torch

from noisereg.losses import Hinge, Logistic
from noisereg.models import MLP, Neuron, TwoLayer
from noisereg.theory.homogeneity import layers
from noisereg.theory.threshold import norm_changes, norm_threshold

X = torch.tensor([[1.0, -2.0, 0.5]], dtype=torch.float64)
LOSSES = [Hinge(), Hinge(beta=1.0), Logistic()]


def wrong_label(model):
    return (model(X)[:, 0] < 0).long()


def test_threshold_of_a_neuron_is_that_of_its_identity():
    # ||V + h y x||^2 = ||V||^2 + 2 h y V.x + h^2 ||x||^2 is ||V||^2 again at h = -2 y V.x / ||x||^2
    model = Neuron((3,), 1).double()
    v = model.output.weight.detach()[0]
    expected = 2 * (v @ X[0]).abs() / X.square().sum()
    assert norm_threshold(model, X, label=wrong_label(model), loss=Hinge())["output"] == pytest.approx(float(expected))


def test_the_logistic_loss_divides_it_by_its_derivative():
    model = Neuron((3,), 1).double()
    output = model(X).detach().abs()
    hinge, logistic = (norm_threshold(model, X, label=wrong_label(model), loss=loss)["output"] for loss in LOSSES[::2])
    assert logistic == pytest.approx(hinge * float(1 + (-output).exp()), rel=1e-6)


@pytest.mark.parametrize("loss", LOSSES, ids=["hinge", "margin", "logistic"])
def test_it_is_where_the_step_of_autograd_leaves_the_norm_as_it_is(loss):
    model = MLP((3,), 1, hidden=[6, 5, 4], init="he", bias="none", append_one=True, seed=3).double()
    label = wrong_label(model)
    limits = norm_threshold(model, X, label=label, loss=loss)
    loss(model(X), label).backward()
    for name, weight in layers(model).items():
        expected = 2 * (weight.detach() * weight.grad).sum() / weight.grad.square().sum()
        assert limits[name] == pytest.approx(float(expected), rel=1e-9)
        step = weight.detach() - limits[name] * weight.grad
        assert float(step.norm()) == pytest.approx(float(weight.detach().norm()), rel=1e-9)


def test_changes_are_those_of_a_step_of_sgd():
    model = TwoLayer((3,), 1, hidden=6, bias="none", seed=1).double()
    label = wrong_label(model)
    changes = norm_changes(model, X, loss=Logistic(), factors=[0.5])
    limit = norm_threshold(model, X, label=label, loss=Logistic())["hidden"]
    before = float(model.hidden.weight.detach().square().sum())
    Logistic()(model(X), label).backward()
    step = 2 * limit * model.hidden.weight.grad  # twice the step, whose square is four times as large
    torch.optim.SGD(model.parameters(), lr=0.5 * limit).step()
    after = float(model.hidden.weight.detach().square().sum())
    assert float(changes[0, 0]) == pytest.approx(4 * (after - before) / float(step.square().sum()), rel=1e-9)


def test_a_bias_moves_the_point_where_the_norm_stays():
    model = TwoLayer((3,), 1, hidden=6, bias="same", seed=1).double()
    at_threshold = norm_changes(model, X, loss=Hinge(), factors=[1.0])
    assert at_threshold.abs().max() > 0.01


def test_a_sample_that_is_classified_right_has_no_threshold():
    model = Neuron((3,), 1).double()
    label = 1 - wrong_label(model)
    with pytest.raises(ValueError, match=r"must be misclassified, got N\(x\) = .* and label"):
        norm_threshold(model, X, label=label, loss=Hinge())


def test_an_output_of_zero_is_not_misclassified():
    model = Neuron((3,), 1).double()
    with pytest.raises(ValueError, match=r"must be misclassified, got N\(x\) = 0 and label 1"):
        norm_threshold(model, 0 * X, label=torch.tensor([1]), loss=Hinge())
