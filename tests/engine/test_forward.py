import numpy as np
import pytest
import torch
from engine.plain import make_networks, make_neurons, name

from noisereg.engine import Stack, forward_kernels
from noisereg.engine.forward import _ROWS_AT_ONCE, begin_compiling_reader, run_networks

ROWS = 2 * _ROWS_AT_ONCE + 5
SETTINGS = [{}, {"bias": "none"}, {"bias": "none", "append_one": True}, {"trained": "hidden", "output_signs": True}]


def show(models, inputs, *, by_sample=True, compiled=True, dtype=torch.float32, replicas=(1, 0)):
    """Show samples of three classes to networks."""
    stack = Stack.of(models).to(dtype)
    labels = torch.arange(len(inputs)) % 3
    how = {"num_classes": 3, "by_sample": by_sample, "compiled": compiled}
    return run_networks(stack, replicas, stack.prepare(inputs), labels, **how)


def draw(features=6):
    return torch.randn(ROWS, features, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("compiled", [False, True], ids=["torch", "compiled"])
@pytest.mark.parametrize("num_outputs", [1, 3])
@pytest.mark.parametrize("settings", SETTINGS[:3], ids=name)
def test_every_sum_is_that_of_a_plain_loop_in_double_precision(settings, num_outputs, compiled):
    models, inputs = make_networks(num_outputs, **settings), draw()
    for passed, model in zip(show(models, inputs, compiled=compiled), reversed(models), strict=True):
        z = model.double().hidden(model.vector(inputs.double())).detach().numpy()
        output = model.output.weight.detach().numpy()
        fires, activations = z > 0, np.maximum(z, 0)
        assert passed.fires.tolist() == [fires[c::3].sum(axis=0).tolist() for c in range(3)]
        assert passed.active.tolist() == fires.sum(axis=1).tolist()
        bias = 0 if model.output.bias is None else model.output.bias.detach().numpy()
        np.testing.assert_allclose(passed.logits, activations @ output.T + bias, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(passed.activity, (activations**2).sum(axis=1), rtol=1e-5)
        np.testing.assert_allclose(passed.reach, fires @ (output**2).sum(axis=0), rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("settings", SETTINGS, ids=name)
def test_the_compiled_loop_finds_what_torch_finds(settings, dtype):
    models, inputs = make_networks(**settings), draw()
    rounding = {"rtol": 50 * torch.finfo(dtype).eps, "atol": 10 * torch.finfo(dtype).eps}
    ways = (show(models, inputs, compiled=compiled, dtype=dtype) for compiled in (True, False))
    for mine, expected in zip(*ways, strict=True):
        assert torch.equal(mine.fires, expected.fires)
        assert torch.equal(mine.active, expected.active)
        for got, wanted in zip(mine, expected, strict=True):
            torch.testing.assert_close(got, wanted, **rounding)


@pytest.mark.parametrize("compiled", [False, True], ids=["torch", "compiled"])
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_nan_and_infinities_go_through_as_in_torch(value, compiled):
    models, inputs = make_networks(bias="none"), draw()
    inputs[1], inputs[_ROWS_AT_ONCE, 2] = value, value
    for passed, model in zip(show(models, inputs, compiled=compiled), reversed(models), strict=True):
        z = model.hidden(inputs).detach()
        expected = model.output(z.relu()).detach()
        torch.testing.assert_close(passed.logits, expected, equal_nan=True)
        assert passed.active.tolist() == (z > 0).sum(dim=1).tolist()  # nan is not above 0
        assert passed.fires.sum() == (z > 0).sum()


def test_the_sums_of_samples_are_empty_where_they_are_not_asked_for():
    models, inputs = make_networks(), draw()
    for whole, plain in zip(show(models, inputs), show(models, inputs, by_sample=False), strict=True):
        assert [len(values) for values in plain[2:]] == [0, 0, 0]
        assert torch.equal(plain.logits, whole.logits)
        assert torch.equal(plain.fires, whole.fires)


def test_a_network_does_the_same_alone_and_among_others():
    models, inputs = make_networks(count=3), draw()
    both, (alone,) = show(models, inputs, replicas=[2, 0]), show(models, inputs, replicas=[0])
    assert all(map(torch.equal, both[1], alone))


def test_neurons_have_outputs_only():
    models, inputs = make_neurons(), draw()
    for passed, model in zip(show(models, inputs), reversed(models), strict=True):
        torch.testing.assert_close(passed.logits, model(inputs).detach())
        assert passed.fires.shape == (3, 0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_precision_that_the_loop_does_not_know_is_read_by_torch(dtype):
    ways = (show(make_networks(), draw(), compiled=compiled, dtype=dtype) for compiled in (True, False))
    for mine, expected in zip(*ways, strict=True):
        assert all(map(torch.equal, mine, expected))


def test_what_was_compiled_beside_the_start_is_what_a_measurement_takes():
    models = make_networks(hidden=7)
    thread = begin_compiling_reader(Stack.of(models))
    thread.join()
    run = forward_kernels.compile_reader(7, 1)
    assert len(run.signatures) == 1
    show(models, draw())
    show(models, draw(), by_sample=False)
    assert len(run.signatures) == 1


def test_nothing_is_compiled_for_neurons():
    assert begin_compiling_reader(Stack.of(make_neurons())) is None
