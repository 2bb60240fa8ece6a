"""The weights of R networks of one shape, each tensor with the replicas as its first axis."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.nn.functional import pad

from noisereg.models import Neuron, TwoLayer


class Stack(nn.Module):
    """R networks with one hidden layer, or R single neurons.

    Attributes:
        hidden: (R, features, H), the weights into the hidden layer; None for neurons. With biases, they are the last
            row, and a one stands at the end of each input.
        output: (R, outputs, H), the weights out of it. For neurons (R, 1, features), the bias last.
        output_bias: (R, outputs), or None.
        appends_one: whether a one belongs at the end of each input.
        has_bias: whether that one is there for a bias. For `append_one` networks it is a weight like any other.

    Parameters of a layer that is not trained have `requires_grad` False, and the engines leave them alone.

    Example:
        >>> stack = Stack.of([TwoLayer((60,), 1, hidden=240, seed=seed) for seed in range(3)])
        >>> stack.hidden.shape, stack.output.shape, stack.output_bias.shape
        (torch.Size([3, 61, 240]), torch.Size([3, 1, 240]), torch.Size([3, 1]))
    """

    hidden: nn.Parameter | None
    output: nn.Parameter
    output_bias: nn.Parameter | None

    def __init__(
        self,
        hidden: Tensor | None,
        output: Tensor,
        output_bias: Tensor | None,
        *,
        appends_one: bool,
        has_bias: bool,
        trained: str = "both",
    ) -> None:
        super().__init__()
        trains_hidden, trains_output = trained != "output", trained != "hidden"
        self.hidden = None if hidden is None else nn.Parameter(hidden, requires_grad=trains_hidden)
        self.output = nn.Parameter(output, requires_grad=trains_output)
        self.output_bias = None if output_bias is None else nn.Parameter(output_bias, requires_grad=trains_output)
        self.appends_one, self.has_bias, self.trained = appends_one, has_bias, trained

    @classmethod
    def of(cls, models: Sequence[nn.Module]) -> "Stack":
        """Copy the weights of models of one shape.

        Args:
            models: R of `TwoLayer`, or R of `Neuron`.

        Raises:
            TypeError: if a model is neither; a subclass may compute something else.
        """
        for model in models:
            if type(model) not in (Neuron, TwoLayer):
                raise TypeError(f"only TwoLayer and Neuron can be stacked, got {type(model).__name__}")
        if isinstance(models[0], Neuron):
            return cls._of_neurons([model for model in models if isinstance(model, Neuron)])
        return cls._of_networks([model for model in models if isinstance(model, TwoLayer)])

    @classmethod
    def _of_neurons(cls, models: Sequence[Neuron]) -> "Stack":
        has_bias = models[0].output.bias is not None
        weights = torch.stack([_rows(model.output).T for model in models])
        return cls(None, weights, None, appends_one=has_bias, has_bias=has_bias)

    @classmethod
    def _of_networks(cls, models: Sequence[TwoLayer]) -> "Stack":
        first = models[0]
        has_bias, has_output_bias = first.hidden.bias is not None, first.output.bias is not None
        return cls(
            torch.stack([_rows(model.hidden) for model in models]),
            torch.stack([model.output.weight.detach() for model in models]),
            torch.stack([model.output.bias.detach() for model in models]) if has_output_bias else None,
            appends_one=has_bias or first.vector.append_one,
            has_bias=has_bias,
            trained=_trained(first),
        )

    def __len__(self) -> int:
        return len(self.output)

    def prepare(self, inputs: Float[Tensor, "n *shape"]) -> Float[Tensor, "n features"]:
        """Flatten inputs, in the precision of the weights, and append the one that the networks need."""
        vectors = inputs.flatten(start_dim=1).to(self.output.dtype)
        return pad(vectors, (0, 1), value=1.0) if self.appends_one else vectors.contiguous()

    def layers(self) -> dict[str, tuple[Tensor, Tensor | None]]:
        """Return the weight (R, out, in) and the bias (R, out) of each layer by its name, as nn.Linear has them."""
        if self.hidden is None:
            return {"output": _split(self.output, self.has_bias)}
        return {"hidden": _split(self.hidden.mT, self.has_bias), "output": (self.output, self.output_bias)}

    def trained_layers(self) -> list[str]:
        """Return the names of the layers that are trained, first to last."""
        weights = {"hidden": self.hidden, "output": self.output}
        return [layer for layer, weight in weights.items() if weight is not None and weight.requires_grad]

    @torch.no_grad()
    def copy_to(self, model: nn.Module, replica: int) -> None:
        """Write the weights of one replica into a model of the shape that was stacked.

        Raises:
            TypeError: if the model has another layer in the place of a linear one.
        """
        for name, (weight, bias) in self.layers().items():
            layer = model.get_submodule(name)
            if not isinstance(layer, nn.Linear):
                raise TypeError(f"{name} of the model must be an nn.Linear, got {type(layer).__name__}")
            layer.weight.copy_(weight[replica])
            if bias is not None:
                layer.bias.copy_(bias[replica])

    def select(self, replicas: Int64[Tensor, " k"]) -> "Stack":
        """Copy some of the replicas."""
        hidden = None if self.hidden is None else self.hidden.detach()[replicas]
        output_bias = None if self.output_bias is None else self.output_bias.detach()[replicas]
        how = {"appends_one": self.appends_one, "has_bias": self.has_bias}
        return Stack(hidden, self.output.detach()[replicas], output_bias, **how, trained=self.trained)

    @torch.no_grad()
    def put(self, replicas: Int64[Tensor, " k"], part: "Stack") -> None:
        """Write back what `select` copied."""
        for tensor, new in zip(self.parameters(), part.parameters(), strict=True):
            tensor[replicas] = new

    @torch.no_grad()
    def finite(self) -> Bool[Tensor, " replicas"]:
        """Return which replicas have finite weights only."""
        sums = torch.stack([tensor.flatten(1).sum(dim=1) for tensor in self.parameters()])
        if sums.isfinite().all():  # what is not finite stays so in a sum, but one of large weights may overflow
            return torch.ones(len(self), dtype=torch.bool, device=sums.device)
        ends = [end for tensor in self.parameters() for end in tensor.flatten(1).aminmax(dim=1)]  # nan goes through
        return torch.stack(ends).isfinite().all(dim=0)


def _rows(layer: nn.Linear) -> Float[Tensor, "features out"]:
    weight = layer.weight.detach().T
    return weight if layer.bias is None else torch.cat([weight, layer.bias.detach()[None]])


def _trained(model: TwoLayer) -> str:
    if not model.output.weight.requires_grad:
        return "hidden"
    return "both" if model.hidden.weight.requires_grad else "output"


def _split(weights: Tensor, has_bias: bool) -> tuple[Tensor, Tensor | None]:
    """Part the last column, the bias, from the weights."""
    return (weights[:, :, :-1], weights[:, :, -1]) if has_bias else (weights, None)
