"""How large the gradient of a network's outputs in its weights is, sample by sample and layer by layer."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from noisereg.metrics.eval_mode import eval_mode
from noisereg.metrics.layer_names import short_names
from noisereg.metrics.norms import to_float32

_NUMBERS_AT_ONCE = 2**25  # of gradients of several samples, 128 MiB in float32


@torch.no_grad()
def gradient_norms(module: nn.Module, inputs: Float[Tensor, "batch *shape"]) -> dict[str, Float[Tensor, "batch"]]:
    """Compute the squared norm of the gradient of the outputs of each sample in the trained weights of each layer.

    |∇N(x)|², for several outputs the sum over them. Its mean over the samples is what stochastic gradient descent with
    label noise makes small once the loss is near zero. The network is in eval mode: a batch norm uses its running
    statistics, as otherwise no sample would have a gradient of its own.

    Args:
        module: maps a batch to outputs (batch, C); one that `torch.func` can map over samples.
        inputs: on the module's device, in the precision of its weights.

    Returns:
        By the short name of each layer that has weights with `requires_grad`, at least in float32. A weight that layers
        share counts once, for the first of them.

    Raises:
        ValueError: if the outputs have another shape, or no weight is trained.

    Example:
        >>> net = nn.Sequential(nn.Linear(2, 1))
        >>> gradient_norms(net, torch.tensor([[1.0, 2.0]]))  # (1, 2) for the weights and 1 for the bias
        {'0': tensor([6.])}

    Source: G. Blanc, N. Gupta, G. Valiant, P. Valiant, "Implicit regularization for deep neural networks driven by an
        Ornstein-Uhlenbeck like process", 2020, theorem 1; A. Damian, T. Ma, J. Lee, "Label noise SGD provably prefers
        flat global minimizers", 2021, section 2.
    """
    layers = trained_layers(module)
    weights = {name: weight.detach() for name, weight in module.named_parameters() if name in layers}

    def output(weights: dict[str, Tensor], sample: Tensor, number: int) -> Tensor:
        return functional_call(module, weights, (sample[None],))[0, number]

    def squares(sample: Tensor, number: int) -> dict[str, Tensor]:
        gradients = grad(output)(weights, sample, number)
        return {name: to_float32(gradient).square().sum() for name, gradient in gradients.items()}

    with eval_mode(module):
        shape = module(inputs).shape
        if len(shape) != 2 or shape[0] != len(inputs):
            raise ValueError(f"outputs must be (batch, classes) to have gradients of samples, got {tuple(shape)}")
        at_once = max(1, _NUMBERS_AT_ONCE // sum(weight.numel() for weight in weights.values()))
        found: dict[str, Tensor] = {}
        for number in range(shape[1]):
            of_output = vmap(squares, in_dims=(0, None), chunk_size=at_once)(inputs, number)
            for name, values in of_output.items():
                found[layers[name]] = found.get(layers[name], 0) + values
    return found


def trained_layers(module: nn.Module) -> dict[str, str]:
    """Return the short name of the layer of each trained weight, by the name of the weight.

    Raises:
        ValueError: if no weight is trained.

    Example:
        >>> trained_layers(nn.Sequential(nn.Linear(2, 1)))
        {'0.weight': '0', '0.bias': '0'}
    """
    names = [name for name, weight in module.named_parameters() if weight.requires_grad]
    if not names:
        raise ValueError(f"{type(module).__name__} has no weight that is trained, and so no gradient")
    return {name: short.rpartition(".")[0] or short for name, short in short_names(names).items()}


def name_gradient_norms(by_layer: dict[str, Float[Tensor, ""]]) -> dict[str, Float[Tensor, ""]]:
    """Return the mean squared norm of each layer on the training data, and their sum, by the names of metrics.

    Example:
        >>> list(name_gradient_norms({"hidden": torch.tensor(1.0)}))
        ['train/gradient_norm_squared', 'train/gradient_norm_squared/hidden']
    """
    whole = torch.stack(list(by_layer.values())).sum(dim=0)
    layers = {f"train/gradient_norm_squared/{layer}": value for layer, value in by_layer.items()}
    return {"train/gradient_norm_squared": whole, **layers}
