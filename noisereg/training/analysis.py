"""What is measured of a trained network once, at the end: calibration, the plane of three classes, distinct units."""

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor, nn

from noisereg.datasets import InMemory
from noisereg.metrics import (
    Distinct,
    LastLayers,
    UnitCorrelation,
    calibration,
    class_plane,
    eval_mode,
    find_last_layers,
    project_features,
    reliability,
    tightness,
    watch_last_layers,
)
from noisereg.training.build import example_inputs

_CLASSES = 3  # the first ones, whose templates span the plane
_POINTS = 300  # of a class that are kept for a figure
_MAX_UNITS = 8192  # the matrix of their correlations takes half a gigabyte


@dataclass
class Analysis:
    """What came of an analysis.

    Attributes:
        values: by name, all finite.
        arrays: by name, what figures are drawn of.
        notes: what was left out although the network has it, and why.
    """

    values: dict[str, float] = field(default_factory=dict)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add_calibration(self, logits: Float[Tensor, "samples outputs"], labels: Int64[Tensor, " samples"]) -> None:
        """Add the calibration on the test split."""
        self._add({f"test/{key}": float(value) for key, value in calibration(logits, labels).items()})
        bins = reliability(logits, labels)
        for key in ("count", "confidence", "accuracy"):
            self.arrays[f"reliability_{key}"] = getattr(bins, key).cpu().numpy()

    def add_distinct(self, layer: str, distinct: Distinct) -> None:
        """Add how many units of a layer are distinct on the test split."""
        for key in ("neurons", "active_neurons", "active_fraction"):
            self._add({f"test/distinct_{key}/{layer}": float(getattr(distinct, key))})

    def add_points(self, split: str, points: Float64[Tensor, "samples 2"], labels: Int64[Tensor, " samples"]) -> None:
        """Add the points of a split on the plane; those of other classes are left out."""
        rows = [(labels == label).nonzero().squeeze(1) for label in range(_CLASSES)]
        chosen, kept = torch.cat(rows), torch.cat([row[:_POINTS] for row in rows]).sort().values
        self._add({f"{split}/tightness": float(tightness(points[chosen], labels[chosen]))})
        self.arrays[f"plane_{split}_points"] = points[kept].float().cpu().numpy()
        self.arrays[f"plane_{split}_labels"] = labels[kept].cpu().numpy()

    def _add(self, values: dict[str, float]) -> None:
        self.values |= {key: value for key, value in values.items() if math.isfinite(value)}


def analyse(
    module: nn.Module,
    data: InMemory,
    *,
    device: torch.device,
    context: Callable[[], AbstractContextManager[None]] = nullcontext,
    convert: Callable[[Tensor], Tensor] | None = None,
) -> Analysis:
    """Measure a trained network on whole splits, in eval mode and in this process alone.

    On the test split: `test/ece`, `test/nll` and `test/brier`, see `calibration`, and of the last ReLU, unless it has
    more than 8,192 units, `test/distinct_neurons/<layer>`, `test/distinct_active_neurons/<layer>` and
    `test/distinct_active_fraction/<layer>`, see `UnitCorrelation.distinct`; units are features of tokens, and positions
    of channels. On the test split and the evaluated part of the train split: `test/tightness` and `train/tightness` of
    the first three classes on the plane of their templates, see `class_plane`, for a network that ends in a linear
    layer of at least three outputs. What a network does not have is left out.

    Args:
        module: maps inputs to logits; its modes and device are put back.
        data: whose splits the network is shown.
        device: to compute on.
        context: makes the context of a forward pass, such as autocast.
        convert: inputs to the precision of the network; None for that of its weights.

    Returns:
        The values, and the arrays `reliability_count`, `reliability_confidence`, `reliability_accuracy`,
        `plane_classes`, `plane_templates`, and of each split `plane_<split>_points` and `plane_<split>_labels`, for
        the first 300 samples of each class.
    """
    weight = next(module.parameters())
    home, dtype = weight.device, weight.dtype
    module.to(device)  # a trainer leaves it on the CPU

    def run(inputs: Float[Tensor, "batch *shape"]) -> Float[Tensor, "batch outputs"]:
        with context():
            there = inputs.to(device)
            return module(convert(there) if convert else there.to(dtype))

    try:
        with eval_mode(module), torch.no_grad():
            return _analyse(module, data, run, device)
    finally:
        module.to(home)


def _analyse(module: nn.Module, data: InMemory, run: Callable[[Tensor], Tensor], device: torch.device) -> Analysis:
    found = Analysis()
    ends = find_last_layers(module, example_inputs(data.input_shape, num=1), run=run)
    project, units = _lay_plane(ends.linear, found), _correlate(ends, found)
    logits, labels, points = [], [], []
    watched = ends._replace(linear=ends.linear if project else None, relu=ends.relu if units else None)
    with watch_last_layers(watched) as last:
        for batch_labels, inputs in _batches(data, "test", device):
            labels.append(batch_labels)
            logits.append(run(inputs))
            if units is not None:
                units.update(last.activations)
            if project is not None:
                points.append(project(last.features))
    found.add_calibration(torch.cat(logits), torch.cat(labels))
    if units is not None:
        found.add_distinct(ends.layer, units.distinct())
    if project is not None:
        found.add_points("test", torch.cat(points), torch.cat(labels))
        train_labels, train_points = [], [points[0][:0]]
        with watch_last_layers(ends) as last:
            for batch_labels, inputs in _batches(data, "train", device):
                chosen = batch_labels < _CLASSES  # the network is run on no others
                train_labels.append(batch_labels[chosen])
                if chosen.any():
                    run(inputs[chosen])
                    train_points.append(project(last.features))
        found.add_points("train", torch.cat(train_points), torch.cat(train_labels))
    return found


def _lay_plane(layer: nn.Linear | None, found: Analysis) -> Callable[[Tensor], Tensor] | None:
    """Return what projects features on the plane of three classes; None if there is none."""
    if layer is None or layer.out_features < _CLASSES:
        return None
    templates = layer.weight[:_CLASSES]
    try:
        origin, basis = class_plane(templates)
    except ValueError as error:
        found.notes.append(f"the plane of three classes: {error}")
        return None
    found.arrays["plane_classes"] = np.arange(_CLASSES)
    project = partial(project_features, origin=origin, basis=basis)
    found.arrays["plane_templates"] = project(templates).float().cpu().numpy()
    return project


def _correlate(ends: LastLayers, found: Analysis) -> UnitCorrelation | None:
    if ends.num_units > _MAX_UNITS:
        found.notes.append(f"distinct units: {ends.layer} has {ends.num_units:,}, more than {_MAX_UNITS:,}")
    return UnitCorrelation() if 0 < ends.num_units <= _MAX_UNITS else None


def _batches(
    data: InMemory, split: str, device: torch.device
) -> Iterator[tuple[Int64[Tensor, " batch"], Float[Tensor, "batch *shape"]]]:
    """Yield labels and inputs of a whole split, although other processes may have a share of it."""
    loader = data.eval_loader(split)
    loader.batch_size = max(1, loader.batch_size // loader.world)
    loader.rank, loader.world = 0, 1
    for batch in loader:
        yield batch["label"].to(device), batch["input"]
