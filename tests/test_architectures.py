"""Networks of others are measured as they are."""

import pytest
import torch
import torchvision
from foreign_project import Plain, make_trainer
from PIL import Image
from run_program import read_result, run_program
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from noisereg.callbacks import SparsityMonitor
from noisereg.metrics import ActivationCounter
from noisereg.models import torchvision_model

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers")


class TextLike(nn.Module):
    """An encoder of tokens, as small as it can be."""

    def __init__(self, activation):
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, dim_feedforward=12, activation=activation, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, num_layers=2)
        self.head = nn.Linear(8, 3)

    def forward(self, tokens):
        return self.head(self.encoder(tokens).mean(dim=1))


def _images(num=2, size=32):
    generator = torch.Generator().manual_seed(0)
    return TensorDataset(torch.randn(num, 3, size, size, generator=generator), torch.arange(num) % 3)


def _fit(net, data, **kwargs):
    monitor = SparsityMonitor(**kwargs)
    trainer = make_trainer(monitor, limit_train_batches=1, limit_val_batches=0)
    trainer.fit(Plain(net), DataLoader(data, batch_size=2), DataLoader(data, batch_size=2))
    return trainer.logged_metrics, monitor.metrics.get("train", {})


def _check(metrics, layer, outputs):
    """Compare with a count that knows nothing of hooks."""
    fires = (outputs > 0).sum(dim=0)
    assert torch.equal(metrics[layer].fires[0], fires.flatten())
    assert metrics[layer].dead_channels.tolist() == (fires.sum(dim=(1, 2)) == 0).tolist()
    torch.testing.assert_close(metrics[layer].channel_firing_rate, fires.float().mean(dim=(1, 2)) / len(outputs))


def test_vgg_is_measured_without_a_line_of_code():
    net = torchvision_model((3, 32, 32), 3, name="vgg11_bn")
    net.classifier[0].requires_grad_(False)  # four fifths of all weights: saves seconds
    logged, metrics = _fit(net, _images())
    inplace = [name for name, child in net.named_modules() if isinstance(child, nn.ReLU)]
    assert list(metrics) == inplace
    assert all(net.get_submodule(name).inplace for name in inplace)
    outputs, dead, channels = _images().tensors[0], 0, 0
    with torch.no_grad():
        for number, part in enumerate(net.eval().features):
            outputs = part(outputs)
            if isinstance(part, nn.ReLU):
                _check(metrics, f"features.{number}", outputs)
                dead, channels = dead + int((outputs.amax(dim=(0, 2, 3)) == 0).sum()), channels + outputs.shape[1]
        hidden = net.classifier[:2](net.avgpool(outputs).flatten(1))
    assert metrics["classifier.1"].fires.tolist() == [(hidden > 0).sum(0).tolist()]
    assert 0 < dead < channels
    assert logged["train/dead_channel_fraction"].item() == pytest.approx(dead / channels)
    assert "train/dead_fraction/classifier.1" in logged
    assert "train/dead_channel_fraction/classifier.1" not in logged


def test_both_calls_of_the_one_relu_of_a_residual_block_are_layers():
    net = torchvision_model((3, 32, 32), 3, name="resnet18")
    logged, metrics = _fit(net, _images())
    blocks = [f"layer{number}.{block}" for number in range(1, 5) for block in range(2)]
    assert list(metrics) == ["relu", *(f"{block}.relu{call}" for block in blocks for call in ("", ":2"))]
    with torch.no_grad():
        outputs = net.eval().bn1(net.conv1(_images().tensors[0])).relu()
        _check(metrics, "relu", outputs)
        outputs = net.maxpool(outputs)
        for name in blocks:
            block = net.get_submodule(name)
            _check(metrics, f"{name}.relu", block.bn1(block.conv1(outputs)).relu())
            outputs = block(outputs)
            _check(metrics, f"{name}.relu:2", outputs)
    last = [f"train/dead_channel_fraction/layer4.1.relu{call}" for call in ("", ":2")]
    assert [key for key in logged if key.startswith("train/dead_channel_fraction/")] == last


def test_images_may_lie_in_memory_as_they_like():
    torch.manual_seed(0)
    net = torchvision.models.resnet18(num_classes=3).double().eval()  # sums in another order round alike
    counters = [ActivationCounter(net, layers=["layer2.*"]) for _ in range(2)]
    for counter, layout in zip(counters, (torch.contiguous_format, torch.channels_last), strict=True):
        net.to(memory_format=layout)
        with counter, torch.no_grad():
            net(_images().tensors[0].double().contiguous(memory_format=layout))
    plain, last = (counter.metrics for counter in counters)
    assert list(plain) == list(last)
    for layer, metric in plain.items():
        assert torch.equal(metric.fires, last[layer].fires)
        assert torch.equal(metric.channel_firing_rate, last[layer].channel_firing_rate)


@pytest.mark.parametrize(
    ("activation", "name"),
    [(nn.GELU(), "encoder.layers.0.activation"), ("relu", "encoder.layers.0.relu"), ("gelu", "encoder.layers.0.gelu")],
)
def test_a_transformer_is_measured_by_the_features_of_its_tokens(activation, name):
    tokens = TensorDataset(torch.randn(4, 5, 8, generator=torch.Generator().manual_seed(0)), torch.arange(4) % 3)
    torch.manual_seed(0)
    net = TextLike(activation)
    logged, metrics = _fit(net, tokens)
    with torch.no_grad():
        layer, inputs = net.eval().encoder.layers[0], tokens.tensors[0]
        seen = layer.norm1(inputs + layer.self_attn(inputs, inputs, inputs, need_weights=False)[0])
        active = layer.linear1(seen) > 0
    assert list(metrics) == [name, name.replace("0", "1")]
    assert metrics[name].fires.tolist() == [active.sum((0, 1)).tolist()]
    assert metrics[name].samples.tolist() == [20]
    assert logged[f"train/active_fraction/{name}"].item() == pytest.approx(active.float().mean().item())
    assert not any("channel" in key for key in logged)
    _, metrics = _fit(net.train(), tokens, layers=[name], units="positions")
    assert metrics[name].unit_shape.tolist() == [5, 12]


def test_channels_are_those_of_convolutions_whatever_the_activation_and_features_that_come_last_are_none():
    convolution = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.GELU(), nn.Flatten(), nn.Linear(4 * 36, 3))
    logged, _ = _fit(convolution, _images(size=8), layers=["1", "2"])
    channels = {"", "/1", "/2"}
    assert {key for key in logged if "channel" in key} == {f"train/dead_channel_fraction{name}" for name in channels}
    net = torchvision.models.convnext_tiny(num_classes=3)
    del net.features[2:], net.features[1][1:]  # one block of four kinds of layers
    net.classifier = nn.Sequential(nn.Flatten(), nn.Linear(96, 3))
    logged, metrics = _fit(net, _images())
    assert {layer: metric.num_units for layer, metric in metrics.items()} == {"features.1.0.block.4": 384}
    assert metrics["features.1.0.block.4"].samples.tolist() == [2 * 8 * 8]


@pytest.fixture
def images(tmp_path):
    for split in ("train", "test"):
        for label in ("cat", "dog"):
            folder = tmp_path / "images" / split / label
            folder.mkdir(parents=True)
            Image.new("RGB", (32, 32), color=len(label + split) * 9).save(folder / "0.png")
    return tmp_path / "images"


@pytest.mark.slow
def test_the_program_measures_what_there_is_or_what_is_chosen(images, tmp_path):
    given = ["model=torchvision", "model.name=efficientnet_b0", "dataset=image_folder", f"dataset.root={images}"]
    given += ["trainer.max_steps=1", "dataset.batch_size=2", "logger=csv", "callbacks.sparsity.by_layer=all"]
    done = run_program(*given, "hydra.run.dir=plain", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    row = read_result(tmp_path / "plain")["replicas"][0]
    assert 0 < row["test/active_fraction"] < 1
    assert "test/active_fraction/features.0.2" in row
    choice = ["callbacks.sparsity.layers=[features.0.2]", "callbacks.sparsity.threshold=0.1 of rms"]
    done = run_program(*given, *choice, "hydra.run.dir=chosen", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    row = read_result(tmp_path / "chosen")["replicas"][0]
    assert 0 < row["test/active_fraction_above_0.1_of_rms"] < 1
    assert "test/active_fraction" not in row
