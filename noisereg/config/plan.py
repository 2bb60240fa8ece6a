"""Whether a run's networks can be stacked and trained at once, and why not."""

from typing import Any

from noisereg.config.check import Settings
from noisereg.config.targets import same_target, target_name
from noisereg.errors import ConfigError

_STACKED = ("noisereg.models.TwoLayer", "noisereg.models.Neuron")
_PRECISIONS = ("32-true", "32", "64-true", "64")
_TRAINER_KEYS = {
    "_target_",
    "accelerator",
    "devices",
    "precision",
    "max_epochs",
    "max_steps",
    "max_time",
    "check_val_every_n_epoch",
    "num_sanity_val_steps",
    "inference_mode",
    "enable_model_summary",
}


def trains_replicas(settings: Settings) -> bool:
    """Tell whether the networks are stacked; those that cannot be are trained one a run.

    Raises:
        ConfigError: if they cannot be, and the configuration asks for what only stacked ones do.
    """
    reason = why_not_stacked(settings)
    if reason is None:
        return True
    for key, values in zip(("optimizer.lr", "noise.p", "seed"), spread(settings).values(), strict=True):
        if len(values) > 1:
            each = f"-m {key}={','.join(str(value) for value in values)}"
            what = f"seeds={settings['seeds']}" if key == "seed" else f"{key}={values}"
            raise ConfigError(f"{what} trains replicas in one run, but {reason}; for a run each: {each}")
    if settings["engine"] in ("fused", "blocked"):
        raise ConfigError(f"engine={settings['engine']} cannot run: {reason}; set engine=auto")
    if settings["stopping"]["extra_epochs"] is not None:
        raise ConfigError(f"stopping.extra_epochs needs an engine, but {reason}")
    return False


def why_not_stacked(settings: Settings) -> str | None:
    """Say what keeps the networks of a run from being stacked, or give None."""
    optimizer, trainer = settings["optimizer"], settings["trainer"]
    model = target_name(settings["model"])
    known = {"_target_", "_partial_", "lr"}
    extra = [key for key, value in optimizer.items() if key not in known and value]
    unknown = sorted(set(trainer) - _TRAINER_KEYS)
    names = ("sparsity", "checkpoint", "finite_loss")
    sparsity, checkpoint, finite_loss = (settings["callbacks"].get(name, {}) for name in names)
    reasons = {
        "engine=none trains one network": settings["engine"] == "none",
        f"model {model} cannot be stacked (two_layer and neuron can)": not any(
            same_target(settings["model"], name) for name in _STACKED
        ),
        f"{target_name(optimizer)} is not plain SGD": not same_target(optimizer, "torch.optim.SGD"),
        f"optimizer.{next(iter(extra), '')} is not plain SGD": bool(extra),
        f"trainer.devices={trainer['devices']} shares one network": trainer["devices"] > 1,
        f"trainer.precision={trainer['precision']} is not an engine's": str(trainer["precision"]) not in _PRECISIONS,
        f"trainer.{next(iter(unknown), '')} is not for an engine": bool(unknown),
        "compile=true is for one network": settings["compile"],
        "channels_last=true is for convolutions": settings["channels_last"],
        "dataset.stream=true reads images batch by batch": settings["dataset"].get("stream") is True,
        "callbacks.finite_loss.action=skip is for one network": finite_loss.get("action") == "skip",
        "callbacks.sparsity chooses layers": bool(sparsity.get("layers")),
        "callbacks.checkpoint counts the steps of one network": bool(checkpoint.get("every_n_train_steps")),
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def spread(settings: Settings) -> dict[str, list[Any]]:
    """Give the values of each key that spans replicas: their grid is what the run trains.

    Example:
        >>> spread({"noise": {"p": [0, 0.2]}, "seed": 5, "seeds": 2, "optimizer": {"lr": 0.1}})
        {'lr': [0.1], 'p': [0, 0.2], 'seed': [5, 6]}
    """
    p, lr, seeds = settings["noise"]["p"], settings["optimizer"]["lr"], settings["seeds"]
    return {
        "lr": lr if isinstance(lr, list) else [lr],
        "p": p if isinstance(p, list) else [p],
        "seed": seeds if isinstance(seeds, list) else [settings["seed"] + number for number in range(seeds)],
    }
