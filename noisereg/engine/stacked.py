"""R networks of any one architecture, trained together: each tensor has the replicas as its first axis.

`torch.func` computes the losses and gradients of all replicas in one pass through the network. Optimisers are torch's
own, over views of the stacked weights. Where an update is elementwise, the weights of neighbouring replicas with one
learning rate are to an optimiser a tensor like any other, and a step of it is the step of all of them; where it is not,
each replica has an optimiser of its own. Neighbours that are no longer alike, since one stops or their rates differ,
are cut apart, and the optimiser's state with them.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from functools import partial
from inspect import signature
from itertools import groupby
from typing import Any, NamedTuple, cast

import torch
from jaxtyping import Bool, Float, Int64, Shaped
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.fx.experimental.proxy_tensor import make_fx
from torch.linalg import vector_norm
from torch.nn.functional import batch_norm, conv1d, conv2d, conv3d, pad
from torch.optim import (
    ASGD,
    LBFGS,
    SGD,
    Adadelta,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    NAdam,
    Optimizer,
    RAdam,
    RMSprop,
    Rprop,
)
from torch.optim.adam import adam
from torch.optim.sgd import sgd

from noisereg.engine.alike import describe_difference, named_tensors
from noisereg.engine.classifier import MakeOptimizer
from noisereg.engine.compiled_step import CompiledStep
from noisereg.engine.regularizer import Regularizer
from noisereg.losses import Loss

# What these do to an entry of a weight depends on that entry, its gradients, the rates and the number of steps alone.
_ELEMENTWISE = (SGD, Adam, AdamW, NAdam, RAdam, RMSprop, Adagrad, Adadelta, Adamax, ASGD, Rprop)
_WITH_KERNEL = (SGD, Adam, AdamW)  # which goes through the memory once, on CPUs too
_BATCH_NORM = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_CONVOLVE = {nn.Conv1d: conv1d, nn.Conv2d: conv2d, nn.Conv3d: conv3d}
_ADAM_STATE = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq", "step")
_SETTINGS = {
    formula: {*signature(formula).parameters} - {"params", "lr", "foreach", "fused"} for formula in (sgd, adam)
}
_LANES = 16  # of torch's kernels for CPUs, at most: some of them round entries beyond a multiple of it otherwise
_SUMMED = 64  # entries that its kernels for CPUs sum side by side, at most: four vectors of 16; others are left over
_CHANNELS = 4  # of the inputs, in two or more convolutions at once: with fewer than 8 in all, another kernel is taken
_RECORD_AT = 200  # steps: recording one takes about as long as so many

_Tensors = dict[str, Tensor]
_Computed = tuple[_Tensors, tuple[Tensor, _Tensors]]  # gradients, (losses, buffers)
_State = dict[str, list[Any]]


class StackedNetworks(nn.Module):
    """R networks with their optimisers, each trained exactly as if it were alone, up to rounding.

    Eager on a CPU, what becomes of a network does not depend on the others beside it, to the bit, as long as there are
    any.

    A batch norm has running statistics for each replica. Weights with `requires_grad` False are left alone. Layers are
    in the mode, training or evaluation, that they have in the first model.

    Args:
        models: R networks that differ in the values of their weights and buffers only. They are copied.
        loss: of the logits and the targets.
        optimizer: makes an optimiser of any class but LBFGS; `rates` take the place of the learning rate it has.
        rates: learning rate of each replica.
        clip_norm: greatest norm of the gradient of a replica; a longer one is scaled down to it. None for any.
        compile: whether the losses and gradients of whole batches go through `torch.compile`. Shorter batches than the
            longest so far run eagerly, and so does what is left when half of the replicas have stopped.
        regularizer: what is added to each step; None for nothing. The losses that a step returns are without it.
        seeds: of the noise that it adds to the gradients of each replica; None for their numbers.

    Attributes:
        networks: a module of the same architecture whose parameters and buffers are stacked, (R, *shape).

    Raises:
        ValueError: no models, models that are not alike, too few rates, or a `clip_norm` not above 0.
        TypeError: the optimiser needs a closure, or has no learning rate, or several groups of parameters.

    Example:
        >>> from noisereg.losses import CrossEntropy
        >>> models = [nn.Linear(4, 3) for _ in range(2)]
        >>> stacked = StackedNetworks(models, CrossEntropy(), optimizer=torch.optim.Adam, rates=[0.1, 0.01])
        >>> stacked.step(torch.zeros(2, 8, 4), torch.zeros(2, 8, dtype=torch.int64)).shape
        torch.Size([2])
        >>> stacked.networks.weight.shape
        torch.Size([2, 3, 4])
    """

    def __init__(
        self,
        models: Sequence[nn.Module],
        loss: Loss,
        *,
        optimizer: MakeOptimizer,
        rates: Sequence[float],
        clip_norm: float | None = None,
        compile: bool = False,
        regularizer: Regularizer | None = None,
        seeds: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        _check_alike(models)
        if clip_norm is not None and not clip_norm > 0:
            raise ValueError(f"clip_norm must be above 0 or None, got {clip_norm}")
        self.networks = _stack(models)
        self._loss, self._make_optimizer, self._clip_norm = loss, optimizer, clip_norm
        self._regularizer = regularizer or Regularizer()
        self._seeds, self.num_steps = list(seeds or range(len(models))), 0
        self._differentiate: Callable[..., _Computed] = vmap(self._gradient_of_one)
        self._recorded: dict[object, Callable[..., _Computed]] = {}
        self._num_calls: Counter[object] = Counter()
        self._compiles, self._longest = compile, 0
        self._compiled = torch.compile(self._differentiate, dynamic=False)
        self._compiled_step = CompiledStep(self._step_of_all, self._find_arguments)
        self._everyone = self._running = list(range(len(models)))
        self.set_rates(rates)
        self._parts = self._make_parts()
        self._knows_unreached = False
        self._find_tensors()

    def __len__(self) -> int:
        return len(self._everyone)

    def set_rates(self, rates: Sequence[float]) -> None:
        """Change the learning rate of each replica, from the next step on.

        Args:
            rates: a number for each replica, running or not.
        """
        if len(rates) != len(self):
            raise ValueError(f"rates must hold a number for each of the {len(self)} replicas, got {len(rates)}")
        self._rates = [float(rate) for rate in rates]
        self._is_cut = False

    @torch.no_grad()
    def step(
        self,
        inputs: Float[Tensor, "running batch *shape"],
        targets: Shaped[Tensor, "running batch *classes"],
        running: Int64[Tensor, " running"] | None = None,
    ) -> Float[Tensor, " running"]:
        """Train each running replica by one step. All that belongs to the others stays as it is, bit by bit.

        Args:
            inputs: a batch for each running replica.
            targets: labels, int64 (running, batch), or distributions over labels, (running, batch, C).
            running: numbers of those replicas, ascending, on the CPU; None for all.

        Returns:
            The mean loss of each batch, before the step.
        """
        self._follow(self._everyone if running is None else running.tolist())
        some = len(self._running) < len(self)
        compiled = self._is_compiled(inputs.shape[1])
        if compiled and not some and len(self._parts) == 1 and self._has_formula:
            self.num_steps += 1
            return self._compiled_step(inputs, targets)
        computed: slice | Tensor = slice(None)
        found: slice | Tensor = slice(None)
        rows: slice | Tensor = slice(None)
        if some:
            rows = index = torch.tensor(self._running, device=inputs.device)
            if compiled:  # for all replicas, as each number of them would be compiled anew
                inputs, targets = (_spread(tensor, index, len(self)) for tensor in (inputs, targets))
                found = index
            elif len(index) > 1:
                computed = index
            else:  # beside itself, as sums are added in another order where one network is computed alone
                computed, found = index.repeat(2), slice(1)
                inputs, targets = (torch.cat([tensor, tensor]) for tensor in (inputs, targets))
        given = (*self._select(computed, inputs, targets), inputs, targets)
        gradients, (losses, buffers) = (self._compiled if compiled else self._eager(given))(*given)
        self._update(gradients, self._everyone if compiled else self._running)
        self.num_steps += 1
        for name, buffer in buffers.items():
            self._statistics[name][rows] = buffer[found]
        return losses[found]

    @torch.no_grad()
    def finite(self) -> Bool[Tensor, " replicas"]:
        """Return which replicas have finite weights only."""
        weights = (weight.reshape(len(self), -1) for weight in self.parameters() if weight.numel())
        ends = [end for weight in weights for end in weight.aminmax(dim=1)]
        return torch.stack(ends).isfinite().all(dim=0)  # where a weight is nan, both ends are

    @torch.no_grad()
    def copy_to(self, model: nn.Module, replica: int) -> None:
        """Write the parameters and buffers of a replica into a model of the architecture that was stacked."""
        stacked = named_tensors(self.networks)
        for name, tensor in named_tensors(model).items():
            tensor.copy_(stacked[name][replica])

    def optimizer_state(self) -> list[dict[str, Any]]:
        """Return torch's state of each optimiser, and the replicas it is for, from `first` to before `stop`."""
        return [{"first": part.first, "stop": part.stop, "state": part.optimizer.state_dict()} for part in self._parts]

    def load_optimizer_state(self, state: Sequence[dict[str, Any]]) -> None:
        """Restore what `optimizer_state` returned. The learning rates stay those of `set_rates`."""
        if [replica for saved in state for replica in range(saved["first"], saved["stop"])] != self._everyone:
            raise ValueError(f"state must be that of {len(self)} replicas, got that of others")
        self._parts = [self._make_part(saved["first"], saved["stop"]) for saved in state]
        for part, saved in zip(self._parts, state, strict=True):
            part.optimizer.load_state_dict(saved["state"])
        self._is_cut = False

    def _mean_loss(
        self, weights: _Tensors, others: _Tensors, buffers: _Tensors, inputs: Tensor, targets: Tensor
    ) -> tuple[Tensor, tuple[Tensor, _Tensors]]:
        """Compute what one replica minimises, and beside it the mean loss and the buffers afterwards."""
        tensors = {**weights, **others, **{name: buffer.clone() for name, buffer in buffers.items()}}
        with self._regularizer.watch(self.networks) as sums:
            logits = functional_call(
                self.networks, tensors, (inputs,)
            )  # enters a buffer that a layer replaces in `tensors`
        loss = self._loss.per_sample(logits, targets).mean()
        whole = loss + self._regularizer.penalty(sums, batch_size=len(inputs))
        return whole, (loss, {name: tensors[name] for name in buffers})

    def _gradient_of_one(self, *given: Any) -> _Computed:
        """Compute gradients, mean loss and buffers of one replica."""
        return grad(self._mean_loss, has_aux=True)(*given)

    def _step_of_all(
        self,
        inputs: Tensor,
        targets: Tensor,
        tensors: tuple[_Tensors, _Tensors, _Tensors],
        state: _State,
        how: dict[str, Any],
    ) -> Tensor:
        """Compute losses, gradients and buffers, and update the weights by torch's own formulas, for one graph."""
        gradients, (losses, buffers) = self._differentiate(*tensors, inputs, targets)
        if self._clip_norm is not None:
            _clip(gradients, self._clip_norm)
        trained, _, statistics = tensors
        weights = [trained[name] for name in gradients]
        if self._kind is SGD:
            sgd(weights, [*gradients.values()], [*state.get("momentum_buffer", [None] * len(weights))], **how)
        else:
            first, second, most, steps = (state.get(key, []) for key in _ADAM_STATE)
            adam(weights, [*gradients.values()], first, second, most, steps, **how)
        for name, buffer in buffers.items():
            statistics[name].copy_(buffer)
        return losses

    def _find_arguments(self, inputs: Tensor, targets: Tensor) -> tuple[Any, ...]:
        """Return what `_step_of_all` takes beside a batch."""
        tensors = self._select(slice(None), inputs, targets)
        (part,) = self._parts
        dtype = next(iter(tensors[0].values())).dtype
        rate = torch.tensor(self._rates[0], dtype=dtype)  # as a number it would be compiled in
        return tensors, part.state(tensors[0]), {**part.settings(), "lr": rate, "foreach": False, "fused": False}

    def _select(self, rows: slice | Tensor, inputs: Tensor, targets: Tensor) -> tuple[_Tensors, _Tensors, _Tensors]:
        """Return trained weights, other weights, and buffers of the replicas in some rows."""
        if not self._knows_unreached:
            for name in self._find_unreached(inputs, targets):
                self._constants[name] = self._trained.pop(name)
            self._knows_unreached = True
        tensors = self._trained, self._constants, self._statistics
        if isinstance(rows, slice):  # all of them
            return tensors
        weights, others, buffers = ({name: tensor[rows] for name, tensor in some.items()} for some in tensors)
        return weights, others, buffers

    def _find_tensors(self) -> None:
        """Find the tensors of `networks` once: to do so in each step takes longer than a small network."""
        self._trained = {name: weight.detach() for name, weight in _named_trained(self.networks)}
        parameters = self.networks.named_parameters()
        self._constants = {name: weight.detach() for name, weight in parameters if name not in self._trained}
        self._statistics = dict(self.networks.named_buffers())
        self._knows_unreached = False
        self._address = next(self.networks.parameters()).data_ptr()

    @torch.enable_grad()
    def _find_unreached(self, inputs: Tensor, targets: Tensor) -> set[str]:
        """Return the weights that the loss does not depend on, which torch's optimisers leave alone.

        Their gradients are zeros to `torch.func`, and a weight decay would act on them.
        """
        weights = {name: weight[0].requires_grad_() for name, weight in self._trained.items()}
        others, buffers = (
            {name: tensor[0] for name, tensor in some.items()} for some in (self._constants, self._statistics)
        )
        loss, _ = self._mean_loss(weights, others, buffers, inputs[0], targets[0])
        gradients = torch.autograd.grad(loss, list(weights.values()), allow_unused=True)
        return {name for name, gradient in zip(weights, gradients, strict=True) if gradient is None}

    def _is_compiled(self, batch_size: int) -> bool:
        """Return whether a step is compiled; the first is not, as optimisers make their state in it."""
        self._longest = max(self._longest, batch_size)
        begun = self.num_steps > 0
        return self._compiles and begun and batch_size == self._longest and 2 * len(self._running) > len(self)

    def _eager(self, given: tuple[Any, ...]) -> Callable[..., _Computed]:
        """Return what computes gradients of such shapes: the recorded operations of a step, without what Python costs.

        Small networks train up to twice as fast. Until a recording pays, there is none.
        """
        inputs, targets = given[-2:]
        key = inputs.shape, inputs.dtype, targets.shape
        self._num_calls[key] += 1
        if self._num_calls[key] < _RECORD_AT:
            return self._differentiate
        if key not in self._recorded:
            self._recorded[key] = make_fx(lambda *given: self._differentiate(*given))(*given)  # noqa: PLW0108  hides self
        return self._recorded[key]

    def _update(self, gradients: _Tensors, computed: list[int]) -> None:
        """Move the weights of the running replicas by their optimisers; `computed` has the replica of each row."""
        if self._regularizer.gradient_noise:
            self._add_noise(gradients, computed)
        if self._clip_norm is not None:
            _clip(gradients, self._clip_norm)
        running = set(self._running)
        for part in self._parts:
            if part.first in running:
                part.step(gradients, bisect_left(computed, part.first), self._rates[part.first])

    def _add_noise(self, gradients: _Tensors, computed: list[int]) -> None:
        """Add to the gradients of each replica the noise that it has alone."""
        for row, replica in enumerate(computed):
            named = [(name, weight[0]) for name, weight in _named_trained(self.networks)]
            weights = [weight for _, weight in named]
            noises = self._regularizer.noise(weights, seed=self._seeds[replica], step=self.num_steps)
            for (name, _), noise in zip(named, noises, strict=True):
                if name in gradients:  # else the loss does not depend on it
                    gradients[name][row] += noise

    def _follow(self, running: list[int]) -> None:
        """Cut the parts so that in each all replicas or none are running, with one learning rate."""
        if next(self.networks.parameters()).data_ptr() != self._address:  # moved to another device, or converted
            self._find_tensors()
            self._recorded.clear()
            self.load_optimizer_state(self.optimizer_state())
        if self._is_cut and running == self._running:
            return
        active = set(running)
        if not running or running != sorted(active) or running[0] < 0 or running[-1] >= len(self):
            raise ValueError(f"running must hold ascending numbers of the {len(self)} replicas, got {running}")
        parts = []
        for part in self._parts:
            alike = groupby(range(part.first, part.stop), key=lambda replica: (replica in active, self._rates[replica]))
            runs = [list(run) for _, run in alike]
            parts += [part] if len(runs) == 1 else [self._cut(part, run[0], run[-1] + 1) for run in runs]
        self._parts, self._running, self._is_cut = parts, running, True
        self._compiled_step.forget()

    def _make_parts(self) -> list["_Part"]:
        """Make one optimiser for all replicas, or one for each."""
        self._kind = _check_optimizer(self._make_optimizer([nn.Parameter(torch.zeros(1, 1))]))
        self._has_formula = self._kind in _WITH_KERNEL and not self._regularizer.gradient_noise
        width = len(self) if self._kind in _ELEMENTWISE else 1
        return [self._make_part(first, first + width) for first in range(0, len(self), width)]

    def _make_part(self, first: int, stop: int) -> "_Part":
        """Make the optimiser of some replicas over views of their weights, in the shapes of one network if need be."""
        rows = slice(first, stop) if self._kind in _ELEMENTWISE else first
        weights = {name: nn.Parameter(weight.detach()[rows]) for name, weight in _named_trained(self.networks)}
        optimizer = self._make_optimizer(list(weights.values()))
        for group in optimizer.param_groups:
            plain = not any(group.get(key) for key in ("foreach", "capturable", "differentiable"))
            if self._kind in _WITH_KERNEL and plain and group["fused"] is None:
                group["fused"] = next(iter(weights.values())).device.type in ("cpu", "cuda")
        sizes = {name: weight.numel() // (stop - first) for name, weight in weights.items() if weight.is_cpu}
        odd = {name for name, size in sizes.items() if size % _LANES}
        return _Part(first, stop, weights, odd, optimizer)

    def _cut(self, part: "_Part", first: int, stop: int) -> "_Part":
        """Make the optimiser of some replicas of a part, which goes on with their state."""
        new = self._make_part(first, stop)
        (group,), (old_group,) = new.optimizer.param_groups, part.optimizer.param_groups
        group |= {key: value for key, value in old_group.items() if key != "params"}
        rows = slice(first - part.first, stop - part.first)
        for name, weight in part.weights.items():
            if weight in part.optimizer.state:
                new.optimizer.state[new.weights[name]] = {
                    key: value[rows] if isinstance(value, Tensor) and value.shape == weight.shape else deepcopy(value)
                    for key, value in part.optimizer.state[weight].items()
                }
        return new


class _Part(NamedTuple):
    """The optimiser of the replicas from `first` to before `stop`, over views of their weights.

    The weights that are `odd` are left out of torch's fused kernels: how an entry of theirs is rounded would depend on
    its place among those of all replicas, and so on how many there are.
    """

    first: int
    stop: int
    weights: dict[str, nn.Parameter]
    odd: set[str]
    optimizer: Optimizer

    @property
    def group(self) -> dict[str, Any]:
        """The only group of parameters."""
        return self.optimizer.param_groups[0]

    def step(self, gradients: _Tensors, first_row: int, rate: float) -> None:
        """Move the weights of this part by gradients of replicas, of which its own begin at a row."""
        self.group["lr"] = rate
        odd, fused = self.odd if self.group.get("fused") else set[str](), self.group.get("fused")
        for are_odd in (False, True) if odd else (False,):
            names = [name for name in gradients if (name in odd) is are_odd]
            if not names:
                continue
            for name in names:
                weight = self.weights[name]
                weight.grad = gradients[name][first_row : first_row + self.stop - self.first].view_as(weight)
            if odd:
                self.group["fused"] = not are_odd
            self.optimizer.step()
            for name in names:
                self.weights[name].grad = None  # its memory, which is still in the cache, serves the next step
        if odd:
            self.group["fused"] = fused

    def state(self, names: Iterable[str]) -> _State:
        """Return the state of some weights, a list for each kind of it."""
        states = [self.optimizer.state[self.weights[name]] for name in names]
        return {key: [state[key] for state in states] for key, value in states[0].items() if value is not None}

    def settings(self) -> dict[str, Any]:
        """Return what the formula of SGD or Adam takes beside the learning rate."""
        first, second = self.group.get("betas", (None, None))
        given = {**self.group, "beta1": first, "beta2": second}
        return {
            name: given[name] for name in _SETTINGS[sgd if isinstance(self.optimizer, SGD) else adam] & given.keys()
        }


def _check_alike(models: Sequence[nn.Module]) -> None:
    if not models:
        raise ValueError("models must hold at least one network, got none")
    if difference := describe_difference(models):
        raise ValueError(f"models must differ in the values of their weights only, but {difference}")


def _check_optimizer(optimizer: Optimizer) -> type[Optimizer]:
    """Return its class, if it is one that can train stacked networks."""
    kind = type(optimizer)
    if isinstance(optimizer, LBFGS):
        raise TypeError("optimizer must take a step from one gradient, got LBFGS, which needs a closure")
    if len(optimizer.param_groups) != 1 or "lr" not in optimizer.param_groups[0]:
        raise TypeError(
            f"optimizer must have one group of parameters with a learning rate, got {kind.__name__} otherwise"
        )
    return kind


def _named_trained(module: nn.Module) -> list[tuple[str, nn.Parameter]]:
    return [(name, parameter) for name, parameter in module.named_parameters() if parameter.requires_grad]


@torch.no_grad()
def _stack(models: Sequence[nn.Module]) -> nn.Module:
    """Copy the first model with the tensors of all in place of its own; what is shared within it stays so."""
    networks = deepcopy(models[0])
    tensors = [named_tensors(model) for model in models]
    for name, tensor in named_tensors(networks).items():
        tensor.data = torch.stack([own[name] for own in tensors])
        tensor.grad = None
    for module in networks.modules():
        if type(module) in _BATCH_NORM and module.momentum is None and module.track_running_stats:
            module.forward = partial(_average_batch_norm, module)
        if type(module) in _BATCH_NORM and cast(int, module.num_features) % _SUMMED:
            module.forward = partial(_normalize_by_channel, module.forward)
        if type(module) in _CONVOLVE and _is_of_few_channels(module):
            module.forward = partial(_convolve, module)
    return networks


def _normalize_by_channel(forward: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
    """Normalise with the samples of a channel side by side, as those of an image's channel are.

    Where channels are side by side, the kernel for CPUs takes those of all replicas together, a vector at a time.
    """
    if not inputs.is_cpu or inputs.shape[2:].numel() > 1:
        return forward(inputs)
    by_channel = inputs.flatten(1).T.contiguous().view(1, inputs.shape[1], -1, *[1] * (inputs.ndim - 3))
    return forward(by_channel).view(inputs.shape[1], -1).T.reshape(inputs.shape)


def _is_of_few_channels(module: Any) -> bool:
    return 1 < module.in_channels < _CHANNELS and module.groups == 1 and module.padding_mode == "zeros"


def _convolve(module: Any, inputs: Tensor) -> Tensor:
    """Convolve inputs of two or three channels, on a CPU with channels of zeros behind them."""
    weight = module.weight
    if inputs.is_cpu:
        more = (*[0] * 2 * (weight.ndim - 2), 0, _CHANNELS - module.in_channels)
        inputs, weight = pad(inputs, more), pad(weight, more)
    return _CONVOLVE[type(module)](inputs, weight, module.bias, module.stride, module.padding, module.dilation)


def _average_batch_norm(module: Any, inputs: Tensor) -> Tensor:
    """Normalise, and average statistics over all batches; torch's own code makes a number of the tensor that counts."""
    mean, variance = module.running_mean, module.running_var
    if not module.training:
        return batch_norm(inputs, mean, variance, module.weight, module.bias, eps=module.eps)
    module.num_batches_tracked += 1
    of_batch = torch.zeros_like(mean), torch.zeros_like(variance)
    outputs = batch_norm(inputs, *of_batch, module.weight, module.bias, training=True, momentum=1.0, eps=module.eps)
    for average, new in zip((mean, variance), of_batch, strict=True):
        average.add_((new - average) / module.num_batches_tracked)
    return outputs


def _clip(gradients: _Tensors, max_norm: float) -> None:
    """Scale the gradients of each replica in place, as torch.nn.utils.clip_grad_norm_ does."""
    norms = [vector_norm(gradient.reshape(len(gradient), -1), dim=1) for gradient in gradients.values()]
    factors = (max_norm / (vector_norm(torch.stack(norms), dim=0) + 1e-6)).clamp(max=1.0)
    for gradient in gradients.values():
        gradient.mul_(factors.view(-1, *[1] * (gradient.ndim - 1)))


def _spread(tensor: Tensor, rows: Tensor, size: int) -> Tensor:
    """Place the running replicas' batches among empty ones."""
    return tensor.new_zeros(size, *tensor.shape[1:]).index_copy_(0, rows, tensor)
