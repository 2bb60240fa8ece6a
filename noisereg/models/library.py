"""The classifiers of torchvision, by name."""

from difflib import get_close_matches
from itertools import chain

import torch
import torchvision.models
from torch import nn
from torch.func import functional_call

from noisereg.models.checks import check_positive
from noisereg.rng import library_generator

# Auxiliary heads make them return a tuple of several logits in training.
_SEVERAL_HEADS = ("googlenet", "inception_v3")


def torchvision_model(
    input_shape: tuple[int, ...], num_outputs: int, *, name: str = "resnet18", seed: int = 0
) -> nn.Module:
    """Build a classifier of torchvision with weights that its own code draws, as a function of the seed alone.

    The result is torchvision's module, so its layers keep the names they have there. Mind that some of these networks
    use one ReLU module at several places, some call the function `relu`, which no hook sees, and some have other
    activations: EfficientNet SiLU, Swin and ConvNeXt GELU.

    Args:
        input_shape: (3, height, width).
        num_outputs: 1 for two classes, else the number of classes.
        name: one of `torchvision.models.list_models(module=torchvision.models)`.
        seed: of the weights.

    Returns:
        The network, in training mode.

    Raises:
        ValueError: the name is unknown, the network has several heads in training, or it does not take such inputs.

    Example:
        >>> model = torchvision_model((3, 32, 32), 10, name="squeezenet1_1")
        >>> model(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """
    check_positive(num_outputs=num_outputs)
    if len(input_shape) != 3 or input_shape[0] != 3:
        raise ValueError(f"input_shape must be (3, height, width) for a model of torchvision, got {input_shape}")
    _check_name(name)
    with library_generator(seed):
        net = torchvision.models.get_model(name, weights=None, num_classes=num_outputs)
    _check_inputs(net, input_shape, name=name)
    return net


def _check_name(name: str) -> None:
    names = torchvision.models.list_models(module=torchvision.models)
    if name not in names:
        close = get_close_matches(name.lower(), names)
        mend = f"did you mean {' or '.join(close)}?" if close else "see torchvision.models.list_models()"
        raise ValueError(f"name must be a classifier of torchvision, got {name!r}; {mend}")
    if name in _SEVERAL_HEADS:
        raise ValueError(f"name must be a network with one head, got {name!r}, which returns a tuple in training")


@torch.no_grad()
def _check_inputs(net: nn.Module, input_shape: tuple[int, ...], *, name: str) -> None:
    """Raise ValueError unless the network runs on such inputs: on tensors without data, which costs no arithmetic."""
    tensors = chain(net.named_parameters(), net.named_buffers())
    shapes = {key: tensor.to("meta") for key, tensor in tensors}
    net.eval()
    try:
        functional_call(net, shapes, (torch.empty(1, *input_shape, device="meta"),))
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"{name} does not take inputs of shape {input_shape}: {error}") from error
    finally:
        net.train()
