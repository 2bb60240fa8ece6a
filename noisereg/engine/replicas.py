"""The LightningModule of many networks that an engine trains at once, a chunk of steps at a time."""

import logging
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Bool, Float, Int64
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from noisereg.engine.chunks import Timeline
from noisereg.engine.engine import Engine, Given
from noisereg.engine.measurement import Measurement, Observer
from noisereg.engine.sgd import STEPS_IN_A_PASS

log = logging.getLogger(__name__)

GivenLabels = Callable[[int, Tensor, Tensor, int], Tensor | None]


class Replicas(LightningModule):
    """R networks that are trained at once, with the learning rate, the noise and the end of each its own.

    A batch is a chunk of steps, see `ReplicaData`; the targets come from `LabelCorruption`, else the labels are
    learned. At the start and after each Lightning epoch, which is a stretch of epochs between two measurements, every
    running replica is measured. The measurement goes to every logger that is an `Observer`; the means over the replicas
    are in `trainer.callback_metrics`.

    A replica whose weights are no longer finite is stopped, and so is one that has fitted its training data for long
    enough, if that is asked for. When all have stopped, the training ends.

    Args:
        engine: the networks, and what trains and measures them.
        timeline: of the training.
        rates: learning rate of each replica in each epoch, (num_epochs, R) or (1, R) for constant ones.
        extra_epochs: stop a replica so many epochs after the first measurement that finds no error on the clean labels
            of its training data; None to train all to the end.
        names: of the replicas, for messages; None for their numbers.

    Attributes:
        measured: the values of the last measurement by name, (R,), nan for replicas that had stopped.
        given_labels: from a replica, clean labels, indices and an epoch to the labels that it is given there; None
            where labels do not stay. `LabelCorruption` sets it.

    Raises:
        FloatingPointError: when the weights of every replica have become infinite or nan.

    Source: Cornacchia, Hazla, Nachum, Yehudayoff, arXiv 2111.02154, sections 3 and 6.
    """

    draws: Int64[Tensor, ""]
    active: Bool[Tensor, " replicas"]
    finite: Bool[Tensor, " replicas"]
    epochs: Int64[Tensor, " replicas"]
    fitted_epoch: Int64[Tensor, " replicas"]
    losses: Float[Tensor, " replicas"]

    def __init__(
        self,
        engine: Engine,
        *,
        timeline: Timeline,
        rates: Float[Tensor, "epochs replicas"],
        extra_epochs: int | None = None,
        names: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.engine, self.networks, self.timeline = engine, engine.networks, timeline
        self._rates, self._extra_epochs = rates, extra_epochs
        self._names = names or [f"replica {number}" for number in range(len(engine))]
        self._noted: dict[str, Tensor] = {}
        self.measured: dict[str, Tensor] = {}
        self.given_labels: GivenLabels | None = None
        self.register_buffer("draws", torch.zeros((), dtype=torch.int64))
        self.register_buffer("active", torch.ones(len(engine), dtype=torch.bool))
        self.register_buffer("finite", torch.ones(len(engine), dtype=torch.bool))
        self.register_buffer("epochs", torch.zeros(len(engine), dtype=torch.int64))
        self.register_buffer("fitted_epoch", torch.full((len(engine),), -1))
        self.register_buffer("losses", torch.full((len(engine),), torch.nan, dtype=torch.float64))

    @property
    def steps_done(self) -> int:
        """Steps that each running replica has made."""
        return self.timeline.steps(int(self.draws))

    @property
    def epochs_done(self) -> float:
        """Epochs that each running replica has made."""
        return int(self.draws) / self.timeline.n

    def note(self, values: Mapping[str, Float[Tensor, " replicas"]]) -> None:
        """Add values of each replica to the next measurement."""
        self._noted |= values

    def configure_callbacks(self) -> list[Callback]:
        """Return what leaves the cores to an engine that has threads of its own."""
        return [_OneTorchThread()] if self.engine.threads else []

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Make an optimiser that moves nothing: Lightning counts its steps, and the engine makes ours."""
        return _StepCount(self.networks.parameters(), {"lr": 0.0})

    def on_train_start(self) -> None:
        """Measure the untrained networks."""
        if int(self.draws) == 0:
            self._measure()

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Train the running replicas on a chunk."""
        running = self.active.nonzero().flatten()
        if not len(running):  # the last one was stopped since the last measurement
            return
        targets, rows = batch.get("target", batch["label"]), batch["row"]
        if len(running) < len(self.engine):
            targets, rows = targets[running], rows[running]
        if int(self.draws) % self.timeline.n == 0:  # the mean loss is that of an epoch
            self.losses.zero_()
        for steps in _constant_stretches(batch["epoch"].cpu(), self._rates):
            rates = self._rates[min(int(batch["epoch"][steps.start]), len(self._rates) - 1)].to(targets.device)
            chosen = {"index": rows[:, steps], "targets": targets[:, steps], "rates": rates[running]}
            losses = self.engine.train(batch["input"], replicas=running, **chosen)
            self.losses[running] += torch.nan if losses is None else losses
        self.draws += len(batch["epoch"])
        self._stop_diverged()
        self.optimizers().step()  # type: ignore[union-attr]

    def on_train_epoch_end(self) -> None:
        """Measure, and stop what has trained for long enough."""
        if self.active.any():
            self._measure()
        if not self.active.any():
            self.trainer.should_stop = True

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add to the checkpoint what the engine holds beside the weights."""
        checkpoint["engine"] = self.engine.state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore what the engine held beside the weights."""
        self.engine.load_state(checkpoint["engine"])

    def status(self, *, early: str | None = None) -> list[dict[str, Any]]:
        """Return of each replica how long it was trained, what ended that, and when it first fitted its data.

        Args:
            early: what ended the training of all that were still running; None if their plan did.
        """
        return [
            {
                "epochs": epochs,
                "ended_by": "non-finite weights"
                if not finite
                else "zero train error"
                if not active
                else early or "budget",
                **({"fitted_epoch": fitted} if fitted >= 0 else {}),
            }
            for epochs, finite, active, fitted in zip(
                *(t.tolist() for t in (self.epochs, self.finite, self.active, self.fitted_epoch)), strict=True
            )
        ]

    def _stop_diverged(self) -> None:
        diverged = self.active & ~self.engine.finite()
        if not diverged.any():
            return
        self.finite &= ~diverged
        self.active &= ~diverged
        self.epochs[diverged] = epoch = int(self.draws) // self.timeline.n
        names = ", ".join(self._names[replica] for replica in diverged.nonzero().flatten().tolist())
        report = (
            f"infinite or nan weights by step {self.steps_done} (epoch {epoch}) of {names}: try a smaller optimizer.lr"
        )
        if not self.finite.any():
            raise FloatingPointError(report)
        log.warning("%s; these replicas are stopped, the others go on", report)

    @torch.no_grad()
    def _measure(self) -> None:
        running, epoch = self.active.clone(), int(self.draws) // self.timeline.n
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        first = int(self.draws) == 0
        how: dict[str, Any] = {"num_classes": data.num_classes, "first": first, "given": self._given()}
        values = dict(self.engine.measure(data.groups(), running.tolist(), **how))
        if not self.losses[running].isnan().all():  # nan before the first step, and where an engine knows of none
            values["train/loss"] = self.losses / (int(self.draws) % self.timeline.n or self.timeline.n)
        values |= self._noted
        self._noted, self.measured = {}, values
        self.epochs[running] = epoch
        fitted = running & (values["train/error"] == 0) & (self.fitted_epoch < 0)
        self.fitted_epoch[fitted] = epoch
        if self._extra_epochs is not None:
            self.active &= ~((self.fitted_epoch >= 0) & (epoch >= self.fitted_epoch + self._extra_epochs))
        columns = {key: value[running].double().cpu().numpy() for key, value in values.items()}
        measurement = Measurement(self.steps_done, epoch, running.nonzero().flatten().tolist(), columns)
        for logger in self.loggers:
            if isinstance(logger, Observer):
                logger.observe(measurement)
        self.trainer.callback_metrics.update({key: value[running].float().mean() for key, value in values.items()})

    def _given(self) -> Given | None:
        """Return the labels that a replica was given in the last epoch, of the training samples that are evaluated."""
        look_up, data = self.given_labels, self.trainer.datamodule  # type: ignore[attr-defined]
        if look_up is None or not data.has_given_labels:
            return None
        epoch = max(int(self.draws) - 1, 0) // self.timeline.n

        def given(replica: int) -> Int64[Tensor, " n"] | None:
            labels, index = data.evaluated_training(replica)
            return look_up(replica, labels, index, epoch)

        return given


class _OneTorchThread(Callback):
    """Limit torch to one thread while a training lasts.

    What it does between two calls of the engine is small: threads that wait for each other after every operation cost
    more than they save, and the more so where other programs want the same cores.
    """

    _before = 0

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._before = torch.get_num_threads()
        torch.set_num_threads(1)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        torch.set_num_threads(self._before)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        if self._before:  # 0 if the training never began
            torch.set_num_threads(self._before)


class _StepCount(torch.optim.Optimizer):
    """An optimiser that moves nothing and has no state.

    Each method is one that torch would compile: its own ones load the compiler, which takes a second and 100 MB.
    """

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        self.param_groups.append({**self.defaults, **param_group, "params": list(param_group["params"])})

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        return closure() if closure else None

    def state_dict(self) -> dict[str, Any]:
        return {"state": {}, "param_groups": []}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        pass


def _constant_stretches(epoch: Int64[Tensor, " steps"], rates: Tensor) -> list[slice]:
    """Cut a chunk where the learning rate of a replica changes.

    It is cut again where a pass of an engine would have ended, so that which steps share one does not depend on where
    the chunk began.
    """
    edges = [0, len(epoch)]
    if len(rates) > 1:
        ends = (epoch[1:] != epoch[:-1]).nonzero().flatten() + 1
        changes = ends[(rates[epoch[ends]] != rates[epoch[ends - 1]]).any(dim=1)].tolist()
        ends_of_passes = (change + -change % STEPS_IN_A_PASS for change in changes)
        edges = sorted({*edges, *changes, *(end for end in ends_of_passes if end < len(epoch))})
    return [slice(first, stop) for first, stop in pairwise(edges)]
