"""The condition of theorem 1: the output is homogeneous of degree 1 in the weights of each layer.

Then <W, dN/dW> = N for every layer (Euler), and this is all that the proof needs. Chains of linear and convolutional
layers without biases have it, with ReLU, LeakyReLU and pooling between them. A skip connection breaks it: the product
is the part of N that goes through the branch. So does batch normalisation: the product is 0 before it.

Source: Cornacchia, Hazla, Nachum, Yehudayoff, arXiv 2111.02154, section 3 and appendix C; Du, Hu, Lee, "Algorithmic
    regularization in learning deep homogeneous models: layers are automatically balanced", 2018.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from noisereg.models.vector import ToVector

_LINEAR = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
_HOMOGENEOUS = (
    nn.ReLU,
    nn.LeakyReLU,
    nn.Identity,
    nn.Flatten,
    ToVector,
    nn.AvgPool1d,
    nn.AvgPool2d,
    nn.AvgPool3d,
    nn.AdaptiveAvgPool1d,
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveAvgPool3d,
    nn.MaxPool1d,
    nn.MaxPool2d,
    nn.MaxPool3d,
    nn.AdaptiveMaxPool1d,
    nn.AdaptiveMaxPool2d,
    nn.AdaptiveMaxPool3d,
)


def layers(model: nn.Module) -> dict[str, nn.Parameter]:
    """Find the trained weight matrices and kernels by the name of their layer.

    Example:
        >>> list(layers(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))))
        ['0', '2']
    """
    return {
        name.removesuffix(".weight"): parameter
        for name, parameter in model.named_parameters()
        if name.endswith("weight") and parameter.ndim >= 2 and parameter.requires_grad
    }


def output_gradients(model: nn.Module, sample: Float[Tensor, "1 *shape"]) -> tuple[Tensor, dict[str, Tensor]]:
    """Compute N(x) of one sample and dN/dW by layer.

    Args:
        model: with one output.
        sample: one input, with its axis of a batch.

    Raises:
        ValueError: the model has several outputs.

    Example:
        >>> net = nn.Sequential(nn.Linear(2, 1, bias=False))
        >>> output_gradients(net, torch.tensor([[3.0, 4.0]]))[1]["0"]
        tensor([[3., 4.]])
    """
    weights = layers(model)
    outputs = model(sample)
    if outputs.shape != (1, 1):
        raise ValueError(f"theorem 1 needs one sample and one output, got outputs of shape {tuple(outputs.shape)}")
    gradients = torch.autograd.grad(outputs[0, 0], list(weights.values()))
    return outputs[0, 0].detach(), dict(zip(weights, gradients, strict=True))


def euler_violation(model: nn.Module, inputs: Float[Tensor, "batch *shape"]) -> dict[str, float]:
    """Measure by how much <W, dN/dW> differs from N: the largest |<W, dN/dW> - N| / |N| over the samples.

    Args:
        model: with one output.
        inputs: each is seen alone. One with N(x) = 0 says nothing and is left out.

    Returns:
        By layer; 0 within float error where the theorem applies.

    Example:
        >>> net = nn.Sequential(nn.Linear(3, 4, bias=False), nn.ReLU(), nn.Linear(4, 1, bias=False))
        >>> max(euler_violation(net, torch.eye(3)).values()) < 1e-4
        True
    """
    weights = layers(model)
    worst = dict.fromkeys(weights, 0.0)
    for sample in inputs.split(1):
        output, gradients = output_gradients(model, sample)
        for name, gradient in gradients.items() if output else ():
            product = (weights[name].detach() * gradient).sum()
            worst[name] = max(worst[name], float((product - output).abs() / output.abs()))
    return worst


def obstacles(model: nn.Module, inputs: Float[Tensor, "batch *shape"]) -> list[str]:
    """List why theorem 1 does not apply to a network; the list is empty if it does.

    The modules are read for biases and for what is not homogeneous, and Euler's identity is measured: that finds skip
    connections and what is hidden in the code of `forward`.

    Args:
        model: with one output.
        inputs: at which the identity is measured, to the root of the precision of the weights.

    Example:
        >>> obstacles(nn.Sequential(nn.Linear(2, 1)), torch.eye(2))[0]
        'layer 0 has a bias'
    """
    found = [reason for name, module in model.named_modules() if (reason := _reason(name, module))]
    violations = euler_violation(model, inputs)
    layer = max(violations, key=lambda name: violations[name])
    if violations[layer] > torch.finfo(layers(model)[layer].dtype).eps ** 0.5:
        found.append(f"<W, dN/dW> is not N in layer {layer}: it differs by up to {violations[layer]:.3g} |N|")
    return list(dict.fromkeys(found))


def _reason(name: str, module: nn.Module) -> str:
    if isinstance(module, _LINEAR):
        return "" if module.bias is None else f"layer {name} has a bias"
    if isinstance(module, _HOMOGENEOUS) or next(module.children(), None) is not None:
        return ""
    return f"{type(module).__name__} is not known to be homogeneous"
