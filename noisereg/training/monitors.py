"""What callbacks of the user watch, and when they act."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from noisereg.errors import ConfigError

_FROM_TRAINING = ("train/loss", "noise/effective_rate", "noise/measured_rate")  # which nothing is known of at epoch 0
_MOST_NAMED = 5


class MonitorCheck(Callback):
    """Refuse, once the untrained network is measured, a callback that watches a metric which will not be logged.

    Nothing is known of that beside a callback that is neither ours nor Lightning's, as it may log more later.

    Args:
        callbacks: all of the configuration, by their names there.

    Raises:
        ConfigError: from the hooks, naming the metrics that are much alike.
    """

    def __init__(self, callbacks: Mapping[str, Callback]) -> None:
        owners = {type(callback).__module__.partition(".")[0] for callback in callbacks.values()}
        strict = {name: made for name, made in callbacks.items() if getattr(made, "strict", True)}
        watched = {name: getattr(made, "monitor", None) for name, made in strict.items()}
        self._watched = {name: metric for name, metric in watched.items() if isinstance(metric, str)}
        if not owners <= {"noisereg", "lightning"}:
            self._watched = {}

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check what is watched against the evaluation before the training."""
        if trainer.state.fn == TrainerFn.VALIDATING:
            self._check(trainer.callback_metrics)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check what is watched against what the start of the training has measured; nothing if it goes on."""
        if trainer.callback_metrics:
            self._check(trainer.callback_metrics)

    def _check(self, measured: Mapping[str, Any]) -> None:
        names = sorted({*measured, *_FROM_TRAINING} - {"step", "epoch"})
        for name, metric in self._watched.items():
            if metric not in measured and metric not in names:
                close = get_close_matches(metric, names, _MOST_NAMED, cutoff=0.3) or names[-_MOST_NAMED:]
                raise ConfigError(
                    f"callbacks.{name}.monitor={metric}: there is no such metric; near it are {', '.join(close)}"
                )
        self._watched = {}


def refuse_unheard(callbacks: Mapping[str, Callback]) -> None:
    """Refuse callbacks that act at validations and at nothing of the training, where there are no validations.

    Args:
        callbacks: of the user, by their names in the configuration.

    Raises:
        ConfigError: naming the callback.

    Example:
        >>> class AtValidations(Callback):
        ...     def on_validation_end(self, trainer, pl_module): ...
        >>> refuse_unheard({"own": AtValidations()})
        Traceback (most recent call last):
        noisereg.errors.ConfigError: callbacks.own acts at validations alone, of which there are none; set engine=single
    """
    for name, callback in callbacks.items():
        hooks = [hook for hook in vars(Callback) if getattr(type(callback), hook) is not getattr(Callback, hook)]
        if any("validation" in hook for hook in hooks) and not any(hook.startswith("on_train_") for hook in hooks):
            raise ConfigError(f"callbacks.{name} acts at validations alone, of which there are none; set engine=single")
