"""The engine `stacked`: networks of any one architecture at once, by minibatches, under any optimiser."""

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from typing import Any

import torch
from jaxtyping import Bool, Float, Int64, Shaped
from torch import Tensor, nn

from noisereg.datasets import Split
from noisereg.engine.engine import Given, SharedData
from noisereg.engine.stacked import StackedNetworks
from noisereg.losses import Loss
from noisereg.metrics import (
    GROUPS,
    ActivationCounter,
    ActivationSparsity,
    Memorization,
    Turnover,
    activity_by_group,
    collect_layer_values,
    collect_norms,
    counted_classes,
    eval_mode,
    gradient_norms,
    is_wrong,
    name_gradient_norms,
    predictions,
    select_layers,
)

_ROWS_AT_ONCE = 1000  # samples of an evaluation


class StackedEngine:
    """Train `StackedNetworks`, and measure each as a network of its own, with hooks on its activations.

    Args:
        networks: with their optimisers.
        model: a network of the same architecture; it takes the weights of each replica that is measured.
        loss: that is minimised, and that is measured on clean labels.
        batch_size: samples of a step.
        counting: arguments of the `ActivationCounter` that measures the networks; None for its own.
        gradient_samples: how many training samples `train/gradient_norm_squared` is the mean over, at most; 0: none.
        by_layer: of which layers activations have values of their own: "last" for the last two, "all" for each.
        norms_by_layer: the same of weights and biases.
    """

    name = "stacked"
    threads = 0
    crosses_epochs = False

    def __init__(
        self,
        networks: StackedNetworks,
        model: nn.Module,
        loss: Loss,
        *,
        batch_size: int,
        counting: Mapping[str, Any] | None = None,
        gradient_samples: int = 0,
        by_layer: str = "last",
        norms_by_layer: str = "last",
    ) -> None:
        self.networks = networks
        self._model, self._loss, self._batch_size = deepcopy(model), loss, batch_size
        self._gradient_samples = gradient_samples
        self._counting = {"num_classes": None, **(counting or {}), "required": False}
        self._by_layer, self._norms_by_layer = by_layer, norms_by_layer
        self._rates = torch.zeros(len(networks), dtype=torch.float64)
        self._turnovers = [Turnover() for _ in range(len(networks))]
        self._fires: dict[int, Int64[Tensor, "classes units"]] = {}

    def __len__(self) -> int:
        return len(self.networks)

    def prepare(self, inputs: Float[Tensor, "n *shape"]) -> Float[Tensor, "n *shape"]:
        """Return the inputs in the precision of the weights."""
        return inputs.to(next(self.networks.parameters()).dtype).contiguous()

    def train(
        self,
        inputs: Float[Tensor, "n *shape"],
        *,
        index: Int64[Tensor, "k draws"],
        targets: Shaped[Tensor, "k draws *classes"],
        rates: Float[Tensor, " k"],
        replicas: Int64[Tensor, " k"],
    ) -> Float[Tensor, " k"]:
        """Train k of the replicas in place, see `Engine`."""
        running = replicas.cpu()
        self._rates[running] = rates.double().cpu()
        self.networks.set_rates(self._rates.tolist())
        some = running if len(running) < len(self) else None
        sums = torch.zeros(len(running), dtype=torch.float64, device=inputs.device)
        for rows, wanted in zip(index.split(self._batch_size, 1), targets.split(self._batch_size, 1), strict=True):
            sums += rows.shape[1] * self.networks.step(inputs[rows], wanted, some)
        return sums

    @torch.no_grad()
    def measure(
        self,
        data: Iterable[SharedData],
        running: Sequence[bool],
        *,
        num_classes: int,
        first: bool,
        given: Given | None = None,
    ) -> dict[str, Float[Tensor, " replicas"]]:
        """Measure the running replicas, see `Engine`."""
        weight = next(self.networks.parameters())
        model = self._model.double() if weight.dtype == torch.float64 else self._model.float()
        model.to(weight.device)
        found: dict[str, Tensor] = {}
        for replicas, splits in data:
            for replica in (number for number in replicas if running[number]):
                self.networks.copy_to(self._model, replica)
                values = self._measure_one(replica, splits, num_classes=num_classes)
                labels = given(replica) if given else None
                if labels is not None:
                    values |= self._measure_apart(splits["train"], labels)
                for key, value in values.items():
                    blank = torch.full((len(self),), torch.nan, dtype=weight.dtype, device=weight.device)
                    found.setdefault(key, blank)[replica] = value
        return found

    def _measure_one(self, replica: int, splits: dict[str, Split], *, num_classes: int) -> dict[str, Tensor]:
        model, values = self._model, {}
        classes = self._counting["num_classes"] or counted_classes(num_classes)
        activations = ActivationCounter(model, **self._counting | {"num_classes": classes})
        for name, split in splits.items():
            wrong, losses = [], []
            activations.reset()
            with eval_mode(model), activations as counter:
                for inputs, labels in zip(
                    split.inputs.split(_ROWS_AT_ONCE), split.labels.split(_ROWS_AT_ONCE), strict=True
                ):
                    counter.start_batch(labels)
                    logits = model(inputs)
                    wrong.append(predictions(logits) != labels)
                    losses.append(self._loss.per_sample(logits, labels))
            values[f"{name}/error"] = torch.cat(wrong).float().mean()
            values["train/clean_loss" if name == "train" else f"{name}/loss"] = torch.cat(losses).mean()
            metrics = {layer: metric for layer, metric in counter.metrics.items() if metric.num_units}
            if metrics:
                of_layers = collect_layer_values(metrics)
                if name == "train":
                    of_layers |= self._turnovers[replica].measure(metrics)
                    self._keep_fires(replica, metrics)
                of_layers = select_layers(of_layers, layers=[*metrics], by_layer=self._by_layer)
                values |= {f"{name}/{key}": value for key, value in of_layers.items()}
        return (
            values
            | collect_norms(model, by_layer=self._norms_by_layer)
            | self._measure_gradients(splits["train"].inputs)
        )

    def _measure_apart(self, split: Split, given: Int64[Tensor, " n"]) -> dict[str, Tensor]:
        """Measure the network on samples with a right and a wrong label apart."""
        model, memorization = self._model, Memorization().to(given.device)
        activations = ActivationCounter(model, **self._counting | {"num_classes": len(GROUPS)})
        parts = (values.split(_ROWS_AT_ONCE) for values in (split.inputs, split.labels, given))
        with eval_mode(model), activations as counter:
            for inputs, clean, theirs in zip(*parts, strict=True):
                counter.start_batch(is_wrong(clean, theirs).long())
                logits = model(inputs)
                memorization.update(predictions(logits), clean, theirs, self._loss.per_sample(logits, theirs))
        metrics = {layer: metric for layer, metric in counter.metrics.items() if metric.num_units}
        values = memorization.compute() | (activity_by_group(metrics) if metrics else {})
        return {f"train/{key}": value for key, value in values.items()}

    def _measure_gradients(self, inputs: Float[Tensor, "n *shape"]) -> dict[str, Tensor]:
        if not self._gradient_samples:
            return {}
        num = min(len(inputs), self._gradient_samples)
        rows = torch.arange(num, device=inputs.device) * len(inputs) // num
        norms = gradient_norms(self._model, inputs[rows])
        return name_gradient_norms({layer: values.double().mean().float() for layer, values in norms.items()})

    def _keep_fires(self, replica: int, metrics: dict[str, ActivationSparsity]) -> None:
        layers = list(metrics.values())
        if len(layers) == 1 and layers[0].num_classes is not None:
            self._fires[replica] = layers[0].fires.cpu()

    def finite(self) -> Bool[Tensor, " replicas"]:
        """Return which replicas have finite weights only."""
        return self.networks.finite()

    def copy_to(self, model: nn.Module, replica: int) -> None:
        """Write the weights and buffers of one replica into a network."""
        self.networks.copy_to(model, replica)

    def fires(self) -> Int64[Tensor, "replicas classes units"] | None:
        """Return how often each unit fired for each class, where one layer is measured."""
        if len(self._fires) < len(self):
            return None
        return torch.stack([self._fires[replica] for replica in range(len(self))])

    def state(self) -> dict[str, Any]:
        """Return the state of the optimisers, which units were alive, and the counts of the last measurement."""
        return {
            "optimizers": self.networks.optimizer_state(),
            "live": [changes.live for changes in self._turnovers],
            "fires": self._fires,
            "num_steps": self.networks.num_steps,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore the state of the run that is resumed."""
        self.networks.load_optimizer_state(state["optimizers"])
        for changes, live in zip(self._turnovers, state["live"], strict=True):
            changes.live = live
        self._fires = state["fires"]
        self.networks.num_steps = state.get("num_steps", 0)  # an older version had none, and no noise to draw by it
