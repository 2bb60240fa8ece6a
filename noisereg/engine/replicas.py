"""Train R networks at once, one sample a step, and measure each of them."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, pairwise, product
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int64
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from noisereg.datasets import Split
from noisereg.engine import Blocked, Fused, Stack
from noisereg.engine.chunks import Timeline
from noisereg.engine.measure import Scores, one_thread_each, score, sizes
from noisereg.losses import Loss
from noisereg.metrics import turnover

log = logging.getLogger(__name__)
_Group = tuple[list[int], dict[str, Split]]  # replicas, and the splits that they share
_SCORED_BYTES = 2**25  # of data at a time, as all of them may not fit into memory; one group a thread may take more


@runtime_checkable
class ReplicaLogger(Protocol):
    """What a Lightning logger defines if it wants the values of each replica."""

    def log_replicas(
        self, values: Mapping[str, Float[Tensor, " replicas"]], *, step: int, epoch: int, running: Bool[Tensor, " r"]
    ) -> None:
        """Take the values that were measured after so many steps and epochs, of those replicas that were running."""


class Replicas(LightningModule):
    """Stacked networks that are trained by an engine, with the learning rate, the noise and the end of each its own.

    A batch is a chunk of steps, see `ReplicaData`; the targets come from `ReplicaCorruption`, else the labels are
    learned. At the start and after each Lightning epoch, which is a stretch of epochs between two measurements, every
    running replica is measured: errors, losses and active neurons on each split, norms and biases. The values go to
    every logger that is a `ReplicaLogger`; the means over the replicas are in `trainer.callback_metrics`.

    A replica whose weights are no longer finite is stopped, and so is one that has fitted its training data for long
    enough, if that is asked for. When all have stopped, the training ends.

    Args:
        stack: the networks.
        engine: makes the steps.
        loss: that the engine minimises, and that is measured on clean labels.
        plan: of the training.
        rates: learning rate of each replica in each epoch, (num_epochs, R) or (1, R) for constant ones.
        extra_epochs: stop a replica so many epochs after the first measurement that finds no error on the clean labels
            of its training data; None to train all to the end.
        names: of the replicas, for messages; None for their numbers.

    Attributes:
        fires: how often each hidden neuron fired for each class in a replica's last measurement on the training split,
            (R, classes, hidden); single neurons have no hidden ones, (R, classes, 0). A checkpoint holds it.

    Raises:
        FloatingPointError: when the weights of every replica have become infinite or nan.

    Source: Cornacchia, Hazla, Nachum, Yehudayoff, arXiv 2111.02154, sections 3 and 6.
    """

    draws: Int64[Tensor, ""]
    active: Bool[Tensor, " replicas"]
    finite: Bool[Tensor, " replicas"]
    epochs: Int64[Tensor, " replicas"]
    fitted_epoch: Int64[Tensor, " replicas"]
    fires: Int64[Tensor, "replicas classes hidden"]

    def __init__(
        self,
        stack: Stack,
        engine: Fused | Blocked,
        loss: Loss,
        *,
        plan: Timeline,
        rates: Float[Tensor, "epochs replicas"],
        extra_epochs: int | None = None,
        names: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.stack, self.loss, self.plan = stack, loss, plan
        self._engine, self._rates, self._extra_epochs = engine, rates, extra_epochs
        self._names = names or [f"replica {number}" for number in range(len(stack))]
        self._noted: dict[str, Tensor] = {}
        self.measured: dict[str, Tensor] = {}
        self.register_buffer("draws", torch.zeros((), dtype=torch.int64))
        self.register_buffer("active", torch.ones(len(stack), dtype=torch.bool))
        self.register_buffer("finite", torch.ones(len(stack), dtype=torch.bool))
        self.register_buffer("epochs", torch.zeros(len(stack), dtype=torch.int64))
        self.register_buffer("fitted_epoch", torch.full((len(stack),), -1))
        num_classes, hidden = max(stack.output.shape[1], 2), 0 if stack.hidden is None else stack.hidden.shape[2]
        self.register_buffer("fires", torch.zeros(len(stack), num_classes, hidden, dtype=torch.int64))

    @property
    def steps_done(self) -> int:
        """Steps that each running replica has made."""
        return self.plan.steps(int(self.draws))

    @property
    def epochs_done(self) -> float:
        """Epochs that each running replica has made."""
        return int(self.draws) / self.plan.n

    def note(self, values: Mapping[str, Float[Tensor, " replicas"]]) -> None:
        """Add values of each replica to the next measurement."""
        self._noted |= values

    def configure_callbacks(self) -> list[Callback]:
        """Leave the cores to a fused engine, which has threads of its own."""
        return [_OneTorchThread()] if isinstance(self._engine, Fused) else []

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Make an optimiser that moves nothing: Lightning counts its steps, and the engine makes ours."""
        return torch.optim.SGD(self.stack.parameters(), lr=0.0)

    def on_train_start(self) -> None:
        """Measure the untrained networks."""
        if int(self.draws) == 0:
            self._measure()

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Train the running replicas on a chunk."""
        running = self.active.nonzero().flatten()
        if not len(running):  # the last one was stopped since the last measurement
            return
        targets, rows, stack = batch.get("target", batch["label"]), batch["row"], self.stack
        if len(running) < len(stack):
            targets, rows, stack = targets[running], rows[running], stack.select(running)
        for steps in _constant_stretches(batch["epoch"].cpu(), self._rates):
            rates = self._rates[min(int(batch["epoch"][steps.start]), len(self._rates) - 1)].to(targets.device)
            how = {"index": rows[:, steps], "targets": targets[:, steps], "rates": rates[running]}
            self._engine(stack, batch["input"], **how)
        if stack is not self.stack:
            self.stack.put(running, stack)
        self.draws += len(batch["epoch"])
        self._stop_diverged()
        self.optimizers().step()  # type: ignore[union-attr]

    def on_train_epoch_end(self) -> None:
        """Measure, and stop what has trained for long enough."""
        if self.active.any():
            self._measure()
        if not self.active.any():
            self.trainer.should_stop = True

    def status(self) -> list[dict[str, Any]]:
        """Say of each replica's training how long it was, what ended it, and when it first fitted its data."""
        return [
            {
                "epochs": epochs,
                "ended_by": "non-finite weights" if not finite else "zero train error" if not active else "budget",
                **({"fitted_epoch": fitted} if fitted >= 0 else {}),
            }
            for epochs, finite, active, fitted in zip(
                *(t.tolist() for t in (self.epochs, self.finite, self.active, self.fitted_epoch)), strict=True
            )
        ]

    def _stop_diverged(self) -> None:
        diverged = self.active & ~self.stack.finite()
        if not diverged.any():
            return
        self.finite &= ~diverged
        self.active &= ~diverged
        self.epochs[diverged] = epoch = int(self.draws) // self.plan.n
        names = ", ".join(self._names[replica] for replica in diverged.nonzero().flatten().tolist())
        told = (
            f"infinite or nan weights by step {self.steps_done} (epoch {epoch}) of {names}: try a smaller optimizer.lr"
        )
        if not self.finite.any():
            raise FloatingPointError(told)
        log.warning("%s; these replicas are stopped, the others go on", told)

    @torch.no_grad()
    def _measure(self) -> None:
        running, epoch = self.active.clone(), int(self.draws) // self.plan.n
        before = self.fires.any(dim=1)
        scores = self._scores(running.tolist())
        values = scores | self._turnover(before) | sizes(self.stack) | self._noted
        self._noted, self.measured = {}, values
        self.epochs[running] = epoch
        fitted = running & (values["train/error"] == 0) & (self.fitted_epoch < 0)
        self.fitted_epoch[fitted] = epoch
        if self._extra_epochs is not None:
            self.active &= ~((self.fitted_epoch >= 0) & (epoch >= self.fitted_epoch + self._extra_epochs))
        for logger in self.loggers:
            if isinstance(logger, ReplicaLogger):
                logger.log_replicas(values, step=self.steps_done, epoch=epoch, running=running)
        self.trainer.callback_metrics.update({key: value[running].float().mean() for key, value in values.items()})

    def _turnover(self, before: Bool[Tensor, "replicas hidden"]) -> dict[str, Float[Tensor, " replicas"]]:
        """Compare who is alive with the last measurement; the first one finds no change."""
        if not self.fires.shape[2]:
            return {}
        after = self.fires.any(dim=1)
        return {f"train/{key}": units for key, units in turnover(before if self.draws else after, after).items()}

    def _scores(self, running: Sequence[bool]) -> dict[str, Tensor]:
        """Score the running replicas on every split, each by one thread; the others have nan."""
        threads = self._engine.threads if isinstance(self._engine, Fused) else _torch_threads(self.device)
        found: dict[str, list[tuple[list[int], Scores]]] = {}
        groups = self.trainer.datamodule.groups()  # type: ignore[attr-defined]
        with one_thread_each(threads) as map_all:
            for some in _several(groups, threads):
                parts = max(1, threads // len(some))
                tasks = [
                    (share, name, split)
                    for replicas, splits in some
                    for share, (name, split) in product(_shares(replicas, running, parts), splits.items())
                ]
                for (share, name, _), scores in zip(tasks, map_all(self._score, tasks), strict=True):
                    found.setdefault(name, []).append((share, scores))
        values = {}
        for name, pairs in found.items():
            shares, scores = zip(*pairs, strict=True)
            replicas, together = torch.tensor(list(chain(*shares)), device=self.device), Scores.together(scores)
            if name == "train":
                self.fires[replicas] = together.fires
            for key, value in together.named(name).items():
                values[key] = value.new_full((len(running),), torch.nan).index_copy(0, replicas, value)
        return values

    def _score(self, task: tuple[list[int], str, Split]) -> Scores:
        share, _, split = task
        num_classes = self.trainer.datamodule.num_classes  # type: ignore[attr-defined]
        return score(self.stack, share, split.inputs, split.labels, loss=self.loss, num_classes=num_classes)


class _OneTorchThread(Callback):
    """Give torch one thread while a training lasts.

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


def _torch_threads(device: torch.device) -> int:
    return torch.get_num_threads() if device.type == "cpu" else 1


def _several(groups: Iterable[_Group], threads: int) -> Iterator[list[_Group]]:
    """Take groups together, one for each thread and as many more as are small."""
    some: list[_Group] = []
    size = 0
    for group in groups:
        some.append(group)
        size += sum(split.inputs.nbytes for split in group[1].values())
        if len(some) >= threads and size > _SCORED_BYTES:
            yield some
            some, size = [], 0
    if some:
        yield some


def _shares(replicas: Sequence[int], running: Sequence[bool], parts: int) -> list[list[int]]:
    """Part those that are running."""
    left = [replica for replica in replicas if running[replica]]
    return [left[first::parts] for first in range(min(parts, len(left)))]


def _constant_stretches(epoch: Int64[Tensor, " steps"], rates: Tensor) -> list[slice]:
    """Cut a chunk where the learning rate of a replica changes.

    After an odd number of steps the next one stands alone, so that what an engine takes as pairs does not depend on
    where the chunk began.
    """
    edges = [0, len(epoch)]
    if len(rates) > 1:
        ends = (epoch[1:] != epoch[:-1]).nonzero().flatten() + 1
        changes = ends[(rates[epoch[ends]] != rates[epoch[ends - 1]]).any(dim=1)].tolist()
        edges = sorted({*edges, *changes, *(change + change % 2 for change in changes if change < len(epoch))})
    return [slice(first, stop) for first, stop in pairwise(edges)]
