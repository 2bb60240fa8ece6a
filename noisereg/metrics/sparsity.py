"""How many units of a layer are active, as a torchmetrics metric whose state is whole numbers."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Bool, Float, Float64, Int64, Shaped
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.utilities.distributed import gather_all_tensors

from noisereg.metrics.counts import associated, associated_by_rate, count_firings, label_entropy, summarize_counts
from noisereg.metrics.threshold import Threshold

if TYPE_CHECKING:
    from noisereg.metrics.activation_counter import ActivationCounter


class ActivationSparsity(Metric):
    """Count which units of a layer fire, and derive active neurons, dead units and associated units from the counts.

    The state is three tensors of int64: `fires` (classes, units) and `samples` (classes,), summed over processes, with
    one row if classes are not told apart, and `unit_shape`. So the result is the same for any batch size, order or
    number of processes. With `dormant` there is a fourth, of float64, whose last bits depend on them. The first update
    fixes the units, until `reset`.

    All axes behind the first count units: a convolution's are its C * H * W positions, a transformer's its tokens *
    features. The units lie in the order of the axes whatever the layout in memory, so unit (c, h, w) has the number
    (c * H + h) * W + w. Where there are three axes, the first of them is taken for channels: `channel_firing_rate` and
    `dead_channels` look at these as wholes.

    Args:
        num_classes: how many classes to tell apart, at least 2; None: no labels are needed.
        threshold: above which output a unit is active, see `Threshold.parse`; None: above 0.
        magnitude: whether the absolute output is compared.
        dormant: tau, at least 0: a unit, or a channel as a whole, is dormant if its mean absolute activation is at most
            tau times that of the layer, see `dormant_units`; None: these means are not kept.
        kwargs: of `torchmetrics.Metric`.

    Raises:
        ValueError: if num_classes is below 2, or dormant is no number of at least 0.

    Example:
        >>> sparsity = ActivationSparsity()
        >>> sparsity.update(torch.tensor([[1.0, 0.0, 0.0], [2.0, 3.0, 0.0]]))
        >>> sparsity.compute()["active_neurons"]
        tensor(1.5000)
        >>> sparsity.dead
        tensor([False, False,  True])
        >>> convolution = ActivationSparsity()
        >>> convolution.update(torch.tensor([[[[1.0, 0.0]], [[0.0, 0.0]]]]))  # two channels of 1 x 2 positions
        >>> convolution.channel_firing_rate, convolution.dead_channels
        (tensor([0.5000, 0.0000]), tensor([False,  True]))

    Source: Cornacchia et al., "Regularization by Misclassification in ReLU Neural Networks", 2021, Definition 1.
    """

    is_differentiable = False
    higher_is_better = None
    full_state_update = True  # the state has no width before the first update, so two states cannot just be added

    fires: Int64[Tensor, "classes units"]
    samples: Int64[Tensor, "classes"]
    unit_shape: Int64[Tensor, "axes"]
    magnitudes: Float64[Tensor, "units"]

    def __init__(
        self,
        num_classes: int | None = None,
        *,
        threshold: float | str | Threshold | None = None,
        magnitude: bool = False,
        dormant: float | None = None,
        **kwargs: Any,
    ) -> None:
        if num_classes is not None and num_classes < 2:
            raise ValueError(f"num_classes must be at least 2, or None for no counts by class, got {num_classes}")
        if dormant is not None and not 0 <= dormant < math.inf:
            raise ValueError(f"dormant must be a number, at least 0, or None, got {dormant!r}")
        super().__init__(**{"dist_sync_fn": gather_counts, **kwargs})
        self.num_classes, self.dormant = num_classes, dormant
        self.threshold = Threshold.parse(threshold, magnitude=magnitude)
        rows = num_classes or 1
        self.add_state("fires", torch.zeros(rows, 0, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("samples", torch.zeros(rows, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("unit_shape", torch.zeros(0, dtype=torch.int64), dist_reduce_fx="max")
        if dormant is not None:
            self.add_state("magnitudes", torch.zeros(0, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, activations: Float[Tensor, "batch *units"], labels: Shaped[Tensor, "rows"] | None = None) -> None:
        """Count the firings of one batch.

        Args:
            activations: outputs of any float type; the first axis is the batch, which may have no rows.
            labels: clean labels in [0, num_classes), of any type of whole numbers; only looked at if num_classes was
                given.

        Raises:
            ValueError: if the number of units has changed, or labels are missing, too few, out of range or no whole
                numbers. Labels on an accelerator are checked by the device itself, so that nothing waits for it.
        """
        rows = activations.new_zeros(len(activations), dtype=torch.int64)
        if self.num_classes is not None:
            rows = _check_labels(labels, len(activations), self.num_classes)
        fires = count_firings(activations, rows, len(self.samples), threshold=self.threshold)
        self._fix_units(activations.shape[1:])
        self.fires = self.fires + fires
        self.samples = self.samples + torch.zeros_like(self.samples).index_add_(0, rows, torch.ones_like(rows))
        if self.dormant is not None:
            self.magnitudes = self.magnitudes + activations.abs().sum(dim=0, dtype=torch.float64).flatten()

    def compute(self) -> dict[str, Float[Tensor, ""]]:
        """Compute the metrics from the counts of all processes, see `summarize_counts`.

        A threshold other than 0 stands behind their names: `active_fraction_above_0.1_of_rms`.
        """
        suffix = self.threshold.suffix
        return {f"{key}{suffix}": value for key, value in summarize_counts(self.fires, self.samples).items()}

    def merge_state(self, incoming_state: dict[str, Any] | Metric) -> None:
        """Add the counts of another metric, or of its `metric_state`; one without `unit_shape` has flat units.

        Args:
            incoming_state: the other metric, or its state by name.

        Raises:
            ValueError: if it counts other classes or another number of units, has another threshold, or lacks the
                magnitudes that this keeps.
        """
        if not isinstance(incoming_state, Mapping | ActivationSparsity):
            raise ValueError(f"incoming_state must be a dict or an ActivationSparsity, got {type(incoming_state)}")
        if isinstance(incoming_state, ActivationSparsity) and incoming_state.threshold != self.threshold:
            raise ValueError(f"incoming_state must have {self.threshold} as this has, got {incoming_state.threshold}")
        state: Mapping[str, Any] = incoming_state.metric_state if isinstance(incoming_state, Metric) else incoming_state
        fires, samples = state["fires"], state["samples"]
        shape = state["unit_shape"].tolist() if "unit_shape" in state else fires.shape[1:]
        if len(samples) != len(self.samples):
            raise ValueError(f"incoming_state must count {len(self.samples)} classes as this does, got {len(samples)}")
        if self.dormant is not None and "magnitudes" not in state:
            raise ValueError(f"incoming_state must have magnitudes, as this is of dormant={self.dormant}")
        if fires.shape[1] == 0:
            return
        self.update(torch.empty(0, *shape, device=fires.device), samples.new_empty(0))
        self.fires = self.fires + fires
        self.samples = self.samples + samples
        if self.dormant is not None:
            self.magnitudes = self.magnitudes + state["magnitudes"]

    def gathered(self) -> "ActivationSparsity":
        """Return a metric that holds the counts of all processes and no longer asks them."""
        how: dict[str, Any] = {"threshold": self.threshold, "dormant": self.dormant}
        whole = ActivationSparsity(self.num_classes, **how, sync_on_compute=False).to(self.device)
        with self.sync_context(dist_sync_fn=self.dist_sync_fn):
            whole.merge_state(self.metric_state)
        return whole

    @staticmethod
    def watching(module: nn.Module, **how: Any) -> "ActivationCounter":
        """Count the activations of a whole network while a `with` block lasts, see `ActivationCounter`.

        Args:
            module: any network, compiled or wrapped as it may be.
            how: arguments of `ActivationCounter`.

        Raises:
            ValueError: when the block is left, if nothing was counted.

        Example:
            >>> net = nn.Sequential(nn.Linear(2, 3), nn.GELU())
            >>> with ActivationSparsity.watching(net, threshold=0.1) as counts:
            ...     _ = net(torch.ones(5, 2))
            >>> list(counts.compute())[:2]
            ['active_neurons_above_0.1', 'active_fraction_above_0.1']
        """
        from noisereg.metrics.activation_counter import ActivationCounter  # noqa: PLC0415  it is made of these metrics

        return ActivationCounter(module, **how)

    @property
    def num_units(self) -> int:
        """Number of units; 0 before the first update."""
        return self.fires.shape[1]

    @property
    def is_known(self) -> Bool[Tensor, ""]:
        """Whether no unit was nan on a sample, after which the counts say nothing of any unit."""
        return (self.fires >= 0).all()

    @property
    def firing_rate(self) -> Float[Tensor, "units"]:
        """Share of the samples on which each unit fires; nan if a unit of the layer was nan on one."""
        return (self.fires.sum(dim=0) / self.samples.sum()).where(self.is_known, torch.nan)

    @property
    def dead(self) -> Bool[Tensor, "units"]:
        """Units that fired on none of the samples."""
        return self.fires.sum(dim=0) == 0

    @property
    def always_on(self) -> Bool[Tensor, "units"]:
        """Units that fired on all of the samples."""
        return self.fires.sum(dim=0) == self.samples.sum()

    @property
    def has_channels(self) -> bool:
        """Whether the units are those of channels: positions in a plane, (C, H, W)."""
        return len(self.unit_shape) == 3

    @property
    def channel_firing_rate(self) -> Float[Tensor, "channels"]:
        """Share of the samples on which a unit of each channel fires, as a mean over its positions."""
        return self._split_channels(self.firing_rate).mean(dim=1)

    @property
    def dead_channels(self) -> Bool[Tensor, "channels"]:
        """Channels that fired on none of the samples, at none of their positions."""
        return self._split_channels(self.dead).all(dim=1)

    @property
    def dormant_units(self) -> Bool[Tensor, "units_or_channels"]:
        """Units, or channels where the units are their positions, that do little beside the others of the layer.

        Of unit i with mean absolute activation m_i over the samples, and positions, m_i / mean(m) <= tau. At tau = 0
        they are those whose output is always 0.

        Raises:
            ValueError: if the metric was built without tau.

        Example:
            >>> sparsity = ActivationSparsity(dormant=0.1)
            >>> sparsity.update(torch.tensor([[2.0, 0.0, 0.1], [4.0, 0.0, 0.0]]))
            >>> sparsity.dormant_units
            tensor([False,  True,  True])

        Source: Sokar, Agarwal, Castro, Evci, "The dormant neuron phenomenon in deep reinforcement learning", ICML 2023,
            definition 3.1.
        """
        if self.dormant is None:
            raise ValueError("dormant units need tau, got None: build ActivationSparsity(dormant=...)")
        means = self._split_channels(self.magnitudes).mean(dim=1) if self.has_channels else self.magnitudes
        return means <= self.dormant * means.mean()

    @property
    def histogram(self) -> Int64[Tensor, "units classes"]:
        """How often each unit fired for each class (section 6.5, appendix F).

        Raises:
            ValueError: if the metric was built without num_classes.
        """
        if self.num_classes is None:
            raise ValueError("counts by class need num_classes, got None: build ActivationSparsity(num_classes=...)")
        return self.fires.T

    @property
    def associated(self) -> Bool[Tensor, "units"]:
        """Units that fire at least twice as often for one class as for any other, by raw counts."""
        return associated(self.histogram)

    @property
    def associated_by_rate(self) -> Bool[Tensor, "units"]:
        """Units that fire at twice the rate for one class than for any other."""
        return associated_by_rate(self.histogram, self.samples)

    @property
    def label_entropy(self) -> Float[Tensor, "units"]:
        """Entropy of the class of a sample on which each unit fires, in bits; nan for dead units."""
        return label_entropy(self.histogram)

    def _fix_units(self, shape: torch.Size) -> None:
        num_units = shape.numel()
        if num_units == 0:
            raise ValueError("activations must have at least one unit, got none")
        if self.num_units == 0:
            self.fires = self.fires.new_zeros(len(self.samples), num_units)
            self.unit_shape = torch.tensor(shape, dtype=torch.int64, device=self.samples.device)
            if self.dormant is not None:
                self.magnitudes = self.magnitudes.new_zeros(num_units)
        if self.num_units != num_units:
            raise ValueError(
                f"activations must have {self.num_units} units as before, got {num_units}, as each is counted in its "
                "place: give all inputs one size or length, and each layer a metric of its own"
            )

    def _split_channels(self, values: Shaped[Tensor, "units"]) -> Shaped[Tensor, "channels positions"]:
        if not self.has_channels:
            raise ValueError(f"channels need activations (batch, C, H, W), got units {tuple(self.unit_shape.tolist())}")
        return values.unflatten(0, (int(self.unit_shape[0]), -1))


def summarize_layers(metrics: Sequence[ActivationSparsity]) -> dict[str, Float[Tensor, ""]]:
    """Compute the summary of several layers as if they were one: numbers add up, means are weighted by the units.

    Args:
        metrics: one a layer, at least one, all with units and with the same num_classes and threshold.

    Example:
        >>> wide, narrow = ActivationSparsity(), ActivationSparsity()
        >>> wide.update(torch.ones(2, 3))
        >>> narrow.update(torch.zeros(2, 1))
        >>> summarize_layers([wide, narrow])["active_fraction"]
        tensor(0.7500)
    """
    suffix = metrics[0].threshold.suffix
    summaries = [{key.removesuffix(suffix): value for key, value in metric.compute().items()} for metric in metrics]
    units = torch.tensor([metric.num_units for metric in metrics], dtype=torch.float32, device=metrics[0].device)
    columns = {key: torch.stack([summary[key] for summary in summaries]) for key in summaries[0]}
    pooled = {
        key: values.sum() if key.endswith("_neurons") else (values * units).sum() / units.sum()
        for key, values in columns.items()
    }
    if "label_entropy" in columns:  # of live units only, which a layer may have none of
        live = units * (1 - columns["dead_fraction"])
        pooled["label_entropy"] = (columns["label_entropy"].nan_to_num() * live).sum() / live.sum()
    return {f"{key}{suffix}": value for key, value in pooled.items()}


def gather_counts(counts: Tensor, group: Any = None) -> list[Tensor]:
    """Gather one state of all processes; a process that has seen nothing, and knows no units, gives zeros.

    Args:
        counts: a state of this process.
        group: of processes; None for all.
    """
    gathered = gather_all_tensors(counts, group)
    largest = max(gathered, key=Tensor.numel)
    return [part if part.numel() else torch.zeros_like(largest) for part in gathered]


def _check_labels(labels: Tensor | None, num_rows: int, num_classes: int) -> Int64[Tensor, "batch"]:
    if labels is None:
        raise ValueError(f"labels must be given with num_classes={num_classes}, got None")
    if labels.shape != (num_rows,):
        raise ValueError(f"labels must have shape ({num_rows},), one a row of activations, got {tuple(labels.shape)}")
    if labels.is_floating_point() or labels.is_complex():
        raise ValueError(f"labels must be whole numbers, got {str(labels.dtype).removeprefix('torch.')}")
    labels = labels.long()
    if labels.device.type == "cpu" and not bool(((labels >= 0) & (labels < num_classes)).all()):
        raise ValueError(f"labels must be in [0, {num_classes}), got {int(labels.min())} to {int(labels.max())}")
    return labels
