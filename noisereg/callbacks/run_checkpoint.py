"""Save a training where it can go on from, and end it there when a signal asks for that."""

import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from noisereg.callbacks.only_one import check_only_one

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)
_STEPS_BETWEEN_VOTES = 8  # of several processes, which must end at the same step


class Stopped(SystemExit):
    """The end of a process that a signal asked for, with the exit code that shells give to it: 128 + its number.

    Args:
        number: of the signal.
        code: another exit code.

    Example:
        >>> Stopped(signal.SIGTERM).code
        143
    """

    def __init__(self, number: int, *, code: int | None = None) -> None:
        super().__init__(128 + number if code is None else code)
        self.signal = signal.Signals(number)


class RunCheckpoint(Checkpoint):
    """Save the training to `last.ckpt`, every so many epochs or steps, and when a signal asks the training to end.

    SIGTERM, SIGINT (ctrl-c), SIGUSR1 and SIGUSR2 let the step that is under way finish, or the evaluation; then the
    training is saved and the process ends by `Stopped`. Several processes agree on the step, whichever of them got the
    signal, and only the first one gives the exit code. A second SIGINT ends the process at once. By SIGUSR2 SLURM tells
    a job that its time is up: who handled it before does so after the save, as submitit, which queues the job again.

    The last step of an epoch belongs to the epoch's end: what is due there is saved with all that the end measures.

    Args:
        dirpath: folder of `last.ckpt`.
        every_n_epochs: save at the end of every n-th epoch.
        every_n_train_steps: save after every n-th step instead; None: by epochs.

    Raises:
        ValueError: if a number is below 1; at the start of a loop, if there are two in the trainer.

    Example:
        >>> trainer = Trainer(callbacks=[RunCheckpoint("checkpoints")], logger=False, accelerator="cpu")
    """

    def __init__(self, dirpath: str | Path, *, every_n_epochs: int = 1, every_n_train_steps: int | None = None) -> None:
        for name, number in {"every_n_epochs": every_n_epochs, "every_n_train_steps": every_n_train_steps}.items():
            if number is not None and number < 1:
                raise ValueError(f"{name} must be at least 1, got {number}")
        self.path = Path(dirpath) / "last.ckpt"
        self._every_n_epochs, self._every_n_steps = every_n_epochs, every_n_train_steps
        self._due = False
        self._asked = 0  # number of the signal that came
        self._handlers: dict[int, Any] = {}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse a second one, and stop Lightning from handling SIGTERM itself."""
        check_only_one(trainer, RunCheckpoint, mend="it handles the signals; take Lightning's ModelCheckpoint for more")
        # Its handler calls the other processes from within, and can wait for ever. There is no option that turns it
        # off; what installs it is a private connector alone.
        trainer._signal_connector.register_signal_handlers = _register_nothing  # type: ignore[method-assign]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Register this callback as the handler of the signals."""
        if threading.current_thread() is threading.main_thread():
            self._handlers = {number: signal.signal(number, self._note_signal) for number in SIGNALS}

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save after a step, if it is due or a signal came."""
        self._due |= bool(self._every_n_steps) and trainer.global_step % (self._every_n_steps or 1) == 0
        if trainer.is_last_batch:
            return
        vote = trainer.world_size == 1 or batch_idx % _STEPS_BETWEEN_VOTES == 0
        self._save(trainer, asked=self._agree_to_stop(trainer) if vote else 0)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save at the end of an epoch, if it is due or a signal came."""
        self._due |= not self._every_n_steps and (trainer.current_epoch + 1) % self._every_n_epochs == 0
        self._save(trainer, asked=self._agree_to_stop(trainer))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restore the handlers of the signals, before Lightning does so."""
        self._restore_handlers()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Restore the handlers of the signals."""
        self._restore_handlers()

    def _restore_handlers(self) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}

    def _note_signal(self, number: int, frame: FrameType | None) -> None:
        """Save the number of the signal, and no more: it may come in the middle of anything."""
        if number == self._asked == signal.SIGINT:
            raise Stopped(number)
        self._asked = number

    def _agree_to_stop(self, trainer: Trainer) -> int:
        if trainer.world_size == 1:
            return self._asked
        asked = torch.tensor(self._asked, device=trainer.strategy.root_device)
        return int(trainer.strategy.reduce(asked, reduce_op="max"))

    def _save(self, trainer: Trainer, *, asked: int) -> None:
        if self._due or asked:
            trainer.save_checkpoint(self.path)
            self._due = False
        if asked:
            self._call_submitit(asked)
            # Lightning kills the first process as soon as another one ends with a code that is not 0.
            raise Stopped(asked, code=None if trainer.is_global_zero else 0)

    def _call_submitit(self, asked: int) -> None:
        """Call submitit to queue its job again: it is the one that does, so Lightning's own handlers are not called."""
        handler = self._handlers.get(asked)
        if asked == signal.SIGUSR2 and callable(handler):
            try:
                handler(asked, None)
            except SystemExit as end:
                raise Stopped(asked, code=end.code if isinstance(end.code, int) else None) from None


def _register_nothing() -> None:
    """Register no handler, in place of what would register Lightning's."""
