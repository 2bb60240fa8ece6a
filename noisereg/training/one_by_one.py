"""The training of replicas one after the other, by Lightning's own loop with all that it offers."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import Callback
from rich.console import Console
from rich.text import Text

from noisereg.callbacks import EarlyEnd, LabelCorruption, SparsityMonitor, StopWhenFitted
from noisereg.config.check import Settings
from noisereg.config.plan import Plan
from noisereg.config.run_folder import ANALYSIS, CURVES, FIRES
from noisereg.config.same_run import Fingerprint
from noisereg.datasets import InMemory, check_shares
from noisereg.engine.classifier import Classifier
from noisereg.engine.measurement import Observer
from noisereg.runs.checkpoints import AtomicCheckpointIO
from noisereg.runs.ending import exclusive_folder
from noisereg.runs.environment import is_first_process
from noisereg.runs.lightning_logger import ObserverLogger
from noisereg.runs.progress import Display, RunDisplay, RunProgress
from noisereg.runs.reading import read_arrays
from noisereg.runs.record import RunRecord
from noisereg.terminal import print_lines
from noisereg.training.analysis import Analysis, analyse
from noisereg.training.build import (
    as_data_config_error,
    build,
    build_callback,
    build_loss,
    build_model,
    build_optimizer,
    build_regularizer,
    build_schedule,
    build_scheduler,
    convert_weights,
)
from noisereg.training.monitors import MonitorCheck
from noisereg.training.spread import ALONE, Spread
from noisereg.training.training import Training, build_same_data, save_arrays
from noisereg.training.workers import Outlet, Workers


class OneNetwork(Training):
    """Train one replica by Lightning's own loop.

    Args:
        plan: of one replica.
        data: of its seed.
        folder: where it is trained.
        console: to print on.
        engine: which one trains it, in words.
        display: of the whole run; None for one of its own.
        number: of the replica in the whole run.
    """

    def __init__(
        self,
        plan: Plan,
        data: InMemory,
        *,
        folder: Path,
        console: Console,
        engine: str = "single: one network",
        display: Display | None = None,
        number: int = 0,
    ) -> None:
        super().__init__(plan, data, folder=folder, console=console)
        (replica,), self.engine, settings = plan.replicas, engine, plan.settings
        with as_data_config_error(data):
            check_shares(data.epoch_size, data.batch_size, world=plan.num_processes)
        self.fit_data, self._checkpoints = data, folder / "checkpoints"
        self.module = build_module(settings, data, lr=replica["lr"], seed=replica["seed"])
        self._logger = ObserverLogger(self.curves, self.observers, replica=number)
        self._stop = StopWhenFitted(settings["stopping"]["extra_epochs"])
        callbacks: list[Callback] = [
            LabelCorruption(self.rules[0], seed=replica["seed"], schedule=build_schedule(settings)),
            RunProgress(display or RunDisplay(console, settings["trainer"]["max_epochs"]), place=number),
            self._logger,
            self._stop,
        ]
        where: dict[str, Any] = {"folder": folder, "network": self.module, "data": data}
        built = {name: build_callback(settings, name, **where) for name in settings["callbacks"]}
        given = [*built.values()]
        monitors = [callback for callback in given if isinstance(callback, SparsityMonitor) and not callback.name]
        self._monitor = monitors[-1] if monitors else None
        self._early_end = EarlyEnd(given)
        self.trainer = build(
            "trainer",
            settings["trainer"],
            callbacks=[*callbacks, *given, self._early_end, MonitorCheck(built)],
            logger=[self._logger],
            plugins=[AtomicCheckpointIO(self.origin)],
            enable_progress_bar=False,
            default_root_dir=str(folder),
        )
        self.device = self.trainer.strategy.root_device
        self.num_weights = sum(weight.numel() for weight in self.module.model.parameters())
        self.num_bytes = sum(tensor.nbytes for tensor in self.module.state_dict().values())
        self.has_diverged = False

    @property
    def steps(self) -> int:  # type: ignore[override]
        """Steps of the optimiser that were made."""
        return self.trainer.global_step

    def train(self) -> None:
        """Evaluate at the start, train, and evaluate at the end if the last epoch did not."""
        if self.start is None:
            with as_data_config_error(self.data):  # a callback may not fit the data
                self.trainer.validate(self.module, self.data, verbose=False)
        self.trainer.fit(self.module, self.data, ckpt_path=self.start, weights_only=True)
        if not self.curves.has_last("test/error"):
            self.trainer.validate(self.module, self.data, verbose=False)
        self.trainer.save_checkpoint(self._checkpoints / "last.ckpt")

    def finish(self) -> list[dict[str, Any]]:
        """Analyse the network in the first process, and wait there for it: the others read what it writes."""
        analysis = Analysis()
        if is_first_process() and not self.has_diverged:
            plugin = self.trainer.precision_plugin
            with self.console.status("analysing"):
                analysis = analyse(
                    self.module,
                    self.data,
                    device=self.device,
                    context=plugin.forward_context,
                    convert=plugin.convert_input,
                )
        epochs = self.trainer.current_epoch if self.has_diverged else int(self.module.epochs_done)
        status = {"epochs": epochs, "ended_by": self._ended_by()}
        if self._stop.fitted_epoch is not None:
            status["fitted_epoch"] = self._stop.fitted_epoch
        rows = self.leave_results([analysis], self._fires(), [status])
        self.trainer.strategy.barrier()
        return rows

    def _ended_by(self) -> str:
        """Return what ended the training."""
        if self.has_diverged:
            return "non-finite loss"
        return "zero train error" if self._stop.stopped else self._early_end.ended_by or "budget"

    def _fires(self) -> np.ndarray | None:
        """Return how often each unit fired for each class, where one layer is measured."""
        layers = list(self._monitor.metrics.get("train", {}).values()) if self._monitor else []
        if len(layers) != 1 or layers[0].num_classes is None:
            return None
        return layers[0].fires[None].cpu().numpy()


@dataclass(frozen=True)
class ReplicaFolders:
    """The replicas of a run, each of which is trained in a folder of its own below that of the run.

    A folder is that of a small run: with a record, curves and checkpoints.
    """

    plan: Plan
    folder: Path
    fingerprint: Fingerprint
    engine: str

    def folder_of(self, number: int) -> Path:
        """Return the folder of a replica."""
        return self.plan.replica_folder(number, self.folder)

    def record_of(self, number: int) -> RunRecord:
        """Read the record of a replica.

        Raises:
            ConfigError: if its folder holds another one, or one on other data.
        """
        record = RunRecord(self.folder_of(number), self.plan.settings_of(number))
        record.keep_data(self.fingerprint)
        return record

    def network(
        self, number: int, *, console: Console, display: Display | None = None, data: InMemory | None = None
    ) -> OneNetwork:
        """Build the training of a replica."""
        plan = Plan(self.plan.settings_of(number), shown=tuple(self.plan.names[0]))
        return OneNetwork(
            plan,
            data
            or build_same_data(
                plan.settings, plan.replicas[0]["seed"], fingerprint=self.fingerprint, folder=self.folder
            ),
            folder=self.folder_of(number),
            console=console,
            engine=self.engine,
            display=display,
            number=number,
        )

    def train(self, network: OneNetwork, number: int, observers: Sequence[Observer]) -> None:
        """Train a replica, and leave its record in its folder; if its loss is infinite or nan, that ends it alone."""
        with exclusive_folder(self.folder_of(number)):
            record = self.record_of(number)
            network.observers[:] = observers
            record.write("running")
            try:
                network.train()
            except FloatingPointError as error:
                network.has_diverged = True
                network.console.print(Text(f"warning: {error}", style="yellow"), soft_wrap=True)
            finally:
                network.curves.write()
            rows = network.finish()
            record.write("finished", steps=network.steps, replicas=rows)
            network.trainer.strategy.barrier()  # the other processes of this training are about to read it

    def train_as_worker(self, number: int, outlet: Outlet) -> None:
        """Train a replica in a worker."""
        network = self.network(number, console=outlet.console, display=outlet)
        self.train(network, number, [outlet])


class OneByOne(Training):
    """Train the replicas of a plan one after the other, or several at a time by workers, each in a folder of its own.

    A replica whose record says that it is finished is not trained again.
    """

    def __init__(
        self, plan: Plan, data: InMemory, *, folder: Path, console: Console, engine: str, spread: Spread = ALONE
    ) -> None:
        super().__init__(plan, data, folder=folder, console=console)
        self.engine, self.steps, self._spread = engine, 0, spread
        self.num_workers = spread.num_workers
        self._replicas = ReplicaFolders(plan, folder, self.fingerprint, engine)
        num_epochs = plan.settings["trainer"]["max_epochs"]
        self._display = RunDisplay(console, num_epochs, num_replicas=len(plan.replicas), names=plan.names)
        self._first: OneNetwork | None = self._network(0)
        self.device, self.num_weights = self._first.device, self._first.num_weights
        self.num_bytes = self._first.num_bytes * len(plan.replicas)
        self._rows: dict[int, list[dict[str, Any]]] = {}

    def train(self) -> None:
        """Train each replica that is not finished, and leave its record in its folder.

        Raises:
            FloatingPointError: if the losses of all replicas became infinite or nan.
        """
        numbers = [number for number in range(len(self.plan.replicas)) if not self._is_finished(number)]
        for number in range(len(self.plan.replicas)):
            if number not in numbers:
                self._display.skip(number)
                self._join(number)
        try:
            if self._spread.num_workers > 1 and len(numbers) > 1:
                self._first = None
                self._train_by_workers(numbers)
            else:
                for number in numbers:
                    self._train_one(number)
        finally:
            self._display.stop()
        if all(row["ended_by"] == "non-finite loss" for rows in self._rows.values() for row in rows):
            raise FloatingPointError("the loss of every replica became infinite or nan: try a smaller optimizer.lr")

    def _is_finished(self, number: int) -> bool:
        """Return whether a replica is finished and all that it has left is there; print what is damaged."""
        record = self._replicas.record_of(number)
        folder = record.path.parent
        if record.status == "damaged":
            names = ", ".join(record.found["damaged"])
            print_lines(self.console, f"{folder}: {names} is made anew, as it is damaged")
        return record.status == "finished" and (folder / CURVES).exists()

    def _train_one(self, number: int) -> None:
        network = self._first if number == 0 and self._first else self._network(number)
        self._first = None  # its memory is for the next one
        self._replicas.train(network, number, self.observers)
        self._display.end(number)
        self._join(number)

    def _train_by_workers(self, numbers: Sequence[int]) -> None:
        names = [
            f"replica {number + 1} of {len(self.plan.replicas)} ({name})"
            for number, name in enumerate(self.plan.folder_names())
        ]
        Workers(
            self._replicas.train_as_worker,
            num_workers=self._spread.num_workers,
            threads=self._spread.threads,
            devices=self._spread.devices,
            console=self.console,
            display=self._display,
            observers=self.observers,
            names=names,
            when_finished=self._join,
        ).train(numbers)

    def _join(self, number: int) -> None:
        """Read what a finished replica has left."""
        record = self._replicas.record_of(number)
        self.curves.read_replica(record.path.parent / CURVES, number)
        self.curves.write()
        self._rows[number] = record.found["replicas"]
        self.steps = max(self.steps, record.found["steps"])

    def finish(self) -> list[dict[str, Any]]:
        """Join what the replicas have left in their folders."""
        numbers = range(len(self.plan.replicas))
        if is_first_process():
            folders = [self._replicas.folder_of(number) for number in numbers]
            analyses = [read_arrays(folder / ANALYSIS) or {} for folder in folders]
            fires = [read_arrays(folder / FIRES) or {} for folder in folders]
            joined = {
                f"{number}/{name.partition('/')[2]}": array
                for number, arrays in enumerate(analyses)
                for name, array in arrays.items()
            }
            save_arrays(self.folder / ANALYSIS, joined)
            if all(fires):
                save_arrays(self.folder / FIRES, {"train": np.concatenate([arrays["train"] for arrays in fires])})
        return [row for number in numbers for row in self._rows[number]]

    def _network(self, number: int) -> OneNetwork:
        data = self.data if number == 0 else None
        return self._replicas.network(number, console=self.console, display=self._display, data=data)


def build_module(settings: Settings, data: InMemory, *, lr: float, seed: int) -> Classifier:
    """Build the network for the data, and the module that trains it."""
    model = build_model(settings, seed, input_shape=data.input_shape, num_classes=data.num_classes)
    weights = list(model.parameters())
    optimizer = build_optimizer(settings, lr, weights=weights)
    module = Classifier(
        model,
        build_loss(settings),
        num_classes=data.num_classes,
        optimizer=optimizer,
        scheduler=build_scheduler(settings, optimizer(weights)),
        seed=seed,
        channels_last=settings["channels_last"],
        compile=settings["compile"],
        regularizer=build_regularizer(settings),
    )
    return convert_weights(module, settings)
