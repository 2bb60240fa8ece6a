"""A callback that sends its own process a signal at a chosen moment: the words of the variable INTERRUPT_AT.

`INTERRUPT_AT="step 70 SIGKILL"` sends it as step 70 ends; `evaluation 3`, `epoch 2` and `save 4` as the third batch
is evaluated, the second epoch ends, and while the fourth checkpoint is written. A resumed run counts anew. `end 1`
sends it after the training, to the first process of a run's folder alone.
"""

import os
import signal
import threading
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import ClassVar

from lightning.pytorch import Callback

INTERRUPTION = [
    "+callbacks.interruption={_target_: interruptions.Interruption}",
    "trust=[interruptions]",
]  # the overrides that bring it


class Interruption(Callback):
    """Count what happens, and send the signal at its moment."""

    _counts: ClassVar[dict[str, int]] = {}  # of all trainings of a process

    def on_train_batch_end(self, trainer, pl_module, *rest):
        self._count("step", getattr(pl_module, "steps_done", trainer.global_step))

    def on_validation_batch_start(self, *rest):
        self._count("evaluation")

    def on_train_epoch_end(self, *rest):
        self._count("epoch")

    def on_save_checkpoint(self, *rest):
        self._count("save", delay=0.004)

    def teardown(self, trainer, pl_module, stage):
        if stage == "fit" and os.environ.get("INTERRUPT_AT", "").startswith("end "):
            with suppress(FileExistsError):
                (Path(trainer.default_root_dir) / "interrupted").touch(exist_ok=False)
                self._count("end")

    def _count(self, what, number=None, *, delay=0.0):
        self._counts[what] = number or self._counts.get(what, 0) + 1
        when, count, name = os.environ.get("INTERRUPT_AT", "never 0 SIGTERM").split()
        if (what, self._counts[what]) == (when, int(count)):
            send = partial(os.kill, os.getpid(), signal.Signals[name])
            threading.Timer(delay, send).start() if delay else send()


class KilledOnce(Callback):
    """Kill its process as the second epoch ends, once for each training's folder."""

    def on_train_epoch_end(self, trainer, pl_module):
        if trainer.current_epoch == 1:
            with suppress(FileExistsError):
                (Path(trainer.default_root_dir) / "killed").touch(exist_ok=False)
                os.kill(os.getpid(), signal.SIGKILL)
