"""Each of the networks that are trained together against the same network in a plain loop of torch."""

import io
from copy import deepcopy
from functools import partial

import jaxtyping
import pytest
import torch
from torch import nn
from torch.nn.functional import dropout
from torch.optim import SGD, Adafactor, Adam, AdamW, Muon

from noisereg.engine.stacked import StackedNetworks, why_not
from noisereg.losses import CrossEntropy, Logistic
from noisereg.models import MLP, ResNet

LOSS = CrossEntropy()
MOMENTUM = partial(SGD, momentum=0.9, weight_decay=1e-3)
ADAMW = partial(AdamW, weight_decay=0.1)
RATES = [0.05, 0.02, 0.02]


@pytest.fixture(autouse=True)
def _unchecked():
    """Leave annotations unchecked: the checks take longer than the steps, and torch.compile cannot see through them."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def _mlp(seed=0):
    return MLP((6,), 3, hidden=[8, 5], seed=seed)


def _cnn(seed=0, momentum=0.1):
    torch.manual_seed(seed)
    norm = nn.BatchNorm2d(4, momentum=momentum)
    return nn.Sequential(nn.Conv2d(1, 4, 3, bias=False), norm, nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(4 * 16, 3))


def _resnet(seed=0):
    return ResNet((3, 8, 8), 3, depth=20, seed=seed)


SHAPES = {_mlp: (6,), _cnn: (1, 6, 6), _resnet: (3, 8, 8)}


def _draw(shape, *, steps=20, count=3, batch=8, dtype=torch.float32):
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(steps, count, batch, *shape, generator=generator, dtype=torch.float64).to(dtype)
    return inputs, torch.randint(3, (steps, count, batch), generator=generator)


def _train_alone(model, optimizer, inputs, targets, *, loss=LOSS, clip_norm=None):
    for x, target in zip(inputs, targets, strict=True):
        optimizer.zero_grad()
        loss.per_sample(model(x), target).mean().backward()
        if clip_norm is not None:
            nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
        optimizer.step()


def _trained(model):
    return [weight for weight in model.parameters() if weight.requires_grad]


def _stacked(models, make, *, rates=RATES, loss=LOSS, **settings):
    return StackedNetworks(models, loss, optimizer=partial(make, lr=1.0), rates=rates, **settings)


def _assert_alike(stacked, models, *, tolerance):
    for replica, model in enumerate(models):
        found = deepcopy(model)
        stacked.copy_to(found, replica)
        for key, wanted in model.state_dict().items():
            torch.testing.assert_close(found.state_dict()[key], wanted, rtol=tolerance, atol=tolerance, msg=key)


def _assert_follows(models, make, draws, *, tolerance=1e-5, rates=RATES, loss=LOSS, **settings):
    """Train stacked networks and plain ones on the same draws, and compare all that a network holds."""
    stacked = _stacked(models, make, rates=rates, loss=loss, **settings)
    for inputs, targets in zip(*draws, strict=True):
        stacked.step(inputs, targets)
    for replica, (model, rate) in enumerate(zip(models, rates, strict=True)):
        inputs, targets = (draw[:, replica] for draw in draws)
        clip_norm = settings.get("clip_norm")
        _train_alone(model, make(_trained(model), lr=rate), inputs, targets, loss=loss, clip_norm=clip_norm)
    _assert_alike(stacked, models, tolerance=tolerance)
    return stacked


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
@pytest.mark.parametrize("make", [MOMENTUM, ADAMW])
@pytest.mark.parametrize(("build", "scale"), [(_mlp, 1.0), (_cnn, 1.0), (_resnet, 0.01)])
def test_each_network_is_trained_as_if_it_were_alone(build, scale, make, dtype, tolerance):
    """With small rates for the deep network, as its steps make 100 times as much of a difference by rounding."""
    models = [build(seed).to(dtype) for seed in range(3)]
    rates = [scale * rate for rate in (RATES if make is MOMENTUM else [1e-3, 2e-3, 2e-3])]
    _assert_follows(models, make, _draw(SHAPES[build], dtype=dtype), tolerance=tolerance, rates=rates)
