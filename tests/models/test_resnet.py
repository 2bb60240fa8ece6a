import math

import pytest
import scipy.stats
import torch
from torch import nn
from torch.nn import functional as F

from noisereg.models.resnet import BasicBlock, ResNet, shortcut


def random_images(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def randomize_norms(model):
    """Move BatchNorm away from the identity, so that a forgotten or swapped one shows."""
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.bias, module.running_mean, module.running_var):
                tensor.detach().uniform_(0.5, 1.5, generator=generator)
    return model


def option_a(x, channels):
    """The shortcut as a strided 1 x 1 convolution with a shifted identity."""
    first = (channels - x.shape[1]) // 2
    kernel = torch.zeros(channels, x.shape[1], 1, 1, dtype=x.dtype)
    kernel[range(first, first + x.shape[1]), range(x.shape[1])] = 1
    return F.conv2d(x, kernel, stride=1 if channels == x.shape[1] else 2)


def reference(state, x, depth, training):
    """The network of He et al. 2016, section 4.2, from its weights alone."""

    def conv_norm(x, conv, norm, stride):
        x = F.conv2d(x, state[f"{conv}.weight"], stride=stride, padding=1)
        axes = [state[f"{norm}.{key}"] for key in ("running_mean", "running_var", "weight", "bias")]
        if training:
            axes[:2] = x.mean(dim=(0, 2, 3)), x.var(dim=(0, 2, 3), unbiased=False)
        mean, var, scale, offset = (axis.view(1, -1, 1, 1) for axis in axes)
        return (x - mean) / (var + 1e-5).sqrt() * scale + offset

    x = conv_norm(x, "conv1", "bn1", 1).clamp(min=0)
    for stage, channels in enumerate((16, 32, 64), start=1):
        for block in range((depth - 2) // 6):
            name = f"layer{stage}.{block}"
            stride = 2 if stage > 1 and block == 0 else 1
            h = conv_norm(x, f"{name}.conv1", f"{name}.bn1", stride).clamp(min=0)
            x = (conv_norm(h, f"{name}.conv2", f"{name}.bn2", 1) + option_a(x, channels)).clamp(min=0)
    return x.mean(dim=(2, 3)) @ state["fc.weight"].T + state["fc.bias"]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("depth", "shape"), [(20, (3, 32, 32)), (14, (1, 9, 14))])
def test_the_network_equals_its_functional_definition(depth, shape, training):
    model = randomize_norms(ResNet(shape, 5, depth=depth, seed=2).double()).train(training)
    images = random_images(3, *shape)
    state = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    with torch.no_grad():
        torch.testing.assert_close(model(images), reference(state, images, depth, training))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_a_block_with_silent_convolutions_passes_its_shortcut(stride, memory_format):
    block = BasicBlock(4, 8, stride=stride).double()
    nn.init.zeros_(block.bn2.weight)
    block.conv1.weight.data.normal_()
    block.conv2.weight.data.normal_()
    images = random_images(2, 4, 5, 6).to(memory_format=memory_format)
    expected = torch.zeros(2, 8, math.ceil(5 / stride), math.ceil(6 / stride), dtype=torch.float64)
    expected[:, 2:6] = images[:, :, ::stride, ::stride].clamp(min=0)
    assert torch.equal(block(images), expected)


def test_a_shortcut_within_a_stage_is_the_input_itself():
    images = random_images(2, 4, 5, 6)
    assert shortcut(images, num_channels=4, stride=1) is images


def test_a_shortcut_and_its_gradient_keep_the_memory_format():
    images = random_images(2, 4, 6, 6).to(memory_format=torch.channels_last).requires_grad_()
    result = shortcut(images, num_channels=8, stride=2)
    assert result.is_contiguous(memory_format=torch.channels_last)
    (gradient,) = torch.autograd.grad(result.square().sum(), images)
    assert gradient.is_contiguous(memory_format=torch.channels_last)


def test_the_gradients_of_all_relus_but_the_last_keep_the_memory_format():
    model, kept = ResNet((3, 16, 16), 10).to(memory_format=torch.channels_last), {}

    def listen(name):
        def note(gradient):
            kept[name] = gradient.is_contiguous(memory_format=torch.channels_last)

        def hook(_module, _inputs, output):
            output.register_hook(note)

        return hook

    for name, module in model.named_modules():
        if isinstance(module, nn.ReLU):
            module.register_forward_hook(listen(name))
    model(torch.randn(2, 3, 16, 16).to(memory_format=torch.channels_last)).sum().backward()
    assert len(kept) == 19
    assert [name for name in kept if not kept[name]] == ["layer3.2.relu2"]  # its gradient is that of a mean


@pytest.mark.parametrize(
    ("depth", "expected"), [(20, 269_722), (32, 464_154), (44, 658_586), (56, 853_018), (110, 1_727_962)]
)
def test_parameters_are_as_many_as_in_the_reference_implementation(depth, expected):
    assert sum(p.numel() for p in ResNet((3, 32, 32), 10, depth=depth).parameters()) == expected


def test_depth_20_has_19_relus_and_the_last_has_4096_units():
    model = ResNet((3, 32, 32), 10)
    shapes = []
    for name, module in model.named_modules():
        if isinstance(module, nn.ReLU):
            module.register_forward_hook(lambda _, __, output, name=name: shapes.append((name, tuple(output.shape))))
    model(torch.zeros(2, 3, 32, 32))
    assert len(shapes) == 19
    assert shapes[0] == ("relu", (2, 16, 32, 32))
    assert shapes[-1] == ("layer3.2.relu2", (2, 64, 8, 8))


def test_depth_counts_the_layers_with_weights():
    layers = [m for m in ResNet((3, 32, 32), 10, depth=44).modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(layers) == 44


def test_convolutions_and_linear_weights_follow_he_and_the_linear_bias_torch():
    model = ResNet((3, 32, 32), 20_000, seed=5)
    for layer in (model.layer1[0].conv1, model.layer3[2].conv2, model.fc):
        fan_in = math.prod(layer.weight.shape[1:])
        sample = layer.weight.detach().flatten().double().numpy()
        assert scipy.stats.kstest(sample, scipy.stats.norm(0, math.sqrt(2 / fan_in)).cdf).pvalue > 5.7e-7
    assert scipy.stats.kstest(model.fc.bias.detach().numpy(), scipy.stats.uniform(-1 / 8, 2 / 8).cdf).pvalue > 5.7e-7


@pytest.mark.parametrize("depth", [-4, 2, 18, 21, 46])
def test_a_depth_of_another_form_is_refused(depth):
    with pytest.raises(ValueError, match=rf"depth must be 6n\+2 with n >= 1, such as .*, got {depth}"):
        ResNet((3, 32, 32), 10, depth=depth)


@pytest.mark.parametrize("shape", [(60,), (28, 28), (0, 8, 8)])
def test_inputs_that_are_no_images_are_refused(shape):
    with pytest.raises(ValueError, match=r"input_shape must be \(channels, height, width\)"):
        ResNet(shape, 10)


def test_no_outputs_are_refused():
    with pytest.raises(ValueError, match="num_outputs must be a whole number, at least 1, got 0"):
        ResNet((3, 32, 32), 0)
