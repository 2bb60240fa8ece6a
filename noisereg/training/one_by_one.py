"""The training of one replica by Lightning's own loop, and of the parts of a run one after the other."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from lightning.pytorch import Callback
from rich.console import Console
from rich.text import Text

from noisereg.callbacks import EarlyEnd, LabelCorruption, SparsityMonitor, StopWhenFitted
from noisereg.config.check import Settings
from noisereg.config.plan import Part, Plan
from noisereg.config.run_folder import ANALYSIS, CURVES, FIRES
from noisereg.config.same_run import Fingerprint
from noisereg.datasets import InMemory, check_shares
from noisereg.engine.classifier import Classifier
from noisereg.engine.measurement import Observer
from noisereg.labels import DIVERGED
from noisereg.runs.checkpoints import AtomicCheckpointIO
from noisereg.runs.ending import exclusive_folder
from noisereg.runs.environment import is_first_process
from noisereg.runs.lightning_logger import ObserverLogger
from noisereg.runs.progress import Display, RunDisplay, RunProgress
from noisereg.runs.reading import read_arrays
from noisereg.runs.record import RunRecord
from noisereg.terminal import print_lines
from noisereg.training.analysis import Analysis, analyse
from noisereg.training.at_once import AllAtOnce
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
from noisereg.training.training import Place, Training, build_same_data, save_arrays
from noisereg.training.workers import Outlet, Workers


class OneNetwork(Training):
    """Train one replica by Lightning's own loop.

    Args:
        plan: of one replica.
        data: of its seed.
        folder: where it is trained.
        console: to print on.
        engine: which one trains it, in words.
        place: of the replica in a larger run; None if it is a run of its own.
    """

    def __init__(
        self,
        plan: Plan,
        data: InMemory,
        *,
        folder: Path,
        console: Console,
        engine: str = "single: one network",
        place: Place | None = None,
    ) -> None:
        super().__init__(plan, data, folder=folder, console=console)
        (replica,), self.engine, settings = plan.replicas, engine, plan.settings
        with as_data_config_error(data):
            check_shares(data.epoch_size, data.batch_size, world=plan.num_processes)
        self.fit_data, self._checkpoints = data, folder / "checkpoints"
        self.module = build_module(settings, data, lr=replica["lr"], seed=replica["seed"])
        self._logger = ObserverLogger(self.curves, self.observers, replicas=place.numbers if place else None)
        self._stop = StopWhenFitted(settings["stopping"]["extra_epochs"])
        own_display = RunDisplay(console, settings["trainer"]["max_epochs"])
        callbacks: list[Callback] = [
            LabelCorruption(self.rules[0], seed=replica["seed"], schedule=build_schedule(settings)),
            RunProgress(place.display, place=place.number) if place else RunProgress(own_display),
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


PartTraining: TypeAlias = OneNetwork | AllAtOnce


@dataclass(frozen=True)
class PartFolders:
    """The parts of a run, each of which is trained in a folder of its own below that of the run.

    A folder is that of a small run: with a record, curves and checkpoints.

    Args:
        plan: of the run.
        parts: of it.
        folder: of the run.
        fingerprint: of its data.
        build: makes the training of a part from its plan, its data, its `folder`, a `console` and its `place`.
    """

    plan: Plan
    parts: Sequence[Part]
    folder: Path
    fingerprint: Fingerprint
    build: Callable[..., PartTraining]

    def record_of(self, number: int) -> RunRecord:
        """Read the record of a part.

        Raises:
            ConfigError: if its folder holds another one, or one on other data.
        """
        part = self.parts[number]
        record = RunRecord(part.folder, part.plan.settings)
        record.keep_data(self.fingerprint)
        return record

    def training(
        self, number: int, *, console: Console, display: Display, data: InMemory | None = None
    ) -> PartTraining:
        """Build the training of a part."""
        part = self.parts[number]
        seed = part.plan.replicas[0]["seed"]
        return self.build(
            part.plan,
            data or build_same_data(part.plan.settings, seed, fingerprint=self.fingerprint, folder=self.folder),
            folder=part.folder,
            console=console,
            place=Place(self.plan, part.numbers, display, number),
        )

    def train(self, training: PartTraining, number: int, observers: Sequence[Observer]) -> None:
        """Train a part, and leave its record in its folder; if all of it diverges, that ends this part alone."""
        with exclusive_folder(self.parts[number].folder):
            record = self.record_of(number)
            training.observers[:] = observers
            record.write("running")
            try:
                training.train()
            except FloatingPointError as error:
                training.has_diverged = True
                training.console.print(Text(f"warning: {error}", style="yellow"), soft_wrap=True)
            finally:
                training.curves.write()
            rows = training.finish()
            record.write("finished", steps=training.steps, replicas=rows)
            training.trainer.strategy.barrier()  # the other processes of this training are about to read it

    def train_as_worker(self, number: int, outlet: Outlet) -> None:
        """Train a part in a worker."""
        training = self.training(number, console=outlet.console, display=outlet)
        self.train(training, number, [outlet])


class OneByOne(Training):
    """Train the parts of a run one after the other, or several at a time by workers, each in a folder of its own.

    A part whose record says that it is finished is not trained again.
    """

    def __init__(
        self,
        plan: Plan,
        data: InMemory,
        *,
        folder: Path,
        console: Console,
        parts: Sequence[Part],
        build: Callable[..., PartTraining],
        engine: str,
        spread: Spread = ALONE,
    ) -> None:
        super().__init__(plan, data, folder=folder, console=console)
        self.engine, self.steps, self._spread = engine, 0, spread
        self.num_workers = spread.num_workers
        self._parts = PartFolders(plan, parts, folder, self.fingerprint, build)
        num_epochs, numbers = plan.settings["trainer"]["max_epochs"], [part.numbers for part in parts]
        self._display = RunDisplay(console, num_epochs, parts=numbers, names=plan.names)
        self._first: PartTraining | None = self._training(0)
        self.device, self.num_weights = self._first.device, self._first.num_weights
        self.num_bytes = self._first.num_bytes * len(parts)
        self._rows: dict[int, dict[str, Any]] = {}

    def train(self) -> None:
        """Train each part that is not finished, and leave its record in its folder.

        Raises:
            FloatingPointError: if the losses of all replicas became infinite or nan.
        """
        numbers = [number for number in range(len(self._parts.parts)) if not self._is_finished(number)]
        for number in range(len(self._parts.parts)):
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
        if all(row["ended_by"] in DIVERGED for row in self._rows.values()):
            raise FloatingPointError("the loss of every replica became infinite or nan: try a smaller optimizer.lr")

    def _is_finished(self, number: int) -> bool:
        """Return whether a part is finished and all that it has left is there; print what is damaged."""
        record = self._parts.record_of(number)
        folder = record.path.parent
        if record.status == "damaged":
            names = ", ".join(record.found["damaged"])
            print_lines(self.console, f"{folder}: {names} is made anew, as it is damaged")
        return record.status == "finished" and (folder / CURVES).exists()

    def _train_one(self, number: int) -> None:
        training = self._first if number == 0 and self._first else self._training(number)
        self._first = None  # its memory is for the next one
        self._parts.train(training, number, self.observers)
        self._display.end(number)
        self._join(number)

    def _train_by_workers(self, numbers: Sequence[int]) -> None:
        Workers(
            self._parts.train_as_worker,
            num_workers=self._spread.num_workers,
            threads=self._spread.threads,
            devices=self._spread.devices,
            console=self.console,
            display=self._display,
            observers=self.observers,
            names=[self._display.name_training(number) for number in range(len(self._parts.parts))],
            when_finished=self._join,
        ).train(numbers)

    def _join(self, number: int) -> None:
        """Read what a finished part has left."""
        record, part = self._parts.record_of(number), self._parts.parts[number]
        self.curves.read_part(part.folder / CURVES, part.numbers)
        self.curves.write()
        self._rows |= dict(zip(part.numbers, record.found["replicas"], strict=True))
        self.steps = max(self.steps, record.found["steps"])

    def finish(self) -> list[dict[str, Any]]:
        """Join what the parts have left in their folders."""
        if is_first_process():
            analyses: dict[int, dict[str, np.ndarray]] = {number: {} for number in self.plan.numbers}
            fires: dict[int, np.ndarray] = {}
            for part in self._parts.parts:
                for name, array in (read_arrays(part.folder / ANALYSIS) or {}).items():
                    own, _, quantity = name.partition("/")
                    analyses[part.numbers[int(own)]][quantity] = array
                if arrays := read_arrays(part.folder / FIRES):
                    fires |= zip(part.numbers, arrays["train"], strict=True)
            save_arrays(
                self.folder / ANALYSIS,
                {f"{number}/{name}": array for number, arrays in analyses.items() for name, array in arrays.items()},
            )
            if len(fires) == len(analyses):
                save_arrays(self.folder / FIRES, {"train": np.stack([fires[number] for number in analyses])})
        return [self._rows[number] for number in self.plan.numbers]

    def _training(self, number: int) -> PartTraining:
        data = self.data if number == 0 else None
        return self._parts.training(number, console=self.console, display=self._display, data=data)


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
