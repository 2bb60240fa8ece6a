"""Log how many neurons are active, dead and associated with a class, for any LightningModule that has ReLUs."""

import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_warn
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch import nn

from noisereg.callbacks.train_pass import can_visit, visit_training_data
from noisereg.datasets.batch import describe_batch, inputs_of, labels_of, split_names
from noisereg.metrics import ActivationSparsity, ReluCounter, Turnover, collect_layer_values, find_relus, why_no_relus
from noisereg.metrics.relus import KEEP_SIGN, RELUS

_MAX_CLASSES = 100  # beyond, a histogram a unit is not kept unless asked for


class SparsityMonitor(Callback):
    """Measure which units of the ReLUs fire, in the validation and test loops and on the training data.

    It logs, over all layers together, `<split>/active_neurons`, `active_fraction`, `dead_fraction`,
    `always_on_fraction` and, where classes are counted, `associated_neurons`, `associated_by_rate_neurons` and
    `label_entropy`; and by layer, if there are several, `<split>/active_fraction/<layer>` and
    `<split>/dead_fraction/<layer>`. For ReLUs on images, (batch, C, H, W), it also logs `dead_channel_fraction`, over
    all of them and by layer: the share of the channels that fire nowhere on any sample. On the training data it also
    logs, of all layers and of each, `train/died_neurons` and `train/revived_neurons`: how many units have died and
    revived since the last measurement, 0 at the first. The metrics of the last measurement stay in
    `metrics[split][layer]`.

    The splits of the validation loaders are called by the datamodule's `eval_splits`, or else val, val2, ...; those of
    the test loaders test, test2, ... If no validation loader is called train, the monitor makes a pass of its own over
    the training data, in order and in eval mode, at the end of a due epoch. It moves no random generator, and the
    weights after training are the same bits with it and without it.

    Any network is measured as it is, if its activations are modules; one that is called twice in a pass is two layers,
    "relu" and "relu:2". Other activations are not measured until they are chosen by name, which a warning says at the
    start; active is then what has an output > 0. Outputs must have the batch as their first axis.

    With several processes each takes its share of that pass, each sample once, and the counts add up. Validation and
    test count what the loaders deliver; the sampler that Lightning puts in there repeats samples to even the shares.

    Args:
        every_n_epochs: measure in every n-th epoch of training; `trainer.validate` and `trainer.test` always measure.
        layers: patterns of the names of the ReLUs, or of other modules, to keep, as in `find_relus`; None: all ReLUs.
        num_classes: count by class; None: as many as the datamodule's `num_classes` if that is at most 100 and the
            batches hold labels, else none. Labels are a dict batch's "label" or a list batch's second entry.
        max_train_samples: of the monitor's own pass; None: all; 0: no pass.
        name: of the monitor, in front of what it logs, as in `<name>/<split>/active_neurons`. A trainer may have
            several monitors of different names; none, and nothing is put in front, for the only one.

    Raises:
        ValueError: if a number is out of range, or the name holds other signs than letters, digits, _ and -; when a
            loop starts, if a pattern matches nothing.

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
    ) -> None:
        if every_n_epochs < 1:
            raise ValueError(f"every_n_epochs must be at least 1, got {every_n_epochs}")
        if isinstance(layers, str):
            raise ValueError(f"layers must be a list of patterns, got the string {layers!r}: write [{layers!r}]")
        if layers is not None and not layers:
            raise ValueError("layers must name something to measure, or be None for all ReLUs, got an empty list")
        if num_classes is not None and num_classes < 2:
            raise ValueError(f"num_classes must be at least 2 or None, got {num_classes}")
        if max_train_samples is not None and max_train_samples < 0:
            raise ValueError(f"max_train_samples must be at least 0 or None, got {max_train_samples}")
        if not re.fullmatch(r"[\w-]*", name):
            raise ValueError(f"name must hold letters, digits, _ and - only, got {name!r}")
        self.name = name
        self.metrics: dict[str, dict[str, ActivationSparsity]] = {}
        self._every_n_epochs = every_n_epochs
        self._layers = layers
        self._num_classes = num_classes
        self._max_train_samples = max_train_samples
        self._counters: dict[str, ReluCounter] = {}
        self._hooked: ReluCounter | None = None
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
        """Check the patterns, and warn if there is nothing to measure."""
        self.find(pl_module)

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
        """Install the hooks if this epoch is due."""
        if not trainer.sanity_checking and self._due(trainer):
            datamodule = trainer.datamodule  # type: ignore[attr-defined]
            splits = split_names(datamodule, default="val", num_loaders=len(trainer.num_val_batches))
            self._start(trainer, pl_module, splits)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Install the hooks."""
        self._start(trainer, pl_module, split_names(None, default="test", num_loaders=len(trainer.num_test_batches)))

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Start the batch in the counter of its loader, with its clean labels."""
        self._start_batch(batch, dataloader_idx)

    def on_test_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Start the batch in the counter of its loader, with its clean labels."""
        self._start_batch(batch, dataloader_idx)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log, and remove the hooks."""
        self._finish(pl_module)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log, and remove the hooks."""
        self._finish(pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure on the training data if no validation loader does."""
        if self._due(trainer) and self._wants_train_pass(trainer, pl_module) and can_visit(trainer.train_dataloader):
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

    def find(self, module: nn.Module) -> dict[str, nn.Module]:
        """Find what is measured of a network, and warn once of activations that are not, or of what is none.

        Args:
            module: any network.

        Returns:
            The modules by the names of their layers.

        Raises:
            ValueError: if a pattern matches nothing.
        """
        found = find_relus(module, self._layers)
        if not self._has_warned and (warning := _unmeasured(module, found, is_chosen=self._layers is not None)):
            rank_zero_warn(warning)
            self._has_warned = True
        return found

    def _due(self, trainer: Trainer) -> bool:
        return trainer.state.fn != TrainerFn.FITTING or (trainer.current_epoch + 1) % self._every_n_epochs == 0

    def _wants_train_pass(self, trainer: Trainer, pl_module: LightningModule) -> bool:
        evaluated = getattr(trainer.datamodule, "eval_splits", ())  # type: ignore[attr-defined]
        measured = trainer.enable_validation and "train" in evaluated
        return self._max_train_samples != 0 and not measured and bool(find_relus(pl_module, self._layers))

    def _start(self, trainer: Trainer, pl_module: LightningModule, splits: Sequence[str]) -> None:
        self._close()
        if relus := self.find(pl_module):
            num_classes = self._num_classes or _num_classes(trainer)
            self._counters = {split: ReluCounter(relus, num_classes=num_classes) for split in splits}

    def _start_batch(self, batch: Any, dataloader_idx: int) -> None:
        if not self._counters:
            return
        counter = list(self._counters.values())[dataloader_idx]
        if counter is not self._hooked:
            self._hooks.close()
            self._hooked = self._hooks.enter_context(counter)
        labels = labels_of(batch)
        if labels is None and self._num_classes is not None:
            raise ValueError(
                "num_classes needs batches with int64 labels: a dict with 'label' or a list whose second entry they "
                f"are, got {describe_batch(batch)}; or set num_classes=None"
            )
        counter.start_batch(labels)

    def _finish(self, pl_module: LightningModule) -> None:
        self._hooks.close()
        for split, counter in self._counters.items():
            metrics = {
                layer: metric for layer, metric in counter.gathered(pl_module.device).items() if metric.num_units
            }
            if metrics:
                self.metrics[split] = metrics
                changes = self._turnover.measure(metrics) if split == "train" else {}
                values = collect_layer_values(metrics, find_relus(pl_module)) | changes
                place = f"{self.name}/{split}" if self.name else split
                pl_module.log_dict({f"{place}/{key}": value for key, value in values.items()}, sync_dist=True)
        self._close()

    def _close(self) -> None:
        self._hooks.close()
        self._counters, self._hooked = {}, None


def _unmeasured(module: nn.Module, found: Mapping[str, nn.Module], *, is_chosen: bool) -> str | None:
    """Describe which activations are not measured, or what is in place of one; None if there is nothing to say."""
    if is_chosen:
        return _no_activations(found)
    if reason := why_no_relus(module):
        return f"SparsityMonitor measures nothing: {reason}"
    others = [child for child in module.modules() if isinstance(child, KEEP_SIGN) and child not in found.values()]
    if not others:
        return None
    kinds = ", ".join(dict.fromkeys(type(child).__name__ for child in others))
    return (
        f"SparsityMonitor measures {len(found)} ReLUs; {len(others)} other activations ({kinds}) are not measured: to "
        "count where their outputs are > 0, name them beside the ReLUs in layers=[...]"
    )


def _no_activations(found: Mapping[str, nn.Module]) -> str | None:
    """Describe the chosen modules that are no activations, of which the outputs are counted."""
    others = {name: child for name, child in found.items() if not isinstance(child, (*RELUS, *KEEP_SIGN))}
    if not others:
        return None
    shown = ", ".join(f"{name} ({type(child).__name__})" for name, child in others.items())
    inner = [name for name, child in others.items() if any(isinstance(part, RELUS) for part in child.modules())]
    mend = f"; for the ReLUs inside: layers=['{inner[0]}.*']" if inner else ""
    return f"SparsityMonitor counts where the outputs of {shown} are > 0, which is no activation{mend}"


def _num_classes(trainer: Trainer) -> int | None:
    num_classes = getattr(trainer.datamodule, "num_classes", None)  # type: ignore[attr-defined]
    return num_classes if isinstance(num_classes, int) and 2 <= num_classes <= _MAX_CLASSES else None
