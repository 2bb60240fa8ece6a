"""Whether a run can go on for more epochs than it was begun with, to what a run of that length comes to."""

from collections.abc import Mapping, Sequence
from typing import Any

from noisereg.config.sections import same_target, target_name

LENGTH = "trainer.max_epochs"
_OF_ANY_LENGTH = ("noisereg.noise.Constant", "noisereg.noise.SquareWave")  # their factor in an epoch


def is_longer(old: int, new: int, differing: Sequence[str]) -> bool:
    """Return whether a configuration is another one for more epochs, with what of the scheduler follows from that.

    Args:
        old: number of epochs that the run was begun with.
        new: number that is wanted.
        differing: the keys in which the configurations differ.

    Example:
        >>> is_longer(5, 9, ["trainer.max_epochs"]), is_longer(5, 9, ["seed", "trainer.max_epochs"])
        (True, False)
    """
    return LENGTH in differing and old < new and all(key.startswith((LENGTH, "scheduler.")) for key in differing)


def why_not_longer(old: Mapping[str, Any], differing: Sequence[str]) -> str | None:
    """Return why a run cannot go on for more epochs as if these had been asked for from the start; None if it can.

    Args:
        old: the configuration that the run was begun with.
        differing: the keys in which the one that is wanted differs.
    """
    schedule, trainer = old["noise"]["schedule"], old["trainer"]
    end = trainer["max_epochs"]
    every = {
        "callbacks.sparsity.every_n_epochs": old["callbacks"].get("sparsity", {}).get("every_n_epochs", 1),
        "trainer.check_val_every_n_epoch": trainer.get("check_val_every_n_epoch", 1),
    }
    if others := [key for key in differing if key != LENGTH]:
        return f"{others[0]} follows the length"
    if not any(same_target(schedule, name) for name in _OF_ANY_LENGTH):
        return f"noise.schedule {target_name(schedule)} follows the length"
    if trainer["max_steps"] >= 0:
        return f"trainer.max_steps={trainer['max_steps']} ends it"
    if old["experiment"].get("arms"):
        return "the arms of an experiment have lengths of their own"
    for key, number in every.items():
        if end % number:
            return f"epoch {end} is between two evaluations of the longer one ({key}={number})"
    return None
