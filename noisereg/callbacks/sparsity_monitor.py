"""Log how many neurons are active, dead and associated with a class, for any LightningModule with activations."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from lightning.pytorch.utilities.model_helpers import is_overridden
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor, nn

from noisereg.callbacks.epoch_monitor import check_every_n_epochs, is_due
from noisereg.callbacks.train_pass import can_visit, visit_training_data
from noisereg.datasets.batch import describe_batch, inputs_of, labels_of, split_names
from noisereg.metrics import (
    GROUPS,
    ActivationCounter,
    ActivationSparsity,
    Threshold,
    Turnover,
    activity_by_group,
    check_by_layer,
    collect_layer_values,
    counted_classes,
    eval_mode,
    is_wrong,
    select_layers,
)
from noisereg.metrics.activations import Kind, find_activations, find_named


class SparsityMonitor(Callback):
    """Measure which units of the activations fire, in the validation and test loops and on the training data.

    It logs, over all layers together, `<split>/active_neurons`, `active_fraction`, `dead_fraction`,
    `always_on_fraction` and, where classes are counted, `associated_neurons`, `associated_by_rate_neurons` and
    `label_entropy`; and by layer, if there are several, `<split>/active_fraction/<layer>` and
    `<split>/dead_fraction/<layer>`, of the last two layers or, with by_layer="all", of each. For
    layers of channels, (batch, C, H, W), it also logs `dead_channel_fraction`, over all of them and by layer: the share
    of the channels that fire nowhere on any sample. On the training data it also logs, over all layers and by layer,
    `train/died_neurons` and `train/revived_neurons`: how many units have died and revived since the last measurement, 0
    at the first. Where `LabelCorruption` adds the labels that training samples are given throughout,
    `train/active_neurons_right`, `train/active_neurons_wrong` and the same of the fraction are the activity on samples
    whose label is right and wrong. The metrics of all layers of the last measurement stay in `metrics[split][layer]`.

    The splits of the validation loaders are called by the datamodule's `eval_splits`, or else val, val2, ...; those of
    the test loaders test, test2, ... If no validation loader is called train, the monitor makes a pass of its own over
    the training data, in order and in eval mode, at the end of a due epoch. It moves no random generator, and the
    weights after training are the same bits with it and without it.

    Any network is measured as it is, whether its activations are modules or calls of functions, see
    `ActivationCounter`: its ReLUs, or where it has none the others that are small on one side, such as GELU. One that
    is called twice in a pass is two layers, "relu" and "relu:2". Active is what has an output > 0, or above a threshold
    that then stands in the metrics' names: `active_fraction_above_0.1_of_rms`. The units of tokens are their features,
    whatever the lengths; padding is left out where a dict batch says what it is.

    With several processes each takes its share of that pass, each sample once, and the counts add up. Validation and
    test count what the loaders deliver; the sampler that Lightning puts in there repeats samples to even the shares.

    Args:
        every_n_epochs: measure in every n-th epoch of training; `trainer.validate` and `trainer.test` always measure.
        layers: patterns of the names of what to keep, as in `ActivationCounter`; None: the ReLUs, or else the others.
        num_classes: count by class; None: as many as the datamodule's `num_classes` if that is at most 100 and the
            batches hold labels, else none. Labels are a dict batch's "label" or a list batch's second entry, a number a
            sample or, beside inputs (batch, tokens, ...), a number a token.
        max_train_samples: of the monitor's own pass; None: all; 0: no pass.
        threshold: above which output a unit is active: a number, or "0.1 of rms" or "0.1 of largest", relative to the
            layer's outputs on the same sample; None: 0.
        magnitude: whether the absolute output is compared.
        dormant: tau, at least 0: also log `<split>/dormant_fraction`, the share of the units, or channels, whose mean
            absolute activation is at most tau times that of their layer; None: not.
        units: "features" or "positions"; None: features of tokens, positions of channels.
        batch_first: whether tokens come as (batch, tokens) or, if False, as (tokens, batch); None: as it is found.
        ignore_index: a label that marks samples or tokens to leave out.
        by_layer: which layers have values of their own: "last" for the last two, "all" for each; of those that `layers`
            names, each has.
        mask: what is true, or 1, for the tokens that count: the name of an entry of a dict batch, which need not be
            there, or a function of the batch; None: all count.
        name: of the monitor, in front of what it logs, as in `<name>/<split>/active_neurons`. A trainer may have
            several monitors of different names; none, and nothing is put in front, for the only one.
        required: whether it is an error if a network has nothing to measure; else a warning.

    Raises:
        ValueError: if a number is out of range, or the name holds other signs than letters, digits, _ and -; when a
            loop starts, if a pattern can match nothing; after its first pass, if a pattern matched nothing or nothing
            was found.

    Example:
        >>> from lightning import Trainer
        >>> trainer = Trainer(callbacks=[SparsityMonitor(every_n_epochs=5)], logger=False, accelerator="cpu")
    """

    def __init__(
        self,
        every_n_epochs: int = 1,
        *,
        layers: Sequence[str] | None = None,
        num_classes: int | None = None,
        max_train_samples: int | None = 10_000,
        name: str = "",
        threshold: float | str | None = None,
        magnitude: bool = False,
        dormant: float | None = None,
        units: str | None = None,
        batch_first: bool | None = None,
        ignore_index: int | None = -100,
        mask: str | Callable[[Any], Tensor | None] | None = "attention_mask",
        by_layer: str = "last",
        required: bool = True,
    ) -> None:
        if isinstance(layers, str):
            raise ValueError(f"layers must be a list of patterns, got the string {layers!r}: write [{layers!r}]")
        if layers is not None and not layers:
            raise ValueError("layers must name something to measure, or be None for all activations, got an empty list")
        if num_classes is not None and num_classes < 2:
            raise ValueError(f"num_classes must be at least 2 or None, got {num_classes}")
        if max_train_samples is not None and max_train_samples < 0:
            raise ValueError(f"max_train_samples must be at least 0 or None, got {max_train_samples}")
        if not re.fullmatch(r"[\w-]*", name):
            raise ValueError(f"name must hold letters, digits, _ and - only, got {name!r}")
        self.name, self.by_layer = name, check_by_layer(by_layer) if layers is None else "all"
        self._how: dict[str, Any] = {
            "layers": layers,
            "threshold": Threshold.parse(threshold, magnitude=magnitude),
            "dormant": dormant,
            "units": units,
            "batch_first": batch_first,
            "ignore_index": ignore_index,
            "required": False,  # `check` says what is missing
        }
        ActivationCounter(nn.Identity(), **(self._how | {"layers": None}))  # checks them
        self.metrics: dict[str, dict[str, ActivationSparsity]] = {}
        self._every_n_epochs = check_every_n_epochs(every_n_epochs)
        self._mask, self._required = mask, required or layers is not None or threshold is not None
        self._num_classes = num_classes
        self._max_train_samples = max_train_samples
        self._counters: dict[str, ActivationCounter] = {}
        self._hooked: ActivationCounter | None = None
        self._apart = ActivationCounter(nn.Identity())  # of training samples with a right and with a wrong label
        self._has_given = False
        self._hooks = ExitStack()
        self._turnover = Turnover()  # on the training data
        self._has_fitted = False
        self._has_warned = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Forget what was alive in an earlier training; a measurement before the first one counts."""
        if stage == "fit":
            self._turnover = Turnover() if self._has_fitted else self._turnover
            self._has_fitted = True

    @property
    def counting(self) -> dict[str, Any]:
        """The arguments of the `ActivationCounter` that counts what this measures; num_classes None to ask the data."""
        return {**self._how, "num_classes": self._num_classes}

    @property
    def state_key(self) -> str:
        """Return what tells the state of this monitor in a checkpoint from that of another one."""
        return type(self).__qualname__ + (f"({self.name})" if self.name else "")

    def state_dict(self) -> dict[str, Any]:
        """Return the live units of the last measurement on the training data."""
        return {"live": self._turnover.live}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the live units of the run that is resumed."""
        self._turnover.live = state_dict["live"]

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check the patterns, and warn of what is chosen and is no activation."""
        self.check(pl_module)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check that a pass over the training data is possible if it is needed."""
        if not self._wants_train_pass(trainer, pl_module):
            return
        if not is_overridden("forward", pl_module):
            raise ValueError(
                f"SparsityMonitor calls {type(pl_module).__name__}.forward(inputs) to measure on the training data, "
                "got a module without forward: define it, or set max_train_samples=0"
            )
        if not can_visit(trainer.train_dataloader):
            rank_zero_warn(
                "SparsityMonitor measures on the training data only if the loader is a DataLoader over a dataset with "
                f"len() and [], got {type(trainer.train_dataloader).__name__}: set max_train_samples=0 to silence this"
            )

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Install the hooks if this epoch is due; in the sanity check only to see that there is something to count."""
        if trainer.sanity_checking or is_due(trainer, self._every_n_epochs):
            datamodule = trainer.datamodule  # type: ignore[attr-defined]
            splits = split_names(datamodule, default="val", num_loaders=len(trainer.num_val_batches))
            self._start(trainer, pl_module, splits, is_step=_calls_steps(trainer, pl_module))

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Install the hooks."""
        splits = split_names(None, default="test", num_loaders=len(trainer.num_test_batches))
        self._start(trainer, pl_module, splits, is_step=_calls_steps(trainer, pl_module))

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Start the batch in the counter of its loader, with its clean labels."""
        self._start_batch(batch, dataloader_idx)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log, and remove the hooks."""
        self._finish(pl_module, logs=not trainer.sanity_checking)

    on_test_batch_start, on_test_epoch_end = on_validation_batch_start, on_validation_epoch_end

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure on the training data if no validation loader does."""
        if (
            is_due(trainer, self._every_n_epochs)
            and self._wants_train_pass(trainer, pl_module)
            and can_visit(trainer.train_dataloader)
        ):
            self._start(trainer, pl_module, ["train"])

            def measure(batch: Any) -> None:
                self._start_batch(batch, 0)
                pl_module(inputs_of(batch))

            visit_training_data(trainer, pl_module, max_samples=self._max_train_samples, visit=measure)
            self._finish(pl_module)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Remove the hooks."""
        self._close()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Remove the hooks."""
        self._close()

    def check(self, module: nn.Module, inputs: Any = None, *, num_classes: int | None = None) -> None:
        """Check that a network has what is to be measured, and warn once of what is not measured.

        Args:
            module: any network.
            inputs: of a trial pass, which alone shows calls of functions; None for none.
            num_classes: of the data, whose samples have a label each; None if they have none.

        Raises:
            ValueError: if a pattern can match nothing or, in the trial, matches nothing or labels fit in two ways.
        """
        counted = self._num_classes or counted_classes(num_classes)
        counter = ActivationCounter(module, **self._how | {"num_classes": counted})
        self._warn_once(_no_activations(module, self._how["layers"] or ()))
        if inputs is not None:
            has_labels = num_classes is not None and len(inputs) not in inputs.shape[1:]
            counter.start_batch(inputs.new_zeros(len(inputs), dtype=torch.int64) if has_labels else None)
            with isolate_rng(), eval_mode(module), torch.no_grad(), counter:
                module(inputs)
            self._check_found(counter, module)

    def _warn_once(self, warning: str | None) -> None:
        if warning and not self._has_warned:
            rank_zero_warn(warning)
            self._has_warned = True

    def _check_found(self, counter: ActivationCounter, module: nn.Module) -> None:
        """Raise, or warn once, where a network that was called has nothing to measure, or more than is measured."""
        counter.check()
        if counter.has_run and not counter.metrics:
            reason = f"SparsityMonitor measures nothing: {counter.describe_nothing()}"
            if self._required:
                raise ValueError(f"{reason}; or set required=False")
            self._warn_once(reason)
        elif self._how["layers"] is None:
            self._warn_once(_describe_unmeasured(module, counter.called))

    def _wants_train_pass(self, trainer: Trainer, pl_module: LightningModule) -> bool:
        evaluated = getattr(trainer.datamodule, "eval_splits", ())  # type: ignore[attr-defined]
        measured = trainer.enable_validation and "train" in evaluated
        return self._max_train_samples != 0 and not measured

    def _start(
        self, trainer: Trainer, pl_module: LightningModule, splits: Sequence[str], *, is_step: bool = False
    ) -> None:
        self._close()
        self._warn_once(_no_activations(pl_module, self._how["layers"] or ()))
        num_classes = getattr(trainer.datamodule, "num_classes", None)  # type: ignore[attr-defined]
        counted = self._num_classes or counted_classes(num_classes)
        how = self._how | {"num_classes": counted, "root_is_step": is_step}
        self._counters = {split: ActivationCounter(pl_module, **how) for split in splits}
        self._apart = ActivationCounter(pl_module, **how | {"num_classes": len(GROUPS)})

    def _start_batch(self, batch: Any, dataloader_idx: int) -> None:
        if not self._counters:
            return
        counter = list(self._counters.values())[dataloader_idx]
        if counter is not self._hooked:
            self._hooks.close()
            self._hooked = self._hooks.enter_context(counter)
        labels = labels_of(batch)
        given = batch.get("given") if isinstance(batch, Mapping) else None
        if given is not None and labels is not None:
            if not self._has_given:
                self._hooks.enter_context(self._apart)
                self._has_given = True
            self._apart.start_batch(is_wrong(labels, given).long(), mask=self._mask_of(batch))
        if labels is None and self._num_classes is not None:
            raise ValueError(
                "num_classes needs batches with int64 labels: a dict with 'label' or a list whose second entry they "
                f"are, got {describe_batch(batch)}; or set num_classes=None"
            )
        counter.start_batch(labels, mask=self._mask_of(batch))

    def _mask_of(self, batch: Any) -> Tensor | None:
        if isinstance(self._mask, str):
            return batch.get(self._mask) if isinstance(batch, Mapping) else None
        return self._mask(batch) if self._mask is not None else None

    def _finish(self, pl_module: LightningModule, *, logs: bool = True) -> None:
        self._hooks.close()
        for split, counter in self._counters.items():
            self._check_found(counter, pl_module)
            if not logs:
                continue
            if metrics := counter.gathered(pl_module.device):
                self.metrics[split] = metrics
                changes = self._turnover.measure(metrics) if split == "train" else {}
                values = collect_layer_values(metrics) | changes
                values = select_layers(values, layers=[*metrics], by_layer=self.by_layer)
                if split == "train":
                    values |= self._values_apart(pl_module.device)
                place = f"{self.name}/{split}" if self.name else split
                pl_module.log_dict({f"{place}/{key}": value for key, value in values.items()}, sync_dist=True)
        self._close()

    def _values_apart(self, device: torch.device) -> dict[str, Tensor]:
        """Return the activity on samples with a right and with a wrong label, if batches had given labels."""
        metrics = self._apart.gathered(device) if self._has_given else {}
        return activity_by_group(metrics) if metrics else {}

    def _close(self) -> None:
        self._hooks.close()
        self._has_given = False
        self._counters, self._hooked = {}, None


def _calls_steps(trainer: Trainer, pl_module: LightningModule) -> bool:
    """Return whether the module is called, from within a wrapper, for each step: its `forward` then is the step."""
    return trainer.strategy.model is not pl_module


def _describe_unmeasured(module: nn.Module, called: Collection[str]) -> str | None:
    """Describe which of the activations that were called are not measured, as there are ReLUs; None if all are."""
    relus, others = (
        [type(child).__name__ for name, child in find_activations(module, kinds).items() if name in called]
        for kinds in ([Kind.RELU], [Kind.RECTIFIER, Kind.TWO_SIDED])
    )
    if not relus or not others:
        return None
    kinds = ", ".join(dict.fromkeys(others))
    return (
        f"SparsityMonitor measures {len(relus)} ReLUs; {len(others)} other activations ({kinds}) are not measured: to "
        "count where their outputs are > 0, name them beside the ReLUs in layers=[...]"
    )


def _no_activations(module: nn.Module, layers: Sequence[str]) -> str | None:
    """Describe the chosen modules that are no activations, of which the outputs are counted."""
    others = {name: child for child, name in find_named(module, layers).items()}
    if not others:
        return None
    shown = ", ".join(f"{name} ({type(child).__name__})" for name, child in others.items())
    inner = [name for name, child in others.items() if find_activations(child, [Kind.RELU])]
    mend = f"; for the ReLUs inside: layers=['{inner[0]}.*']" if inner else ""
    return f"SparsityMonitor counts where the outputs of {shown} are > 0, which is no activation{mend}"
