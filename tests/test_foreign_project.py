"""Our callbacks in a project that uses nothing else of ours: a torchvision network, a plain module, a plain loader."""

import pytest
import torch
import torchvision
from foreign_project import Plain, make_trainer
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from noisereg import LabelCorruption, SparsityMonitor
from noisereg.noise import Resample

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*(does not have many workers|smaller than the logging)"),
    pytest.mark.filterwarnings("ignore:.*have no `val_dataloader`"),
]


def _relu_inputs(net: nn.Module, images: torch.Tensor) -> int:
    """Count by hand, with hooks on what goes into the ReLUs, how many pre-activations are positive."""
    total = 0

    def count(module, arguments):
        nonlocal total
        total += int((arguments[0] > 0).sum())

    handles = [m.register_forward_pre_hook(count) for m in net.modules() if isinstance(m, nn.ReLU)]
    with torch.no_grad():
        net.eval()(images)
    for handle in handles:
        handle.remove()
    return total


def test_a_torchvision_network_is_trained_under_noise_and_its_neurons_are_counted():
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(24, 3, 32, 32, generator=generator)
    labels = torch.arange(24) % 5
    loader = DataLoader(TensorDataset(images, labels), batch_size=8)
    module = Plain(torchvision.models.resnet18(num_classes=5))
    monitor = SparsityMonitor()
    noise = LabelCorruption(Resample(p=0.5), seed=0, num_classes=5)
    trainer = make_trainer(noise, monitor, limit_val_batches=0)
    trainer.fit(module, loader)
    assert trainer.callback_metrics["noise/effective_rate"].item() == pytest.approx(0.4)
    assert 0 < trainer.callback_metrics["noise/measured_rate"] < 1
    counted = sum(int(metric.fires.sum()) for metric in monitor.metrics["train"].values())
    assert counted == _relu_inputs(module.model, images)
    assert trainer.callback_metrics["train/active_neurons"].item() == pytest.approx(counted / 24, rel=1e-6)
    assert torch.equal(labels, torch.arange(24) % 5)
