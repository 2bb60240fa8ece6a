import math

import numpy as np
import pytest
import torch
from engine.plain import LOSSES, make_networks, make_neurons, name

from noisereg.engine import Stack, measure
from noisereg.engine.forward import _ROWS_AT_ONCE
from noisereg.engine.measure import score, sizes
from noisereg.losses import CrossEntropy, Logistic
from noisereg.metrics import collect_norms

ROWS = 2 * _ROWS_AT_ONCE + 5


def samples(num_outputs):
    """Draw inputs and labels of classes of unlike sizes."""
    generator = torch.Generator().manual_seed(0)
    labels = (torch.rand(ROWS, generator=generator).square() * max(num_outputs, 2)).long()
    return torch.randn(ROWS, 6, generator=generator), labels


@pytest.fixture(params=[False, True], ids=["torch", "compiled"])
def compiled(request):
    """Measure by operations of torch, and by the compiled loop."""
    return request.param


def measured(models, inputs, labels, *, loss, replicas=None, compiled=True):
    stack = Stack.of(models)
    how = {"loss": loss, "num_classes": max(stack.output.shape[1], 2), "compiled": compiled}
    which = range(len(models)) if replicas is None else replicas
    return score(stack, which, stack.prepare(inputs), labels, **how)


def one_of_each():
    """Make a network of which one neuron is dead, one always on, and one fires for every second sample."""
    (model,) = make_networks(count=1, hidden=4, bias="zero")
    with torch.no_grad():
        model.hidden.weight.zero_()
        model.hidden.weight[2, 0] = 1.0
        model.hidden.bias.copy_(torch.tensor([-1.0, 1.0, 0.0, 0.0]))
        model.output.weight.copy_(torch.tensor([[9.0, 1.0, -1.0, 9.0]]))
    return model


@pytest.mark.parametrize("num_outputs", [1, 3])
@pytest.mark.parametrize("loss", LOSSES, ids=name)
def test_error_and_loss_are_those_of_each_model(loss, num_outputs, compiled):
    models, (inputs, labels) = make_networks(num_outputs, count=3), samples(num_outputs)
    scores = measured(models, inputs, labels, loss=loss, compiled=compiled)
    for replica, model in enumerate(models):
        logits = model(inputs).detach()
        chosen = logits[:, 0] > 0 if num_outputs == 1 else logits.argmax(dim=1)
        assert scores.error[replica].item() == pytest.approx((chosen.numpy() != labels.numpy()).mean(), rel=1e-6)
        torch.testing.assert_close(scores.loss[replica], loss(logits.double(), labels).float())


@pytest.mark.parametrize("settings", [{}, {"bias": "none"}, {"bias": "none", "append_one": True}], ids=name)
def test_firings_are_counted_as_in_a_loop_over_classes_and_neurons(settings, compiled):
    models, (inputs, labels) = make_networks(3, count=3, **settings), samples(3)
    scores = measured(models, inputs, labels, loss=CrossEntropy(), compiled=compiled)
    for replica, model in enumerate(models):
        fires = model.relu(model.hidden(model.vector(inputs))).detach().numpy() > 0
        expected = [[fires[labels.numpy() == c, unit].sum() for unit in range(8)] for c in range(3)]
        np.testing.assert_array_equal(scores.fires[replica].numpy(), expected)
        assert scores.samples[replica].tolist() == [int((labels == c).sum()) for c in range(3)]


def test_the_replicas_that_were_asked_for_are_scored_in_their_order():
    models, (inputs, labels) = make_networks(count=4), samples(1)
    whole = measured(models, inputs, labels, loss=Logistic())
    some = measured(models, inputs, labels, loss=Logistic(), replicas=[3, 1])
    assert torch.equal(some.loss, whole.loss[[3, 1]])
    assert torch.equal(some.fires, whole.fires[[3, 1]])
    assert len(set(whole.loss.tolist())) == 4


def test_replicas_whose_outputs_would_fill_the_memory_are_scored_in_parts(monkeypatch):
    models, (inputs, labels) = make_networks(3, count=5), samples(3)
    whole = measured(models, inputs, labels, loss=CrossEntropy())
    monkeypatch.setattr(measure, "_LOGITS_AT_ONCE", 2 * 3 * ROWS)
    for together, parted in zip(whole, measured(models, inputs, labels, loss=CrossEntropy()), strict=True):
        assert torch.equal(together, parted)


def test_what_is_told_of_a_network_is_counted_by_hand(compiled):
    # Outputs are 1 - max(x, 0): right where the label is that of 1 > max(x, 0).
    inputs = torch.tensor([[2.0], [3.0], [-1.0], [-2.0]]) @ torch.eye(6)[:1]
    told = measured([one_of_each()], inputs, torch.tensor([0, 1, 1, 1]), loss=Logistic(), compiled=compiled).by_metric(
        "test", layers=["hidden", "output"]
    )
    logits = np.array([-1.0, -2.0, 1.0, 1.0])
    losses = np.log1p(np.exp(logits * np.array([1, -1, -1, -1])))
    assert {key: value.item() for key, value in told.items()} == {
        "test/error": 1 / 4,
        "test/loss": pytest.approx(losses.mean(), rel=1e-6),
        "test/active_neurons": pytest.approx((4 + 2) / 4),
        "test/active_fraction": pytest.approx((4 + 2) / 4 / 4),
        "test/dead_fraction": 2 / 4,
        "test/always_on_fraction": 1 / 4,
        "test/associated_neurons": 1,  # the one that is always on: 3 samples of class 1 to 1 of class 0
        "test/associated_by_rate_neurons": 1,  # the other: it fires for all of class 0 and a third of class 1
        "test/label_entropy": pytest.approx((0.811278 + 1) / 2, rel=1e-6),  # of (1/4, 3/4) and (1/2, 1/2)
    }


def test_the_loss_on_clean_labels_of_the_training_data_has_a_name_of_its_own():
    inputs, labels = samples(1)
    told = measured(make_networks(), inputs, labels, loss=Logistic()).by_metric("train", layers=["hidden", "output"])
    assert "train/clean_loss" in told
    assert "train/loss" not in told


@pytest.mark.parametrize("num_outputs", [1, 3])
def test_the_largest_output_is_that_of_each_model_on_the_training_data(num_outputs):
    models, (inputs, labels) = make_networks(num_outputs, count=3), samples(num_outputs)
    scores = measured(models, inputs, labels, loss=Logistic())
    expected = torch.stack([model(inputs).detach().abs().max() for model in models])
    torch.testing.assert_close(scores.by_metric("train", layers=["hidden", "output"])["train/largest_output"], expected)
    assert "test/largest_output" not in scores.by_metric("test", layers=["hidden", "output"])


def test_right_and_wrong_labels_are_measured_apart_and_counted_by_hand(compiled):
    # Outputs are 1 - max(x, 0), so classes 0, 0, 1, 1; two neurons fire for x > 0, and one for the others.
    inputs = torch.tensor([[2.0], [3.0], [-1.0], [-2.0]]) @ torch.eye(6)[:1]
    clean, given = torch.tensor([0, 1, 1, 0]), torch.tensor([0, 0, 1, 1])
    stack = Stack.of([one_of_each()] * 3)
    asked = {0: given, 2: clean}.get
    how = {"loss": Logistic(), "num_classes": 2, "compiled": compiled}
    scores = score(stack, range(3), stack.prepare(inputs), clean, given=asked, **how)
    told = scores.by_metric("train", layers=["hidden", "output"])
    losses = np.log1p(np.exp(np.array([-1.0, -2.0, -1.0, -1.0])))  # each sample has the given class
    expected = {
        "wrong_labels": (2, math.nan, 0),
        "error_right": (0, math.nan, 2 / 4),
        "error_wrong": (1, math.nan, math.nan),
        "memorized": (1, math.nan, math.nan),
        "loss_right": (losses[[0, 2]].mean(), math.nan, (losses[0] + 2.126928 + losses[2] + 1.313262) / 4),
        "loss_wrong": (losses[[1, 3]].mean(), math.nan, math.nan),
        "active_neurons_right": ((2 + 1) / 2, math.nan, 6 / 4),
        "active_fraction_wrong": ((2 + 1) / 2 / 4, math.nan, math.nan),
    }
    for key, values in expected.items():
        assert told[f"train/{key}"].tolist() == pytest.approx(values, rel=1e-5, nan_ok=True), key


TRAINED = [{}, {"trained": "hidden"}, {"trained": "output"}, {"bias": "none"}, {"bias": "none", "append_one": True}]


@pytest.mark.parametrize("num_outputs", [1, 3])
@pytest.mark.parametrize("settings", TRAINED, ids=name)
def test_the_gradients_are_those_of_autograd_sample_by_sample(settings, num_outputs, compiled):
    models, (inputs, labels) = make_networks(num_outputs, count=2, **settings), samples(num_outputs)
    values = measured(models, inputs[:40], labels[:40], loss=Logistic(), replicas=[1, 0], compiled=compiled)
    for model, found in zip(reversed(models), values.gradients, strict=True):
        assert found.tolist() == pytest.approx(squared_gradients(model, inputs[:40]), rel=1e-5)


def squared_gradients(model, inputs):
    """Compute the mean squared gradient of each trained layer by backward passes, one for each sample and output."""
    layers = [layer for layer in (model.hidden, model.output) if layer.weight.requires_grad]
    sums = [0.0] * len(layers)
    for sample in inputs:
        for output in model(sample[None])[0]:
            gradients = [torch.autograd.grad(output, [*layer.parameters()], retain_graph=True) for layer in layers]
            sums = [total + sum(float(g.square().sum()) for g in of) for total, of in zip(sums, gradients, strict=True)]
    return [total / len(inputs) for total in sums]


def test_the_gradients_are_summed_by_layer_and_counted_by_hand():
    # Outputs are 1 - max(x, 0) + c: neuron 1 is always on with activation 1 and weight 1, neuron 2 with x and -1.
    inputs = torch.tensor([[2.0], [-1.0]]) @ torch.eye(6)[:1]
    told = measured([one_of_each()], inputs, torch.tensor([0, 1]), loss=Logistic()).by_metric(
        "train", layers=["h", "o"]
    )
    hidden = np.mean([(2**2 + 1) + (2**2 + 1), (1**2 + 1)])  # both fire for x = 2, of inputs (x, 1)
    output = np.mean([1**2 + 2**2, 1**2]) + 1  # and 1 for the bias
    assert told["train/gradient_norm_squared/h"].item() == pytest.approx(hidden)
    assert told["train/gradient_norm_squared/o"].item() == pytest.approx(output)
    assert told["train/gradient_norm_squared"].item() == pytest.approx(hidden + output)


def test_the_gradient_of_a_neuron_is_its_input():
    models, (inputs, labels) = make_neurons(count=2), samples(1)
    found = measured(models, inputs, labels, loss=Logistic()).gradients
    has_bias = models[0].output.bias is not None
    expected = (inputs.numpy() ** 2).sum(axis=1).mean() + has_bias
    np.testing.assert_allclose(found, [[expected]] * 2, rtol=1e-5)


def test_a_neuron_has_errors_and_losses_and_no_hidden_neurons():
    models, (inputs, labels) = make_neurons(count=3), samples(1)
    scores = measured(models, inputs, labels, loss=Logistic())
    for replica, model in enumerate(models):
        logits = model(inputs).detach()
        assert scores.error[replica].item() == pytest.approx(((logits[:, 0] > 0) != labels).float().mean().item())
        torch.testing.assert_close(scores.loss[replica], Logistic()(logits, labels))
    assert scores.fires.shape == (3, 2, 0)
    gradients = {"train/gradient_norm_squared", "train/gradient_norm_squared/output"}
    assert scores.by_metric("train", layers=["output"]).keys() == {"train/error", "train/clean_loss", *gradients}


def test_a_label_out_of_range_is_refused(compiled):
    inputs, labels = samples(1)
    with pytest.raises(ValueError, match=r"labels must be in \[0, 2\), got 2"):
        measured(make_networks(), inputs, labels.fill_(2), loss=Logistic(), compiled=compiled)


def test_one_sample_is_enough():
    inputs, labels = samples(3)
    scores = measured(make_networks(3), inputs[:1], labels[:1], loss=CrossEntropy())
    assert scores.samples.sum(dim=1).tolist() == [1, 1]
    assert set(scores.error.tolist()) <= {0.0, 1.0}


@pytest.mark.parametrize(
    "models",
    [
        make_networks(3, count=3),
        make_networks(count=3, bias="none", append_one=True),
        make_networks(count=3, trained="hidden", output_signs=True),
        make_neurons(count=3),
        make_neurons(count=3, bias="none"),
    ],
    ids=lambda models: type(models[0]).__name__,
)
def test_sizes_are_those_of_each_model(models):
    values = sizes(Stack.of(models))
    for replica, model in enumerate(models):
        expected = collect_norms(model)
        assert values.keys() == expected.keys()
        for key, value in expected.items():
            torch.testing.assert_close(values[key][replica], value)
